package depot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/install"
	"github.com/waxwing-ota/waxwing/firmware"
)

// disk is a depot of small payloads, for which there is much room.
type disk struct {
	t    *testing.T
	o    Options
	left int64
	gone []string
}

func newDisk(t *testing.T, space int64) *disk {
	d := &disk{t: t, left: 1 << 40}
	clock := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d.o = Options{
		Dir: filepath.Join(t.TempDir(), "depot"), Space: space,
		Free: func(string) (int64, error) { return d.left, nil },
		Now:  func() time.Time { clock = clock.Add(-time.Hour); return clock }, // clocks are set, too
	}
	return d
}

func (d *disk) open() *Store {
	d.t.Helper()
	s, err := Open(d.o)
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

func id(name string) firmware.Digest { return firmware.Sum([]byte(name)) }

// room keeps what is named.
func (d *disk) room(wanted ...string) Room {
	return Room{
		Wanted: func(m firmware.Digest) bool {
			for _, w := range wanted {
				if id(w) == m {
					return true
				}
			}
			return false
		},
		Leaves: func(m firmware.Digest) {
			for i := range 100 {
				if name := fmt.Sprint(i); id(name) == m {
					d.gone = append(d.gone, name)
				}
			}
		},
	}
}

func payload(name string, size int) []byte { return []byte(strings.Repeat(name, size)[:size]) }

// put keeps a payload.
func (d *disk) put(s *Store, name string, size int, wanted ...string) error {
	d.t.Helper()
	place, err := s.Begin(id(name), int64(size), d.room(wanted...))
	if err != nil {
		return err
	}
	b := payload(name, size)
	if _, err := place.WriteAt(b, 0); err != nil {
		d.t.Fatal(err)
	}
	if err := errors.Join(place.Sync(), place.Close()); err != nil {
		d.t.Fatal(err)
	}
	index := firmware.NewIndex(firmware.Chunking{Min: 1, Avg: 4096, Max: 8192}, []firmware.Chunk{{ID: firmware.Sum(b), Size: uint32(size)}})
	return s.Finish(install.Held{Product: "gw", Version: name, Manifest: id(name), Size: int64(size)}, index)
}

func names(s *Store) (out []string) {
	for _, h := range s.List() {
		out = append(out, h.Version)
	}
	return out
}

func files(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestTheOldestLeaves(t *testing.T) {
	d := newDisk(t, 300)
	s := d.open()
	for _, name := range []string{"1", "2", "3"} {
		if err := d.put(s, name, 100); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"3", "2", "1"}, names(s)); diff != "" || s.Used() != 300 {
		t.Error(diff, s.Used())
	}
	held, x, err := s.Open(id("2"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := d.put(s, "4", 200, "1"); err != nil { // 1 stays, though it is the oldest
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"2", "3"}, d.gone); diff != "" {
		t.Error(diff)
	}
	if b, err := firmware.NewSeed(x, held).Chunk(t.Context(), firmware.Sum(payload("2", 100))); err != nil || len(b) != 100 {
		t.Errorf("who reads from what leaves is disturbed: %v", err)
	}
	if err := d.put(s, "5", 101, "1", "4"); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if err := d.put(s, "5", 301); !errors.Is(err, ErrFull) || len(s.List()) != 2 {
		t.Error("what can never fit makes others leave:", err, names(s))
	}
	s = d.open()
	if diff := cmp.Diff([]string{"4", "1"}, names(s)); diff != "" || files(t, d.o.Dir) != 6 {
		t.Error("after a restart:", diff, files(t, d.o.Dir))
	}
	h := s.List()[0]
	if b := s.Object(h.Index); firmware.Sum(b) != h.Index || s.Object(id("x")) != nil {
		t.Error("its index is not handed out")
	}
}

func TestADiskThatFills(t *testing.T) {
	d := newDisk(t, 1<<30)
	s := d.open()
	for _, name := range []string{"1", "2"} {
		if err := d.put(s, name, 100); err != nil {
			t.Fatal(err)
		}
	}
	d.left = reserve // and nothing gets better by what leaves
	if err := d.put(s, "3", 100, "2"); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"2"}, names(s)); diff != "" {
		t.Error("what is wanted has left:", diff)
	}
	d.left = reserve + 100
	if err := d.put(s, "3", 100, "2"); err != nil {
		t.Error(err)
	}
	if !s.Evict(d.room("3")) || s.Evict(d.room("3")) {
		t.Error("room is made of what is wanted")
	}
}

