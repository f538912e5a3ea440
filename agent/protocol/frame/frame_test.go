package frame_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/waxwing-ota/waxwing/agent/protocol/frame"
)

// stream is a connection that only reads.
type stream struct {
	net.Conn
	io.Reader
}

func (s stream) Read(b []byte) (int, error) { return s.Reader.Read(b) }

func publish(t testing.TB, size int) []byte {
	t.Helper()
	p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	p.TopicName, p.Payload = "t", make([]byte, size)
	var b bytes.Buffer
	if err := p.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestPacketsPassUnchanged(t *testing.T) {
	var sent []byte
	for _, size := range []int{0, 1, 124, 125, 16_000, 20_000, 1, 99_000} {
		sent = append(sent, publish(t, size)...)
	}
	sent = append(sent, 0xd0, 0, 0xd0, 0)
	for name, r := range map[string]io.Reader{
		"whole": bytes.NewReader(sent), "halves": iotest.HalfReader(bytes.NewReader(sent)), "bytes": iotest.OneByteReader(bytes.NewReader(sent)),
	} {
		got, err := io.ReadAll(frame.Limit(stream{Reader: r}, 100_000))
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%s: %d of %d bytes, %v", name, len(got), len(sent), err)
		}
	}
}

func TestLongPacketIsRefused(t *testing.T) {
	good := publish(t, 100)
	for name, c := range map[string]struct {
		bad  []byte
		want error
	}{
		"256 MB in five bytes": {[]byte{0x30, 0xff, 0xff, 0xff, 0x7f}, frame.ErrTooLong},
		"one too many":         {[]byte{0x30, 0xe9, 0x07}, frame.ErrTooLong}, // 1001
		"padded zero":          {[]byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x01}, frame.ErrMalformed},
	} {
		for _, split := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader} {
			conn := frame.Limit(stream{Reader: split(bytes.NewReader(append(bytes.Clone(good), c.bad...)))}, 1000)
			got, err := io.ReadAll(conn)
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
			if !bytes.HasPrefix(got, good) {
				t.Errorf("%s: the packet before is lost: %d bytes", name, len(got))
			}
			if _, err := packets.ReadPacket(bytes.NewReader(got[len(good):])); err == nil {
				t.Errorf("%s: the packet passed", name)
			}
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, c.want) {
				t.Errorf("%s: read after the end: %v", name, err)
			}
		}
	}
}

func TestPahoDoesNotAllocateForAClaim(t *testing.T) {
	claim := []byte{0x30, 0xff, 0xff, 0xff, 0x7f}
	r := testing.Benchmark(func(b *testing.B) {
		for range b.N {
			if _, err := packets.ReadPacket(frame.Limit(stream{Reader: bytes.NewReader(claim)}, 1<<20)); err == nil {
				b.Fatal("it passed")
			}
		}
	})
	if per := r.AllocedBytesPerOp(); per > 1<<20 {
		t.Fatalf("%d bytes allocated for five", per)
	}
}

func FuzzLimit(f *testing.F) {
	f.Add([]byte{0x30, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3}, byte(1))
	f.Add([]byte{0x30, 0x03, 0, 1, 't', 0xd0, 0}, byte(3))
	f.Fuzz(func(t *testing.T, b []byte, step byte) {
		conn := frame.Limit(stream{Reader: bytes.NewReader(b)}, 1000)
		var got []byte
		buf := make([]byte, int(step)+1)
		for {
			n, err := conn.Read(buf)
			got = append(got, buf[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.HasPrefix(b, got) {
			t.Fatal("bytes were changed")
		}
		for r := bytes.NewReader(got); r.Len() > 0; {
			first, _ := r.ReadByte()
			_ = first
			length, shift, ok := 0, 0, false
			for !ok {
				c, err := r.ReadByte()
				if err != nil || shift > 21 {
					return
				}
				length |= int(c&0x7f) << shift
				shift += 7
				ok = c&0x80 == 0
			}
			if length > 1000 {
				t.Fatalf("a packet of %d bytes passed", length)
			}
			if _, err := r.Seek(int64(length), io.SeekCurrent); err != nil || length > r.Len() && r.Len() == 0 {
				return
			}
		}
	})
}
