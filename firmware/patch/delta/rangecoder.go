package delta

// A binary range coder as in LZMA (Igor Pavlov's 7-Zip, rc encoder and decoder): 32-bit range, bytes out when it falls
// below 2^24, carries resolved through a cached byte. Probabilities are of a zero bit.

const (
	probBits = 12
	topValue = 1 << 24
)

// prob estimates how likely a zero is, at two speeds: the upper 12 bits follow what just happened, the next 16 remember,
// the last 4 count: both learn faster at first.
type prob uint32

const (
	half     = 1<<31 | 1<<19
	fastRate = 4
)

// rates of the slow estimate by count, as shifts.
var rates = [16]uint8{1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 5, 6, 6, 7}

// p returns 12 bits, never 0 or 4096.
func (p prob) p() uint32 { return (uint32(p)>>20+uint32(p)>>8&0xfff)>>1 | 1 }

func (p *prob) zero() {
	v := uint32(*p)
	n := v & 15
	r := uint32(rates[n])
	fast, slow := v>>20, v>>4&0xffff
	fast += (0xfff - fast) >> min(r, fastRate)
	slow += (0xffff - slow) >> r
	*p = prob(fast<<20 | slow<<4 | min(n+1, 15))
}

func (p *prob) one() {
	v := uint32(*p)
	n := v & 15
	r := uint32(rates[n])
	fast, slow := v>>20, v>>4&0xffff
	fast -= fast >> min(r, fastRate)
	slow -= slow >> r
	*p = prob(fast<<20 | slow<<4 | min(n+1, 15))
}

func reset(p []prob) {
	for i := range p {
		p[i] = half
	}
}

// decoder reads bits. Past the end of the input it reads zeros; the caller checks overrun.
type decoder struct {
	in        []byte
	at        int
	rng, code uint32
}

func (d *decoder) init(in []byte) {
	d.in, d.at, d.rng, d.code = in, 0, 0xffffffff, 0
	for range 4 {
		d.code = d.code<<8 | uint32(d.next())
	}
}

func (d *decoder) next() byte {
	if d.at < len(d.in) {
		d.at++
		return d.in[d.at-1]
	}
	d.at++
	return 0
}

// overrun reports that more was read than there is: the input is not what an encoder wrote.
func (d *decoder) overrun() bool { return d.at > len(d.in) }

func (d *decoder) bit(p *prob) uint32 {
	bound := (d.rng >> probBits) * p.p()
	var b uint32
	if d.code < bound {
		d.rng = bound
		p.zero()
	} else {
		d.rng -= bound
		d.code -= bound
		p.one()
		b = 1
	}
	for d.rng < topValue {
		d.rng <<= 8
		d.code = d.code<<8 | uint32(d.next())
	}
	return b
}

// tree reads n bits, the highest first; t has 1<<n probs, one for each prefix.
func (d *decoder) tree(t []prob, n int) uint32 {
	m := uint32(1)
	for range n {
		m = m<<1 | d.bit(&t[m])
	}
	return m - 1<<n
}

// raw reads n bits that nothing is known of.
func (d *decoder) raw(n int) uint32 {
	var v uint32
	for range n {
		d.rng >>= 1
		b := uint32(1)
		if d.code < d.rng {
			b = 0
		} else {
			d.code -= d.rng
		}
		v = v<<1 | b
		for d.rng < topValue {
			d.rng <<= 8
			d.code = d.code<<8 | uint32(d.next())
		}
	}
	return v
}

// plain reads a byte that nothing is known of.
func (d *decoder) plain() byte {
	d.rng >>= 8
	v := min(d.code/d.rng, 255)
	d.code -= v * d.rng
	for d.rng < topValue {
		d.rng <<= 8
		d.code = d.code<<8 | uint32(d.next())
	}
	return byte(v)
}

// encoder writes bits.
type encoder struct {
	out   []byte
	low   uint64
	rng   uint32
	cache byte
	held  int // bytes that wait for a carry: cache, then held-1 times 0xff
}

func (e *encoder) init() { *e = encoder{out: e.out[:0], rng: 0xffffffff, held: 1} }

func (e *encoder) shift() {
	if e.low < 0xff000000 || e.low > 0xffffffff {
		carry := byte(e.low >> 32)
		for ; e.held > 0; e.held-- {
			e.out = append(e.out, e.cache+carry)
			e.cache = 0xff
		}
		e.cache = byte(e.low >> 24)
	}
	e.held++
	e.low = e.low & 0x00ffffff << 8
}

func (e *encoder) bit(p *prob, b uint32) {
	bound := (e.rng >> probBits) * p.p()
	if b == 0 {
		e.rng = bound
		p.zero()
	} else {
		e.low += uint64(bound)
		e.rng -= bound
		p.one()
	}
	for e.rng < topValue {
		e.rng <<= 8
		e.shift()
	}
}

func (e *encoder) tree(t []prob, n int, v uint32) {
	m := uint32(1)
	for i := n - 1; i >= 0; i-- {
		b := v >> i & 1
		e.bit(&t[m], b)
		m = m<<1 | b
	}
}

func (e *encoder) raw(n int, v uint32) {
	for i := n - 1; i >= 0; i-- {
		e.rng >>= 1
		if v>>i&1 == 1 {
			e.low += uint64(e.rng)
		}
		for e.rng < topValue {
			e.rng <<= 8
			e.shift()
		}
	}
}

func (e *encoder) plain(v byte) {
	e.rng >>= 8
	e.low += uint64(v) * uint64(e.rng)
	for e.rng < topValue {
		e.rng <<= 8
		e.shift()
	}
}

// finish returns everything. The first byte is always zero, as no carry can reach it; it is left out.
func (e *encoder) finish() []byte {
	for range 5 {
		e.shift()
	}
	return e.out[1:]
}