func TestUnfinished(t *testing.T) {
	d := newDisk(t, 1<<30)
	s := d.open()
	place, err := s.Begin(id("1"), 100, d.room())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := place.WriteAt([]byte("half"), 0); err != nil {
		t.Fatal(err)
	}
	place.Close()
	s = d.open() // the power fails
	if len(s.List()) != 0 || s.Has(id("1")) {
		t.Error("half of a payload is kept")
	}
	if place, err = s.Begin(id("1"), 100, d.room()); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := place.ReadAt(b, 0); err != nil || string(b) != "half" {
		t.Errorf("%q, %v", b, err)
	}
	place.Close()
	if err := d.put(s, "2", 100); err != nil {
		t.Fatal(err)
	}
	if n := files(t, d.o.Dir); n != 3 {
		t.Errorf("%d files: what nobody finishes stays", n)
	}
	if _, err := s.Begin(id("3"), 100, d.room()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Discard(id("3")), s.Discard(id("2"))); err != nil {
		t.Fatal(err)
	}
	if n := files(t, d.o.Dir); n != 3 || !s.Has(id("2")) {
		t.Errorf("%d files after what was begun is given up", n)
	}
}

// TestDamage: what is not whole is not kept, and nothing else suffers.
func TestDamage(t *testing.T) {
	for name, harm := range map[string]func(base string) error{
		"record":   func(base string) error { return os.WriteFile(base+".json", []byte("{"), 0o600) },
		"long":     func(base string) error { return os.WriteFile(base+".json", make([]byte, 1<<20), 0o600) },
		"no index": func(base string) error { return os.Remove(base + ".caibx") },
		"index":    func(base string) error { return os.WriteFile(base+".caibx", []byte("x"), 0o600) },
		"payload":  func(base string) error { return os.Truncate(base+".img", 10) },
		"nothing":  func(base string) error { return os.Remove(base + ".img") },
		"another":  func(base string) error { return os.Rename(base+".json", strings.Repeat("0", 64)+".json") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			d := newDisk(t, 1<<30)
			s := d.open()
			if err := errors.Join(d.put(s, "1", 100), d.put(s, "2", 100)); err != nil {
				t.Fatal(err)
			}
			if err := harm(filepath.Join(d.o.Dir, id("1").String())); err != nil {
				t.Fatal(err)
			}
			s = d.open()
			if _, _, err := s.Open(id("1")); !errors.Is(err, install.ErrUnknown) {
				t.Error(err)
			}
			if err := s.Forget(id("1")); err != nil || s.Has(id("1")) {
				t.Error(err)
			}
			p, _, err := s.Open(id("2"))
			if err != nil {
				t.Fatal(err)
			}
			p.Close()
			if err := d.put(s, "1", 100); err != nil {
				t.Error("it cannot be had again:", err)
			}
		})
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"product":"gw","manifest":"` + id("1").String() + `","size":4,"index":"` + id("1").String() + `"}`))
	f.Add([]byte(`{"size":-1}`))
	dir := f.TempDir()
	s := &Store{o: Options{Dir: dir}}
	name := id("1").String()
	if err := os.WriteFile(filepath.Join(dir, name+".img"), []byte("1234"), 0o600); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name+".json"), b, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := s.read(name); err == nil && (r.Size != 4 || r.Manifest != id("1") || r.Index.IsZero()) {
			t.Errorf("%+v", r)
		}
	})
}
