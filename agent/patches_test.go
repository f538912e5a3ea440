package agent

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/patch"
)

// asked counts what the repository is asked for, by the beginning of the path.
type asked struct {
	mu    sync.Mutex
	paths []string
}

func (b *bench) asked() *asked {
	a := &asked{}
	b.cloud.Gate(func(path string) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.paths = append(a.paths, path)
	})
	return a
}

func (a *asked) count(begins, ends string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.paths {
		if strings.HasPrefix(p, begins) && strings.HasSuffix(p, ends) {
			n++
		}
	}
	return n
}

// upgrade is a payload with a line changed here and there.
func upgrade(old []byte) []byte {
	b := bytes.Clone(old)
	for at := 100 << 10; at < len(b); at += 150 << 10 {
		copy(b[at:], "a line that was changed in a new version")
	}
	return b
}

// installed brings a device to a first release and makes a second one with a pack.
func installed(t *testing.T, packed bool) (b *bench, one, two []byte, pack *patch.Pack) {
	b = newBench(t, false)
	one = payload(1, 3<<20)
	two = upgrade(one)
	b.cloud.Member("d-1", "all")
	b.cloud.Wish(b.cloud.Publish("1.0.0", 1, "qemu-arm64", one), nil)
	stop := b.start()
	b.cloud.Await("1.0.0 is committed", reaches(protocol.Committed, "1.0.0"))
	stop()
	b.cloud.Wish(b.cloud.Publish("1.1.0", 2, "qemu-arm64", two), nil)
	if packed {
		pack = b.cloud.Pack(one, two)
	}
	return b, one, two, pack
}

// TestPatches holds that patches and the index's difference are all that is fetched where there is a pack, and that what
// they cost is told.
func TestPatches(t *testing.T) {
	b, _, two, pack := installed(t, true)
	asked := b.asked()
	b.start()
	r := b.cloud.Await("1.1.0 is committed", reaches(protocol.Committed, "1.1.0"))
	if !bytes.Equal(b.slot("a", len(two)), two) {
		t.Error("slot a holds something else")
	}
	const metadata = 16 << 10
	if by := r.Update.Bytes; by.Origin < pack.Size || by.Origin > pack.Size+metadata || by.Reused == 0 || by.Done != int64(len(two)) {
		t.Errorf("%+v; the pack has %d bytes", by, pack.Size)
	}
	if n := asked.count("chunks/", ""); n > 0 {
		t.Errorf("%d chunks were fetched", n)
	}
	if n := asked.count("targets/", ".caibx"); n > 0 {
		t.Error("the index was fetched whole")
	}
	if n := asked.count("patches/", ""); n > len(pack.Groups)+2 {
		t.Errorf("%d requests for %d groups", n, len(pack.Groups))
	}
}

