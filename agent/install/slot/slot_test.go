package slot

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/install"
	"github.com/waxwing-ota/waxwing/firmware"
)

var (
	ctx     = context.Background()
	payload = []byte(strings.Repeat("a payload ", 500))
	index   = firmware.NewIndex(firmware.Chunking{Min: 1, Avg: 4096, Max: 8192}, []firmware.Chunk{{ID: firmware.Sum(payload), Size: uint32(len(payload))}})
	held    = install.Held{Product: "edge", Version: "1.1", Counter: 2, Manifest: firmware.Sum([]byte("m")), Component: "rootfs", Size: int64(len(payload)), Index: firmware.Sum(index.Encode())}
)

func fresh(t *testing.T) (*Slots, string) {
	t.Helper()
	dir := t.TempDir()
	paths := map[string]string{"a": filepath.Join(dir, "slot-a"), "b": filepath.Join(dir, "slot-b")}
	for _, p := range paths {
		if err := os.WriteFile(p, make([]byte, 8192), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(Options{Dir: filepath.Join(dir, "records"), Slots: paths})
	if err != nil {
		t.Fatal(err)
	}
	return s, dir
}

func install1(t *testing.T, s *Slots, slot, running string) {
	t.Helper()
	p, err := s.Prepare(ctx, slot, running, int64(len(payload)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WriteAt(payload, 0); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Sync(), p.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(ctx, slot, held, index); err != nil {
		t.Fatal(err)
	}
}

func TestInstall(t *testing.T) {
	s, dir := fresh(t)
	if _, err := s.Holds("b"); !errors.Is(err, install.ErrUnknown) {
		t.Error(err)
	}
	install1(t, s, "b", "a")
	s, err := Open(Options{Dir: filepath.Join(dir, "records"), Slots: s.paths})
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Holds("b")
	if diff := cmp.Diff(held, got); err != nil || diff != "" {
		t.Error(err, diff)
	}
	p, x, err := s.Open("b")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	b, err := firmware.NewSeed(x, p).Chunk(ctx, firmware.Sum(payload))
	if err != nil || !bytes.Equal(b, payload) {
		t.Error("the slot is no seed:", err)
	}
}

func TestTheRecordGoesBeforeTheFirstByte(t *testing.T) {
	s, _ := fresh(t)
	install1(t, s, "b", "a")
	p, err := s.Prepare(ctx, "b", "a", 10)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := s.Holds("b"); !errors.Is(err, install.ErrUnknown) {
		t.Error(err)
	}
	if _, _, err := s.Open("b"); !errors.Is(err, install.ErrUnknown) {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	s, dir := fresh(t)
	install1(t, s, "b", "a")
	if _, err := s.Prepare(ctx, "b", "b", 10); !errors.Is(err, install.ErrRunning) {
		t.Error(err)
	}
	if _, err := s.Prepare(ctx, "b", "", 10); !errors.Is(err, install.ErrRunning) {
		t.Error("the running slot is unknown:", err)
	}
	if _, err := s.Prepare(ctx, "b", "a", 8193); !errors.Is(err, install.ErrTooLarge) {
		t.Error(err)
	}
	if _, err := s.Holds("b"); err != nil {
		t.Error("a refusal has changed something:", err)
	}
	if _, err := s.Prepare(ctx, "c", "a", 1); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	p, err := s.Prepare(ctx, "b", "a", 100)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.WriteAt(make([]byte, 10), 95); !errors.Is(err, install.ErrTooLarge) {
		t.Error(err)
	}
	same := map[string]string{"a": s.Path("a"), "b": filepath.Join(dir, ".", "slot-a")}
	if _, err := Open(Options{Dir: dir, Slots: same}); err == nil {
		t.Error("one file for both slots")
	}
	if _, err := Open(Options{Dir: dir, Slots: map[string]string{"a": s.Path("a")}}); err == nil {
		t.Error("one slot")
	}
}

func TestDamagedRecordsAreNone(t *testing.T) {
	for _, end := range []string{".json", ".caibx"} {
		s, _ := fresh(t)
		install1(t, s, "b", "a")
		if err := os.WriteFile(s.file("b", end), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.Open("b"); !errors.Is(err, install.ErrUnknown) {
			t.Errorf("%s: %v", end, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"product":"edge","manifest":"` + firmware.Sum(nil).String() + `"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parse(b); err == nil && h.Manifest.IsZero() {
			t.Error("nothing is held")
		}
	})
}
