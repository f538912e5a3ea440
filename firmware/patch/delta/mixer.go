package delta

import "math"

// mixer weighs the predictions of three contexts for one bit, in the logistic domain, and learns the weights from what came
// (Mahoney, "Adaptive Weighing of Context Models for Lossless Data Compression", 2005).
type mixer struct{ w [3]int32 } // 16 fractional bits

const (
	stretchRange = 2047 // of a stretched probability: 8 fractional bits
	mixRate      = 10
)

// stretched is ln(p/(1-p)) of a 12-bit probability; squashed is its inverse, by x + 2048.
var stretched, squashed = func() (st [4096]int16, sq [4096]uint16) {
	for i := range st {
		p := (float64(i) + 0.5) / 4096
		st[i] = int16(max(-stretchRange, min(stretchRange, math.Round(256*math.Log(p/(1-p))))))
		x := float64(i-2048) / 256
		sq[i] = uint16(max(1, min(4095, math.Round(4096/(1+math.Exp(-x))))))
	}
	return st, sq
}()

// mix returns the probability of a zero, 12 bits, and the inputs that learn needs.
func (m *mixer) mix(p, q, r uint32) (mixed uint32, a, b, c int32) {
	a, b, c = int32(stretched[p]), int32(stretched[q]), int32(stretched[r])
	x := (a*m.w[0] + b*m.w[1] + c*m.w[2]) >> 16
	x = max(-stretchRange, min(stretchRange, x))
	return uint32(squashed[x+2048]), a, b, c
}

// learn moves the weights towards what would have predicted the bit better.
func (m *mixer) learn(mixed uint32, a, b, c int32, bit uint32) {
	miss := int32((1-bit)<<12) - int32(mixed)
	m.w[0] += (a*miss + 1<<(mixRate-1)) >> mixRate
	m.w[1] += (b*miss + 1<<(mixRate-1)) >> mixRate
	m.w[2] += (c*miss + 1<<(mixRate-1)) >> mixRate
}

// tree3 reads a byte whose bits three contexts predict together.
func (d *decoder) tree3(t, u, v []prob, x *[256]mixer) uint32 {
	m := uint32(1)
	t, u, v = t[:256], u[:256], v[:256]
	for m < 256 {
		p, q, r, w := &t[m], &u[m], &v[m], &x[m]
		mixed, a, b, c := w.mix(p.p(), q.p(), r.p())
		bound := (d.rng >> probBits) * mixed
		m <<= 1
		if d.code < bound {
			d.rng = bound
			p.zero()
			q.zero()
			r.zero()
			w.learn(mixed, a, b, c, 0)
		} else {
			d.rng -= bound
			d.code -= bound
			p.one()
			q.one()
			r.one()
			w.learn(mixed, a, b, c, 1)
			m |= 1
		}
		for d.rng < topValue {
			d.rng <<= 8
			d.code = d.code<<8 | uint32(d.next())
		}
	}
	return m - 256
}

// tree3 writes a byte whose bits three contexts predict together.
func (e *encoder) tree3(t, u, v []prob, x *[256]mixer, c uint32) {
	m := uint32(1)
	for i := 7; i >= 0; i-- {
		b := c >> i & 1
		p, q, r, w := &t[m], &u[m], &v[m], &x[m]
		mixed, s0, s1, s2 := w.mix(p.p(), q.p(), r.p())
		bound := (e.rng >> probBits) * mixed
		if b == 0 {
			e.rng = bound
			p.zero()
			q.zero()
			r.zero()
		} else {
			e.low += uint64(bound)
			e.rng -= bound
			p.one()
			q.one()
			r.one()
		}
		w.learn(mixed, s0, s1, s2, b)
		for e.rng < topValue {
			e.rng <<= 8
			e.shift()
		}
		m = m<<1 | b
	}
}