// TestPatchesOutliveARestart holds what neighbours may still take of an update after the device has started its new slot.
func TestPatchesOutliveARestart(t *testing.T) {
	b, one, two, pack := installed(t, true)
	stop := b.start()
	b.cloud.Await("1.1.0 is committed", reaches(protocol.Committed, "1.1.0"))
	stop()
	dir := filepath.Join(b.dir, stateDir)
	load := func() *passed {
		p := &passed{dir: dir, log: slog.New(slog.NewTextHandler(t.Output(), nil))}
		p.load()
		return p
	}
	p := load()
	s := p.on(firmware.Sum(two), Swarm{})
	if s.Patches == nil || len(s.Patches.Held()) != len(pack.Groups) || len(s.Groups) != len(pack.Groups) {
		t.Fatalf("%+v is kept of %d groups", s, len(pack.Groups))
	}
	for i, g := range pack.Groups {
		if body, err := s.Patches.Patch(i); err != nil || int64(len(body)) != g.Size || !slices.Equal(s.Groups[i], g.Chunks) {
			t.Errorf("group %d: %d bytes of %d, %v", i, len(body), g.Size, err)
		}
	}
	if p.on(firmware.Sum(one), Swarm{}).Patches != nil {
		t.Error("they are offered for another payload")
	}

	path := filepath.Join(dir, keptFile)
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	body[0]++
	if err := os.WriteFile(path, body, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := load().on(firmware.Sum(two), Swarm{}).Patches.Patch(0); !errors.Is(err, firmware.ErrNotFound) {
		t.Errorf("what the disk spoilt is passed on: %v", err)
	}

	record := filepath.Join(dir, keptRecord)
	j, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range j {
		if cut%7 > 0 {
			continue
		}
		if err := os.WriteFile(record, j[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if load().on(firmware.Sum(two), Swarm{}).Patches != nil {
			t.Errorf("a record cut at %d is believed", cut)
		}
	}
	if err := os.WriteFile(record, j, 0o600); err != nil {
		t.Fatal(err)
	}
	p = load()
	p.begin(firmware.Sum(one))
	if _, err := os.Stat(record); !errors.Is(err, os.ErrNotExist) || load().kept != nil {
		t.Errorf("another update leaves the record of the last: %v", err)
	}
}

// TestDamagedSlot flips bytes in the slot that runs: what patches and the slot fail to give is fetched whole, the log says
// so, and the update ends well.
func TestDamagedSlot(t *testing.T) {
	b, one, two, _ := installed(t, true)
	slot, err := os.OpenFile(filepath.Join(b.dir, "slot-b"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	for at := 50 << 10; at < len(one)/2; at += 90 << 10 {
		if _, err := slot.WriteAt([]byte{^one[at], ^one[at+1]}, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := slot.Close(); err != nil {
		t.Fatal(err)
	}
	asked := b.asked()
	b.start()
	b.cloud.Await("1.1.0 is committed", reaches(protocol.Committed, "1.1.0"))
	if !bytes.Equal(b.slot("a", len(two)), two) {
		t.Error("slot a holds something else")
	}
	all := b.cloud.Distinct()
	if n := asked.count("chunks/", ""); n == 0 || n > all*2/3 {
		t.Errorf("%d of %d chunks were fetched whole", n, all)
	}
	for _, word := range []string{"the running slot is damaged", "patches do not yield what they should"} {
		if !b.words.says(word) {
			t.Errorf("the log does not say %q", word)
		}
	}
}

// TestRecordOfAnOlderAgent has a slot of which the payload's digest is not known: chunks come whole, without a question for
// patches.
func TestRecordOfAnOlderAgent(t *testing.T) {
	b, one, two, _ := installed(t, true)
	record := filepath.Join(b.dir, stateDir, "slots", "b.json")
	j, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	field := []byte(`,"payload":"` + firmware.Sum(one).String() + `"`)
	if !bytes.Contains(j, field) {
		t.Fatalf("no payload in %s", j)
	}
	if err := os.WriteFile(record, bytes.Replace(j, field, nil, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	asked := b.asked()
	b.start()
	b.cloud.Await("1.1.0 is committed", reaches(protocol.Committed, "1.1.0"))
	if !bytes.Equal(b.slot("a", len(two)), two) {
		t.Error("slot a holds something else")
	}
	if asked.count("patches/", "") > 0 || asked.count("chunks/", "") == 0 {
		t.Errorf("asked for %v", asked.paths)
	}
}

// TestWithoutAPack asks once for patches that there are not.
func TestWithoutAPack(t *testing.T) {
	b, _, two, _ := installed(t, false)
	asked := b.asked()
	b.start()
	b.cloud.Await("1.1.0 is committed", reaches(protocol.Committed, "1.1.0"))
	if !bytes.Equal(b.slot("a", len(two)), two) {
		t.Error("slot a holds something else")
	}
	if n := asked.count("patches/", ""); n == 0 || n > 2 || asked.count("chunks/", "") == 0 {
		t.Errorf("asked for %v", asked.paths)
	}
}
