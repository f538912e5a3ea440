package delta

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Limits of one body.
const (
	MaxPlain  = 16 << 20  // bytes that it rebuilds
	MaxBody   = 4 << 20   // bytes of the body itself
	MaxBase   = 128 << 20 // bytes of the base that it declares
	MaxRanges = 4096      // ranges that it declares
	maxWindow = 22        // logarithm of how far back in the target it may look
	minWindow = 16
)

// Decode rebuilds pieces of a target from a body and from the ranges of base that the body declares; nothing else of base
// is read. deliver is called for each piece in order, sizes[i] bytes long; the bytes are valid during the call only. Nothing
// is known of what comes out until the caller has compared it with a digest.
//
// Errors match firmware.ErrMalformed when the body cannot be what an encoder wrote, firmware.ErrTooLarge, and
// firmware.ErrCorrupt when base cannot be read; errors of deliver are returned as they are. Memory is at most 8 MiB whatever
// is asked, and 4 MiB with the window that [Encode] takes for an upgrade.
func Decode(body []byte, base io.ReaderAt, baseSize int64, sizes []int, deliver func(i int, plain []byte) error) error {
	return new(Decoder).Decode(body, base, baseSize, sizes, deliver)
}

// Decoder is Decode for whoever reads many bodies, one after the other: it keeps its memory.
type Decoder struct {
	m     *model
	pages pages
	buf   []byte
}

// Decode is [Decode].
func (k *Decoder) Decode(body []byte, base io.ReaderAt, baseSize int64, sizes []int, deliver func(i int, plain []byte) error) error {
	total, largest := 0, 0
	for _, n := range sizes {
		if n <= 0 || n > firmware.MaxChunkSize || total > MaxPlain-n {
			return fmt.Errorf("patch: pieces of over %d bytes: %w", MaxPlain, firmware.ErrTooLarge)
		}
		total += n
		largest = max(largest, n)
	}
	if len(body) > MaxBody {
		return fmt.Errorf("patch: a body of %d bytes: %w", len(body), firmware.ErrTooLarge)
	}
	if len(body) < 2 || body[0] < minWindow || body[0] > maxWindow || code(body[1]) >= codes {
		return fmt.Errorf("patch: the body is of another kind: %w", firmware.ErrMalformed)
	}
	ranges, stream, err := parseRanges(body[2:], baseSize)
	if err != nil {
		return err
	}
	if k.m == nil {
		k.m = newModel(code(body[1]))
	} else {
		k.m.words.code = code(body[1])
		k.m.reset()
	}
	k.pages.open(base, ranges)
	d := &rebuilder{m: k.m, pages: &k.pages, window: 1 << body[0]}
	if most := min(total, d.window+largest); cap(k.buf) < most {
		k.buf = make([]byte, 0, most)
	}
	d.buf = k.buf[:0]
	d.init(stream)
	for i, n := range sizes {
		if err := d.piece(n); err != nil {
			return err
		}
		if err := deliver(i, d.buf[len(d.buf)-n:]); err != nil {
			return err
		}
	}
	return nil
}

// errStream says that the tokens contradict themselves.
var errStream = fmt.Errorf("patch: its tokens make no sense: %w", firmware.ErrMalformed)

// rebuilder follows the tokens of one body. Positions count the base and, behind it, the target.
type rebuilder struct {
	decoder
	m       *model
	pages   *pages
	window  int
	buf     []byte // the end of what was rebuilt: at least window bytes of it when there are so many
	dropped int64  // rebuilt bytes before buf
}

// here returns the position of the next byte.
func (d *rebuilder) here() int64 { return d.pages.size + d.dropped + int64(len(d.buf)) }

// piece rebuilds n bytes at the end of buf.
func (d *rebuilder) piece(n int) error {
	if len(d.buf)+n > cap(d.buf) {
		keep := min(len(d.buf), d.window)
		d.dropped += int64(len(d.buf) - keep)
		d.buf = d.buf[:copy(d.buf, d.buf[len(d.buf)-keep:])]
	}
	for end := len(d.buf) + n; len(d.buf) < end; {
		var err error
		if d.bit(&d.m.copyOrLiteral[d.m.hist&63]) == 0 {
			err = d.literal()
		} else {
			err = d.copy(end - len(d.buf))
		}
		if err != nil {
			return err
		}
		if d.overrun() {
			return fmt.Errorf("patch: the body is cut short: %w", firmware.ErrMalformed)
		}
	}
	return nil
}

func (d *rebuilder) literal() error {
	m := d.m
	var p1, p2 byte
	if n := len(d.buf); n > 1 {
		p1, p2 = d.buf[n-1], d.buf[n-2]
	} else if n > 0 {
		p1 = d.buf[n-1]
	}
	guess, err := d.goesOn()
	if err != nil {
		return err
	}
	c := d.tree3(m.literal[p1][:], m.paired[pair(p1, p2)][:], m.aligned[guess][:], &m.mixers[m.hist&1])
	d.buf = append(d.buf, byte(c))
	m.hist <<= 1
	return nil
}

