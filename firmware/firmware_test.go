package firmware_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/waxwing-ota/waxwing/cross/needs"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/chunker"
)

func sampleIndex() *firmware.Index {
	return firmware.NewIndex(firmware.Chunking{Min: 1, Avg: 64, Max: 256}, []firmware.Chunk{
		{ID: firmware.Sum([]byte("a")), Size: 1}, {ID: firmware.Sum([]byte("b")), Size: 256}, {ID: firmware.Sum([]byte("a")), Size: 1},
	})
}

func TestIndexRoundTrip(t *testing.T) {
	x := sampleIndex()
	got, err := firmware.ReadIndex(bytes.NewReader(x.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x.Chunks, got.Chunks); diff != "" || got.Size() != 258 || got.Chunking != x.Chunking {
		t.Fatalf("%s, %d bytes", diff, got.Size())
	}
	if s := got.Span(1); s != (firmware.Span{Offset: 1, Size: 256}) {
		t.Fatalf("%+v", s)
	}
}

func TestIndexRefuses(t *testing.T) {
	good := sampleIndex().Encode()
	for n := range good {
		if _, err := firmware.ParseIndex(good[:n]); err == nil {
			t.Fatalf("accepted %d of %d bytes", n, len(good))
		}
	}
	word := func(at int, v uint64) []byte {
		b := bytes.Clone(good)
		binary.LittleEndian.PutUint64(b[at:], v)
		return b
	}
	for name, b := range map[string][]byte{
		"magic":               word(8, 1),
		"sha512-256 ids":      word(16, 0xA000000000000000),
		"max of 2^62":         word(40, 1<<62),
		"min of 0":            word(24, 0),
		"min over avg":        word(24, 200),
		"first chunk empty":   word(64, 0),
		"offsets fall":        word(64+40, 1),
		"chunk over max":      word(64+40, 600),
		"offset of 2^62":      word(64+80, 1<<62),
		"offset wraps":        word(64+80, math.MaxUint64),
		"tail marker":         word(len(good)-8, 0),
		"tail size":           word(len(good)-16, 7),
		"trailing bytes":      append(bytes.Clone(good), 0),
		"a whole entry after": append(bytes.Clone(good), make([]byte, 40)...),
	} {
		if _, err := firmware.ParseIndex(b); !errors.Is(err, firmware.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := firmware.ReadIndex(endless{}); !errors.Is(err, firmware.ErrTooLarge) {
		t.Errorf("endless: %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func FuzzParseIndex(f *testing.F) {
	f.Add(sampleIndex().Encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		x, err := firmware.ParseIndex(b)
		if err != nil {
			return
		}
		again, err := firmware.ParseIndex(x.Encode())
		if err != nil || !cmp.Equal(again.Chunks, x.Chunks) {
			t.Fatalf("an accepted index does not survive: %v", err)
		}
	})
}

func TestChunkRoundTripAndRefusals(t *testing.T) {
	plain := bytes.Repeat([]byte("waxwing "), 4000)
	id, frame := firmware.Sum(plain), firmware.EncodeChunk(plain)
	for _, size := range []int{0, len(plain)} {
		if got, err := firmware.DecodeChunk(frame, id, size); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("size %d: %v", size, err)
		}
	}
	bomb := func(options ...zstd.EOption) []byte {
		e, err := zstd.NewWriter(nil, options...)
		if err != nil {
			t.Fatal(err)
		}
		return e.EncodeAll(make([]byte, 64<<20), nil)
	}
	var stream bytes.Buffer // a frame that does not tell its size
	e, _ := zstd.NewWriter(&stream, zstd.WithWindowSize(8<<20))
	for range 64 {
		_, _ = e.Write(make([]byte, 1<<20))
	}
	_ = e.Close()
	for name, c := range map[string]struct {
		frame []byte
		id    firmware.ChunkID
		size  int
		want  error
	}{
		"another chunk":        {frame, firmware.Sum([]byte("x")), 0, firmware.ErrCorrupt},
		"another size":         {frame, id, len(plain) - 1, firmware.ErrCorrupt},
		"cut":                  {frame[:len(frame)/2], id, 0, firmware.ErrCorrupt},
		"no frame":             {[]byte("hello"), id, 0, firmware.ErrCorrupt},
		"a bomb that says so":  {bomb(), id, 0, firmware.ErrTooLarge},
		"a bomb that does not": {stream.Bytes(), id, 100, firmware.ErrTooLarge},
		"a giant frame":        {make([]byte, firmware.MaxFrameSize+1), id, 0, firmware.ErrTooLarge},
	} {
		if got, err := firmware.DecodeChunk(c.frame, c.id, c.size); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func FuzzDecodeChunk(f *testing.F) {
	f.Add(firmware.EncodeChunk([]byte("waxwing")), 7)
	f.Fuzz(func(t *testing.T, frame []byte, size int) {
		if got, err := firmware.DecodeChunk(frame, firmware.Sum([]byte("waxwing")), size); err == nil && string(got) != "waxwing" {
			t.Fatalf("accepted %q", got)
		}
	})
}

func sampleManifest() *firmware.Manifest {
	return &firmware.Manifest{
		Schema: 1, Product: "edge-gw", Version: "1.0.0", Counter: 1, Hardware: []string{"qemu-arm64"},
		Components: []firmware.Component{{
			Name: "rootfs", Handler: firmware.HandlerSlot, Size: 9, SHA256: firmware.Sum([]byte("p")),
			Index: firmware.File{Size: 200, SHA256: firmware.Sum([]byte("i"))},
		}},
	}
}

func TestManifest(t *testing.T) {
	b, err := sampleManifest().Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err := firmware.ParseManifest(b)
	if err != nil || !cmp.Equal(m, sampleManifest()) {
		t.Fatal(cmp.Diff(sampleManifest(), m), err)
	}
	if !m.Fits("qemu-arm64") || m.Fits("arm") {
		t.Error("hardware")
	}
	for name, spoil := range map[string]func(*firmware.Manifest){
		"schema":         func(m *firmware.Manifest) { m.Schema = 2 },
		"product":        func(m *firmware.Manifest) { m.Product = "../etc" },
		"dots":           func(m *firmware.Manifest) { m.Product = "a..b" },
		"version":        func(m *firmware.Manifest) { m.Version = "1/2" },
		"counter":        func(m *firmware.Manifest) { m.Counter = 0 },
		"no hardware":    func(m *firmware.Manifest) { m.Hardware = nil },
		"hardware":       func(m *firmware.Manifest) { m.Hardware = []string{"A b"} },
		"no components":  func(m *firmware.Manifest) { m.Components = nil },
		"twice":          func(m *firmware.Manifest) { m.Components = append(m.Components, m.Components[0]) },
		"handler":        func(m *firmware.Manifest) { m.Components[0].Handler = "shell" },
		"size":           func(m *firmware.Manifest) { m.Components[0].Size = 1 << 50 },
		"index size":     func(m *firmware.Manifest) { m.Components[0].Index.Size = -1 },
		"missing digest": func(m *firmware.Manifest) { m.Components[0].SHA256 = firmware.Digest{} },
	} {
		m := sampleManifest()
		spoil(m)
		if _, err := m.Encode(); err == nil {
			t.Errorf("%s: encoded", name)
		}
		raw, _ := json.Marshal(m)
		if _, err := firmware.ParseManifest(raw); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
	for name, raw := range map[string]string{
		"unknown field": strings.Replace(string(b), `"schema"`, `"shell":"rm","schema"`, 1),
		"two documents": string(b) + string(b),
		"upper digest":  strings.Replace(string(b), firmware.Sum([]byte("p")).String(), strings.ToUpper(firmware.Sum([]byte("p")).String()), 1),
		"null":          "null",
	} {
		if _, err := firmware.ParseManifest([]byte(raw)); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
	if _, err := firmware.ParseManifest(make([]byte, firmware.MaxManifestSize+1)); !errors.Is(err, firmware.ErrTooLarge) {
		t.Errorf("huge: %v", err)
	}
}

func FuzzParseManifest(f *testing.F) {
	b, _ := sampleManifest().Encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := firmware.ParseManifest(b)
		if err != nil {
			return
		}
		if _, err := m.Encode(); err != nil {
			t.Fatalf("parsed, but cannot be encoded: %v", err)
		}
	})
}

func TestTargetPath(t *testing.T) {
	sum := firmware.Sum([]byte("x"))
	for _, name := range []string{"policy-keys.json", "gw/1.0.0/rootfs.caibx"} {
		p := firmware.TargetPath(name, sum)
		if got, ok := firmware.TargetDigest(p); !ok || got != sum {
			t.Errorf("%s: %s, %v", p, got, ok)
		}
	}
	for _, p := range []string{"", "metadata/timestamp.json", "targets/gw/1/release.json", "chunks/" + sum.String() + ".cacnk"} {
		if _, ok := firmware.TargetDigest(p); ok {
			t.Errorf("%s has a digest", p)
		}
	}
}

func TestPlan(t *testing.T) {
	x := sampleIndex()
	p := firmware.MakePlan(x, func(id firmware.ChunkID) bool { return id == firmware.Sum([]byte("b")) })
	if len(p.Missing) != 1 || p.MissingBytes != 1 || p.LocalBytes != 256 {
		t.Fatalf("%+v", p)
	}
}

// TestCasyncReadsOurStore lets Debian's casync rebuild a payload from an index and a store that Waxwing wrote.
func TestCasyncReadsOurStore(t *testing.T) {
	casync, err := exec.LookPath("casync")
	if err != nil {
		needs.Lack(t, "casync is not installed; `make deps` installs it")
	}
	dir := t.TempDir()
	payload, err := os.ReadFile(casync)
	if err != nil {
		t.Fatal(err)
	}
	payload = append(payload, make([]byte, 1<<20)...)
	var chunks []firmware.Chunk
	if err := chunker.Split(bytes.NewReader(payload), chunker.Default(), func(p []byte) error {
		id := firmware.Sum(p)
		chunks = append(chunks, firmware.Chunk{ID: id, Size: uint32(len(p))})
		path := filepath.Join(dir, "chunks", firmware.ChunkPath(id))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, firmware.EncodeChunk(p), 0o644)
	}); err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(dir, "payload.caibx")
	if err := os.WriteFile(index, firmware.NewIndex(chunker.Default(), chunks).Encode(), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "payload")
	cmd := exec.CommandContext(t.Context(), casync, "extract", "--digest=sha256", "--store="+filepath.Join(dir, "chunks"), index, out)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("casync: %v\n%s", err, b)
	}
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, payload) {
		t.Fatalf("casync wrote another payload: %v", err)
	}
}
