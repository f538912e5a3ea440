package agent

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// court is offences that run in virtual time, and how often they were told.
type court struct {
	*offences
	mu   sync.Mutex
	told int
}

func (c *court) count() int {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told
}

// sit runs offences with a file until stop.
func sit(t *testing.T, file string) (c *court, stop func()) {
	c = &court{offences: &offences{now: time.Now, log: slog.New(slog.DiscardHandler), file: file, wake: make(chan struct{}, 1)}}
	c.changed = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.told++
	}
	c.load()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.run(ctx) }()
	return c, func() { cancel(); <-done }
}

// names says who is accused how often.
func names(all []protocol.Offence) (out []string) {
	for _, x := range all {
		out = append(out, fmt.Sprintf("%s %s %d", x.Neighbor, x.Kind, x.Count))
	}
	return out
}

func TestOffencesAreCountedToldKeptAndForgotten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "offences.json")
	synctest.Test(t, func(t *testing.T) {
		c, stop := sit(t, file)
		c.hear("d-2", protocol.OffenceWrongBytes)
		if c.count() != 1 {
			t.Errorf("the first one is told %d times", c.told)
		}
		c.hear("10.0.0.9", protocol.OffenceFlood)
		c.hear("d-2", protocol.OffenceWrongBytes)
		c.hear("not a name", protocol.OffenceWrongBytes)
		c.hear("d-2", "Not a kind")
		if c.count() != 1 {
			t.Error("a second is told within a minute")
		}
		time.Sleep(accuseEvery)
		if c.count() != 2 {
			t.Errorf("told %d times after a minute", c.told)
		}
		want := []string{"d-2 wrong-bytes 2", "10.0.0.9 flood 1"}
		if d := cmp.Diff(want, names(c.list())); d != "" {
			t.Error(d)
		}
		time.Sleep(10 * time.Hour)
		if c.count() != 2 {
			t.Error("nothing new is told again")
		}
		c.hear("10.0.0.9", protocol.OffenceFlood)
		stop() // before it was worth a report
		c, stop = sit(t, file)
		want = []string{"10.0.0.9 flood 2", "d-2 wrong-bytes 2"}
		if d := cmp.Diff(want, names(c.list())); d != "" {
			t.Error("after a restart:", d)
		}
		time.Sleep(14 * time.Hour)
		if d := cmp.Diff(want[:1], names(c.list())); d != "" || c.count() == 0 {
			t.Error("after a day:", d, c.told)
		}
		c.hear("d-2", protocol.OffenceWrongBytes)
		if d := cmp.Diff([]string{"d-2 wrong-bytes 1", "10.0.0.9 flood 2"}, names(c.list())); d != "" {
			t.Error("what is forgotten counts anew:", d)
		}
		stop()
	})
}

// TestForgedFloods: whoever forges addresses hides nobody who is known by his certificate, and makes this device say little.
func TestForgedFloods(t *testing.T) {
	file := filepath.Join(t.TempDir(), "offences.json")
	synctest.Test(t, func(t *testing.T) {
		c, stop := sit(t, file)
		defer stop()
		c.hear("d-2", protocol.OffenceWrongBytes)
		for i := range 20_000 {
			c.hear(fmt.Sprintf("10.0.%d.%d", i>>8, i&255), protocol.OffenceFlood)
			time.Sleep(time.Second)
		}
		all := c.list()
		if len(all) != protocol.MaxOffences || all[len(all)-1].Neighbor != "d-2" {
			t.Errorf("%v", names(all))
		}
		if c.count() > 12 {
			t.Errorf("%d times something new was told in %d hours", c.told, 20_000/3600)
		}
		for i := range 40 {
			c.hear(fmt.Sprint("liar-", i), protocol.OffenceWrongBytes)
		}
		if all := c.list(); len(all) != protocol.MaxOffences || all[0].Neighbor != "liar-39" || all[15].Neighbor != "liar-24" {
			t.Errorf("the newest do not win: %v", names(all))
		}
	})
}

// TestOffencesFile: what is damaged, too long or no offence is not believed, and the agent starts.
func TestOffencesFile(t *testing.T) {
	one := `{"neighbor":"d-2","kind":"wrong-bytes","count":1,"last":"` + time.Now().UTC().Format(time.RFC3339) + `"}`
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"whole":           {"[" + one + "]", 1},
		"cut":             {"[" + one, 0},
		"not one of them": {`[{"neighbor":"../x","kind":"wrong-bytes","count":1},` + one + "]", 1},
		"many":            {"[" + strings.Repeat(one+",", 20) + one + "]", protocol.MaxOffences},
		"too many":        {"[" + strings.Repeat(one+",", 2000) + one + "]", 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := &offences{now: time.Now, file: filepath.Join(t.TempDir(), "offences.json")}
			if err := os.WriteFile(o.file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if o.load(); len(o.list()) != c.want {
				t.Errorf("%v", names(o.all))
			}
		})
	}
}

// TestOffencesAreReported lets a device report what a neighbour did, at once, and after a restart too.
func TestOffencesAreReported(t *testing.T) {
	b := newBench(t, false)
	var tell func(string, protocol.OffenceKind)
	b.near = func(s Sources) (Neighbors, error) { tell = s.Offended; return Alone(), nil }
	stop := b.start()
	first := b.cloud.Await("a start", func(r protocol.Report) bool { return r.Device == "d-1" })
	if first.Offences != nil {
		t.Error(first.Offences)
	}
	tell("d-2", protocol.OffenceNoDeeds)
	accuses := func(r protocol.Report) bool {
		return len(r.Offences) == 1 && r.Offences[0].Neighbor == "d-2" && r.Offences[0].Kind == protocol.OffenceNoDeeds
	}
	r := b.cloud.Await("what it did", accuses)
	if r.Offences[0].Count != 1 || time.Since(r.Offences[0].Last) > time.Minute {
		t.Errorf("%+v", r.Offences)
	}
	stop()
	b.start()
	b.cloud.Await("and later", func(later protocol.Report) bool { return accuses(later) && later.Seq > r.Seq+1 })
}