// goesOn returns the byte with which the last copy would have gone on.
func (d *rebuilder) goesOn() (byte, error) {
	dist := int64(d.m.dist[0])
	src := d.here() - dist
	if src >= 0 && src < d.pages.size {
		b, err := d.pages.from(src)
		if err != nil {
			return 0, err
		}
		return b[0], nil
	}
	if src < 0 || dist > int64(d.window) {
		return 0, nil
	}
	return d.buf[int64(len(d.buf))-dist], nil
}

// copy follows a copy token of at most limit bytes.
func (d *rebuilder) copy(limit int) error {
	m := d.m
	kind := int(d.tree(m.source[m.hist&7][:], 3))
	if kind == plainBytes {
		return d.plainBytes(limit)
	}
	if kind > sourceFar {
		return errStream
	}
	n := uint64(d.number(&m.length[kind])) + minCopy
	var dist uint32
	switch kind {
	default:
		dist = m.dist[kind]
	case sourceNear:
		if d.bit(&m.nearSign) == 1 {
			dist = m.dist[0] - d.number(&m.near[1])
		} else {
			dist = m.dist[0] + d.number(&m.near[0])
		}
	case sourceFar:
		dist = d.number(&m.far[lengthClass(n)])<<lowBits | d.tree(m.low[:], lowBits)
	}
	m.use(kind, dist)
	src := d.here() - int64(dist)
	if n > uint64(limit) || dist == 0 || src < 0 {
		return errStream
	}
	m.hist = m.hist<<1 | 1
	if src >= d.pages.size {
		if int(dist) > d.window {
			return errStream
		}
		d.repeat(int(dist), int(n))
		return nil
	}
	if src+int64(n) > d.pages.size {
		return errStream
	}
	if d.bit(&m.exact[kind][sizeClass(uint32(n))]) == 1 {
		return d.take(src, int(n))
	}
	return d.runs(src, int(n))
}

// plainBytes follows a token of at most limit bytes that cannot be predicted.
func (d *rebuilder) plainBytes(limit int) error {
	n := int(d.number(&d.m.plain))
	if n > limit || n <= 0 {
		return errStream
	}
	for ; n > 0 && !d.overrun(); n-- {
		d.buf = append(d.buf, d.plain())
	}
	d.m.hist <<= 1
	return nil
}

// repeat appends n bytes that lie dist back in the target; they may overlap what they make.
func (d *rebuilder) repeat(dist, n int) {
	for n > 0 {
		k := min(n, dist)
		at := len(d.buf) - dist
		d.buf = append(d.buf, d.buf[at:at+k]...)
		n -= k
	}
}

// take appends n bytes of the base.
func (d *rebuilder) take(src int64, n int) error {
	for n > 0 {
		b, err := d.pages.from(src)
		if err != nil {
			return err
		}
		b = b[:min(len(b), n)]
		d.buf = append(d.buf, b...)
		n -= len(b)
		src += int64(len(b))
	}
	return nil
}

// runs appends n bytes that resemble the base: runs that are the same, and between them words that differ.
func (d *rebuilder) runs(src int64, n int) error {
	m := d.m
	for {
		r := int(d.number(&m.run[m.lastRun]))
		m.lastRun = runClass(uint32(r))
		if r > n || r < 0 {
			return errStream
		}
		at := len(d.buf)
		if err := d.take(src, min(r+3, n)); err != nil {
			return err
		}
		m.words.expect(d.buf[at:], r, uint32(src))
		d.buf = d.buf[:at+r]
		n -= r
		src += int64(r)
		if n == 0 {
			return nil
		}
		k := min(4, n)
		if err := d.take(src, k); err != nil { // taken, then changed where it stands
			return err
		}
		d.word(src, d.buf[at+r:])
		n -= k
		src += int64(k)
		if n == 0 || d.overrun() {
			return nil
		}
	}
}

// word changes up to four bytes of the base, which lie at src, into those of the target.
func (d *rebuilder) word(src int64, b []byte) {
	m := d.m
	if len(b) < 4 {
		d.bytes(b)
		return
	}
	old := binary.LittleEndian.Uint32(b)
	symbol := d.tree(m.guess[m.lastGuess][:], 3)
	m.lastGuess = int(symbol)
	switch {
	case symbol < guesses:
		binary.LittleEndian.PutUint32(b, old+m.words.guess(uint32(src), old)[symbol])
	case symbol != wordUnchanged:
		d.bytes(b)
	}
	m.words.learn(uint32(src), old, binary.LittleEndian.Uint32(b)-old)
}

func (d *rebuilder) bytes(b []byte) {
	m := d.m
	diff := byte(d.tree(m.first[:], 8))
	b[0] += diff
	for i := 1; i < len(b); i++ {
		diff = byte(d.tree(m.rest[i-1][carry(diff)][:], 8))
		b[i] += diff
	}
}
