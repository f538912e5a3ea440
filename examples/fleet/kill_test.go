package fleet

import (
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
)

// TestServerKilled kills the server with SIGKILL while the first device downloads, and again while the others do.
// Nothing is lost: what was published and decided is still there, the rollout goes on by itself, and nobody fetches
// anything twice.
func TestServerKilled(t *testing.T) {
	const devices = 4
	line := newUplink(t, 2<<20)
	f := start(t, Options{Devices: devices, Image: 32, Route: line.route})
	release, err := f.Release(t.Context(), First, true)
	if err != nil {
		t.Fatal(err)
	}
	before := line.down.Load()
	id, err := f.Begin(t.Context(), First, "1,100%")
	if err != nil {
		t.Fatal(err)
	}
	for stage := range 2 {
		f.await(t, "a download in the middle", func() bool {
			r, err := f.Rollout(t.Context(), id)
			return err == nil && r.Stage == stage && r.Counts.Downloading > 0 && line.down.Load()-before > release.Size.NewChunks/4
		})
		told := f.told(t)
		f.Server.kill()
		if err := f.StartServer(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(told, f.told(t)); diff != "" {
			t.Fatalf("a kill in stage %d changed what the server knows (-before +after):\n%s", stage, diff)
		}
	}
	result, err := f.Finish(t.Context(), id, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	result.Release = release
	result.Print(t.Output())
	if err := f.judge(t.Context(), result, true); err != nil {
		t.Error(err)
	}
	one := release.Size.NewChunks
	if crossed, limit := line.down.Load()-before, one*11/10+devices*perDevice; crossed > limit {
		t.Errorf("%s crossed the uplink, one copy is %s; at most %s was to", size(crossed), size(one), size(limit))
	}
	for _, d := range result.Devices {
		// Chunks from neighbours are counted plain: with what lay there, they can be the payload once and no more.
		if b := d.Bytes; b.Peers+b.Reused > *b.Total {
			t.Errorf("%s took %s from neighbours and had %s, of %s", d.Id, size(b.Peers), size(b.Reused), size(*b.Total))
		}
	}
}

// TestServerKilledAmidPatches kills the server, and breaks the line, while groups of patches are on it. Devices go on where
// they broke off: less crosses the line than a second try would take.
func TestServerKilledAmidPatches(t *testing.T) {
	const devices = 3
	line := newUplink(t, 1<<30)
	f := start(t, Options{Devices: devices, Image: 40, Noise: 6, Route: line.route})
	if _, err := f.Release(t.Context(), First, true); err != nil {
		t.Fatal(err)
	}
	id, err := f.Begin(t.Context(), First, "100%")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Finish(t.Context(), id, time.Minute); err != nil {
		t.Fatal(err)
	}
	release, err := f.Release(t.Context(), "1.1.0", true)
	if err != nil {
		t.Fatal(err)
	}
	before := line.down.Load()
	line.slow(release.Alone / 4) // so many seconds
	if id, err = f.Begin(t.Context(), "1.1.0", "100%"); err != nil {
		t.Fatal(err)
	}
	f.await(t, "patches in the middle", func() bool { return line.down.Load()-before > release.Alone*7/10 })
	f.Server.kill()
	line.cut()
	t.Logf("the line broke after %s", size(line.down.Load()-before))
	if err := f.StartServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	result, err := f.Finish(t.Context(), id, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	result.Release = release
	result.Print(t.Output())
	if err := f.judge(t.Context(), result, true); err != nil {
		t.Error(err)
	}
	crossed, limit := line.down.Load()-before, release.Alone*11/10+devices*perDevice
	t.Logf("%s crossed the line", size(crossed))
	if second := release.Alone * 16 / 10; limit > second {
		t.Fatalf("the limit of %s would not show a second try, which is %s", size(limit), size(second))
	}
	if crossed > limit {
		t.Errorf("%s crossed the uplink, one copy is %s; at most %s was to", size(crossed), size(release.Alone), size(limit))
	}
}

// await fails the test when a condition does not come to hold.
func (f *Fleet) await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	if err := await(t.Context(), what, 30*time.Second, func() (bool, error) { return holds(), nil }); err != nil {
		t.Fatal(err)
	}
}

// told returns what an operator was told by the server and relies on, without what moves by itself.
func (f *Fleet) told(t *testing.T) map[string]any {
	t.Helper()
	out := map[string]any{}
	for path, keep := range map[string][]string{
		"/releases": {"product", "version", "state", "counter", "sha256", "size", "hardware", "created_at", "created_by"},
		"/products": {"name", "signing", "keys", "created_at"},
		"/groups":   {"name", "selector", "priority", "devices"},
		"/tokens":   {"id", "kind", "note", "expires_at", "created_by"},
		"/audit":    {"at", "actor", "action", "subject", "detail"},
		"/rollouts": {"id", "product", "version", "group", "state", "stage", "abort", "created_at", "created_by"},
		"/devices":  {"id", "hardware", "labels", "groups", "admission", "enrolled_at"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL+"/api/v1"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+f.Token)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		var list struct{ Items []map[string]any }
		if err != nil || answer.StatusCode != http.StatusOK || json.Unmarshal(b, &list) != nil {
			t.Fatalf("%s: %d %s %v", path, answer.StatusCode, b, err)
		}
		for _, item := range list.Items {
			maps.DeleteFunc(item, func(field string, _ any) bool { return !slices.Contains(keep, field) })
		}
		out[path] = list.Items
	}
	return out
}

// TestAgentsKilled kills devices with SIGKILL at random moments of their downloads, and switches each on again at once.
// All commit, and none fetches what its slot held already when it was killed.
func TestAgentsKilled(t *testing.T) {
	const devices, kills = 4, 8
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	line := newUplink(t, 1<<20)
	f := start(t, Options{Devices: devices, Image: 32, Route: line.route})
	release, err := f.Release(t.Context(), First, true)
	if err != nil {
		t.Fatal(err)
	}
	index := f.index(t, First)
	before := line.down.Load()
	id, err := f.Begin(t.Context(), First, "100%")
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]int64{} // by device: what its slot held when it was last killed
	for n := range kills {
		victim, more := random.IntN(devices), random.Int64N(1<<20)
		var s agent.Status
		f.await(t, "somebody to kill", func() bool {
			var ok bool
			s, ok = f.status(victim)
			if u := s.Report.Update; !ok || u == nil || u.Phase != protocol.Downloading {
				return false
			}
			return f.holds(t, victim, s.Report.Running.Slot, index) > held[Device(victim)]+more
		})
		f.Agents[victim].kill()
		held[Device(victim)] = f.holds(t, victim, s.Report.Running.Slot, index)
		t.Logf("kill %d: %s, which holds %s of %s", n+1, Device(victim), size(held[Device(victim)]), size(index.Size()))
		if err := f.StartAgent(victim); err != nil {
			t.Fatal(err)
		}
	}
	result, err := f.Finish(t.Context(), id, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	result.Release = release
	result.Print(t.Output())
	if err := f.judge(t.Context(), result, true); err != nil {
		t.Error(err)
	}
	for _, d := range result.Devices {
		if reused := d.Bytes.Reused; reused < held[d.Id] {
			t.Errorf("%s held %s when it was killed, and reused only %s", d.Id, size(held[d.Id]), size(reused))
		}
	}
	// A kill loses the chunks that are under way; on the line they are compressed.
	limit := release.Size.NewChunks*12/10 + devices*perDevice
	if crossed := line.down.Load() - before; crossed > limit {
		t.Errorf("%s crossed the uplink, one copy is %s; at most %s was to", size(crossed), size(release.Size.NewChunks), size(limit))
	} else {
		t.Logf("%s crossed the uplink; one copy is %s", size(crossed), size(release.Size.NewChunks))
	}
}

// index returns the index of a release as the server keeps it.
func (f *Fleet) index(t *testing.T, version string) *firmware.Index {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(f.dir, "server/blob/repo/targets", Product, version, "*.caibx"))
	if err != nil || len(found) != 1 {
		t.Fatalf("indexes of %s: %v %v", version, found, err)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	x, err := firmware.ParseIndex(b)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// status reads what a device says of itself.
func (f *Fleet) status(i int) (s agent.Status, ok bool) {
	b, err := os.ReadFile(filepath.Join(f.dir, Device(i), agent.StatusFile))
	return s, err == nil && json.Unmarshal(b, &s) == nil
}

// holds returns how many bytes of a payload lie, whole chunk by whole chunk, in the slot that does not run.
func (f *Fleet) holds(t *testing.T, i int, running string, index *firmware.Index) (sum int64) {
	t.Helper()
	slots := []string{"a", "b"}
	other := slots[1-slices.Index(slots, running)]
	slot, err := os.Open(filepath.Join(f.dir, Device(i), "slot-"+other))
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Close()
	for n, c := range index.Chunks {
		b := make([]byte, c.Size)
		if _, err := slot.ReadAt(b, index.Span(n).Offset); err == nil && firmware.Sum(b) == c.ID {
			sum += int64(c.Size)
		}
	}
	return sum
}
