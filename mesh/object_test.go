package mesh_test

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh"
)

// TestObjects asks neighbours for small content: what one has is taken from it and nothing else is.
func TestObjects(t *testing.T) {
	s := newSite(t)
	index := s.index.Encode()
	has := func(b []byte) func(*mesh.Options) {
		return func(o *mesh.Options) {
			o.Objects = func(sum firmware.Digest) []byte {
				if sum == firmware.Sum(index) {
					return b
				}
				return nil
			}
		}
	}
	s.device("honest", has(index))
	s.device("liar", has([]byte("poison")))
	asker := s.device("asker", nil)
	s.see(asker, 2)
	if b, err := asker.Object(s.ctx, firmware.Sum(index), int64(len(index))); err != nil || !bytes.Equal(b, index) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if _, err := asker.Object(s.ctx, firmware.Sum(index), 10); !errors.Is(err, firmware.ErrNotFound) {
		t.Fatalf("over the limit: %v", err)
	}
	if _, err := asker.Object(s.ctx, firmware.Sum([]byte("x")), 1<<20); !errors.Is(err, firmware.ErrNotFound) {
		t.Fatalf("what nobody has: %v", err)
	}
}

// TestOneFetchesAnObject lets devices need the same content at the same moment: one fetches it, the others take it from it,
// or from each other. One that says it fetches and never has it holds nobody for long.
func TestOneFetchesAnObject(t *testing.T) {
	s := newSite(t)
	const n = 6
	content := s.index.Encode()
	sum := firmware.Sum(content)
	var has [n]atomic.Bool
	devices := make([]*mesh.Mesh, n)
	for i := range devices {
		devices[i] = s.device(fmt.Sprintf("d-%d", i), func(o *mesh.Options) {
			o.Objects = func(want firmware.Digest) []byte {
				if want == sum && has[i].Load() {
					return content
				}
				return nil
			}
		})
	}
	for _, d := range devices {
		s.see(d, n-1)
	}
	var fetched atomic.Int32
	var g errgroup.Group
	for i, d := range devices {
		g.Go(func() error {
			b, err := d.Object(s.ctx, sum, 1<<20)
			if errors.Is(err, firmware.ErrNotFound) {
				fetched.Add(1)
				<-time.After(300 * time.Millisecond) // the uplink
				b, err = content, nil
			}
			has[i].Store(bytes.Equal(b, content))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := fetched.Load(); got < 1 || got > 2 { // two may begin in the same millisecond
		t.Errorf("%d of %d devices fetched it", got, n)
	}
	other := firmware.Sum([]byte("nobody gets it"))
	if _, err := devices[0].Object(s.ctx, other, 10); !errors.Is(err, firmware.ErrNotFound) {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := devices[1].Object(s.ctx, other, 10); !errors.Is(err, firmware.ErrNotFound) {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 3*time.Second || took > 8*time.Second {
		t.Errorf("waited %s for one that fetches", took)
	}
}
