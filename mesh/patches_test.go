package mesh_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/assemble"
	"github.com/waxwing-ota/waxwing/firmware/chunker"
	"github.com/waxwing-ota/waxwing/firmware/patch"
	"github.com/waxwing-ota/waxwing/firmware/patch/encode"
	"github.com/waxwing-ota/waxwing/firmware/remote"
	"github.com/waxwing-ota/waxwing/mesh"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
)

// upgrade is a payload that devices have, another that they want, and a repository with a pack between them.
type upgrade struct {
	base, target []byte
	from, to     *firmware.Index
	files        map[string][]byte
	pack         int64 // bytes of it
	line         atomic.Int64
}

func newUpgrade(t *testing.T) *upgrade {
	t.Helper()
	u := &upgrade{base: make([]byte, 6<<20), files: map[string][]byte{}}
	r := rand.NewChaCha8([32]byte{3})
	_, _ = r.Read(u.base)
	u.target = bytes.Clone(u.base)
	for at := 0; at < len(u.target); at += 9 << 10 { // every chunk differs a little
		_, _ = r.Read(u.target[at : at+64])
	}
	index := func(b []byte, each func(plain []byte)) *firmware.Index {
		var all []firmware.Chunk
		c := firmware.Chunking{Min: 4 << 10, Avg: 16 << 10, Max: 64 << 10}
		if err := chunker.Split(bytes.NewReader(b), c, func(p []byte) error {
			all = append(all, firmware.Chunk{ID: firmware.Sum(p), Size: uint32(len(p))})
			each(p)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return firmware.NewIndex(c, all)
	}
	u.from = index(u.base, func([]byte) {})
	u.to = index(u.target, func(p []byte) { u.files["chunks/"+firmware.ChunkPath(firmware.Sum(p))] = firmware.EncodeChunk(p) })
	side := func(b []byte, x *firmware.Index) encode.Payload {
		return encode.Payload{Bytes: bytes.NewReader(b), Index: x, SHA256: firmware.Sum(b)}
	}
	built, err := encode.Build(t.Context(), encode.Options{
		Base: side(u.base, u.from), Target: side(u.target, u.to), Workers: 2,
		Frame: func(_ context.Context, id firmware.ChunkID) (int64, error) {
			return int64(len(u.files["chunks/"+firmware.ChunkPath(id)])), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if u.pack, err = built.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	u.files[patch.Path(firmware.Sum(u.base), firmware.Sum(u.target))] = b.Bytes()
	return u
}

// Fetch and Range make an upgrade a remote.Files that counts.
func (u *upgrade) Fetch(_ context.Context, path string, _ int64) ([]byte, error) {
	b, ok := u.files[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	u.line.Add(int64(len(b)))
	return b, nil
}

func (u *upgrade) Range(_ context.Context, path string, offset, n int64) ([]byte, error) {
	b, ok := u.files[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	b = b[min(offset, int64(len(b))):min(offset+n, int64(len(b)))]
	u.line.Add(int64(len(b)))
	return b, nil
}

// spoilt are patches that are wrong.
type spoilt struct{ *remote.Kept }

func (s spoilt) Patch(group int) ([]byte, error) {
	b, err := s.Kept.Patch(group)
	if err == nil {
		b[len(b)/2]++
	}
	return b, err
}

// take brings a device from the base to the target.
func (u *upgrade) take(ctx context.Context, m *mesh.Mesh, dir string, base []byte, spoil bool) (t mesh.Traffic, err error) {
	file, err := os.Create(filepath.Join(dir, "patches"))
	if err != nil {
		return t, err
	}
	kept := remote.NewKept(file, 8<<20)
	give := exchange.Patches(kept)
	if spoil {
		give = spoilt{kept}
	}
	context.AfterFunc(ctx, func() { _ = file.Close() })
	o := remote.Options{Files: u, Target: firmware.Sum(u.target), Index: u.to, Keep: kept}
	if base != nil {
		o.Base = &remote.Base{SHA256: firmware.Sum(u.base), Index: u.from, Payload: bytes.NewReader(base)}
	}
	r, err := remote.Open(ctx, o)
	if err != nil {
		return t, err
	}
	target := make(slot, len(u.target))
	a := assemble.New(assemble.Options{Index: u.to, Digest: firmware.Sum(u.target), Target: target})
	_, err = a.Run(ctx, func(ctx context.Context, missing []firmware.Chunk, deliver assemble.Deliver) (err error) {
		t, err = m.Fetch(ctx, mesh.Swarm{
			ID: firmware.Sum(u.to.Encode()), Index: u.to, Have: a, Origin: r, Groups: r.Groups(), Patches: give, Patched: r.Patched,
		}, missing, deliver)
		return err
	})
	if err == nil && !bytes.Equal(target, u.target) {
		err = fmt.Errorf("another payload")
	}
	return t, err
}

// TestPatchesPassOn lets devices upgrade together: each patch crosses the uplink once, and patches cross the LAN. A device
// whose base is damaged, one without a base and those that are given wrong patches get chunks.
func TestPatchesPassOn(t *testing.T) {
	u := newUpgrade(t)
	chunks := int64(len(u.target))
	if u.pack > chunks/10 {
		t.Fatalf("the pack has %d bytes of %d", u.pack, chunks)
	}
	damaged := make([]byte, len(u.base))
	alone := newSite(t)
	if _, err := u.take(alone.ctx, alone.device("alone", func(o *mesh.Options) { o.Off = true }), t.TempDir(), u.base, false); err != nil {
		t.Fatal(err)
	}
	one := u.line.Load() // what a device needs
	for _, c := range []struct {
		name string
		odd  func(i int) (base []byte, spoil bool)
		lan  func(i int) (least, most int64) // bytes from neighbours
	}{
		{
			"one base", func(int) ([]byte, bool) { return u.base, false },
			func(int) (int64, int64) { return 0, one },
		},
		{
			"one has no base, and one a damaged one", func(i int) ([]byte, bool) {
				return map[int][]byte{0: nil, 1: damaged, 2: u.base, 3: u.base, 4: u.base}[i], false
			},
			func(i int) (int64, int64) {
				if i < 2 {
					return chunks / 2, 2 * chunks
				}
				return 0, chunks
			},
		},
		{
			"one gives wrong patches", func(i int) ([]byte, bool) { return u.base, i == 0 },
			func(int) (int64, int64) { return 0, chunks },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			const n = 5
			u.line.Store(0)
			devices := make([]*mesh.Mesh, n)
			for i := range devices {
				devices[i] = s.device(fmt.Sprintf("d-%d", i), func(o *mesh.Options) { o.Received = u.line.Load })
			}
			for _, d := range devices {
				s.see(d, n-1)
			}
			var g errgroup.Group
			traffic := make([]mesh.Traffic, n)
			for i, d := range devices {
				dir := t.TempDir()
				base, spoil := c.odd(i)
				g.Go(func() (err error) { traffic[i], err = u.take(s.ctx, d, dir, base, spoil); return err })
			}
			if err := g.Wait(); err != nil {
				t.Fatal(err)
			}
			if front := int64(n * patch.HeadSize); c.name != "one has no base, and one a damaged one" && u.line.Load() > one+front { // each reads it
				t.Errorf("%d bytes crossed the uplink; one device needs %d", u.line.Load(), one)
			}
			for i, got := range traffic {
				if least, most := c.lan(i); got.Peers < least || got.Peers > most {
					t.Errorf("device %d got %d bytes from neighbours; alone it would need %d of the uplink, and all chunks are %d", i, got.Peers, one, chunks)
				}
			}
		})
	}
}
