package swarm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/mesh/meshtest/lan"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// groupSize is how many chunks a group of a test's pack has.
const groupSize = 20

// pack returns groups over the chunks from first on, of which every nth is in none; the groups interlace.
func pack(chunks, first, nth int) (groups [][]int) {
	lanes := [2][]int{}
	for c := first; c < chunks; c++ {
		if c%nth == 0 {
			continue
		}
		lane := &lanes[c/3%2]
		if *lane = append(*lane, c); len(*lane) == groupSize {
			groups, *lane = append(groups, *lane), nil
		}
	}
	return groups
}

// cost is what one device with a pack needs of the uplink.
func cost(l *lan.LAN, groups [][]int) time.Duration {
	return time.Duration(len(groups)*groupSize)*l.PatchTime + time.Duration(l.Chunks-len(groups)*groupSize)*l.ChunkTime
}

// TestOneCopyOfAPack lets devices with one base fetch together: each group crosses once, and whole.
func TestOneCopyOfAPack(t *testing.T) {
	const chunks = 240
	groups := pack(chunks, 0, 50)
	for _, n := range []int{1, 2, 8, 20, 50} {
		l := play(t, lan.New(lan.Site{Devices: n, Chunks: chunks, Edit: func(_ int, o *swarm.Options) { o.Groups = groups }}))
		took, ideal := l.Took, cost(l, groups)
		if copies := l.Copies(ideal); copies > 1.001 {
			t.Errorf("%d devices: %.3f copies over the uplink", n, copies)
		}
		if limit := ideal*12/10 + 3*time.Second; took > limit {
			t.Errorf("%d devices took %s; the uplink needs %s", n, took, ideal)
		}
		for c, times := range l.Fetched {
			if times != 1 {
				t.Errorf("%d devices: chunk %d crossed %d times", n, c, times)
			}
		}
	}
}

// TestSlowUplink holds that a group that takes long is waited for while its owner says that it receives.
func TestSlowUplink(t *testing.T) {
	const chunks = 160
	groups := pack(chunks, 0, 1000)
	l := play(t, lan.New(lan.Site{
		Devices: 20, Chunks: chunks, Edit: func(_ int, o *swarm.Options) { o.Groups = groups },
		PatchTime: 300 * time.Millisecond, ChunkTime: 3 * time.Second, // a group takes 6 s by itself, all of them together most of a minute
	}))
	if copies := l.Copies(cost(l, groups)); copies > 1.001 {
		t.Errorf("%.3f copies over the uplink", copies)
	}
}

// TestBasesDiffer mixes devices of two bases and devices without any: the better pack is fetched once, and what only the
// other covers by that one; nothing waits in vain.
func TestBasesDiffer(t *testing.T) {
	const chunks = 240
	large, small := pack(chunks, 40, 50), pack(chunks, 200, 7)
	for draw := range 9 {
		n := []int{3, 20, 50}[draw%3]
		l := play(t, lan.New(lan.Site{Devices: n, Chunks: chunks, Edit: func(i int, o *swarm.Options) {
			o.ID = fmt.Sprint(draw)
			switch i % 3 {
			case 0:
				o.Groups = large
			case 1:
				o.Groups = small
			}
		}}))
		took, ideal := l.Took, cost(l, large)
		if copies := l.Copies(ideal); copies > 1.03 {
			t.Errorf("%d devices: %.3f times what one with the better base needs", n, copies)
		}
		if limit := ideal*12/10 + 3*time.Second; took > limit {
			t.Errorf("%d devices took %s; the uplink needs %s", n, took, ideal)
		}
	}
}

// TestOwnersOfPacksDie kills a fifth of the devices while they fetch groups.
func TestOwnersOfPacksDie(t *testing.T) {
	const chunks = 480
	groups := pack(chunks, 0, 50)
	l := lan.New(lan.Site{Devices: 20, Chunks: chunks, Edit: func(_ int, o *swarm.Options) { o.Groups = groups }})
	die(l, 5, 8*time.Second)
	play(t, l)
	if copies := l.Copies(cost(l, groups)); copies > 1.10 {
		t.Errorf("%.2f copies over the uplink", copies)
	}
}

// TestStallersDoNotHoldTheSite has neighbours that claim everything by the best of packs, say that they receive, and never
// have anything.
func TestStallersDoNotHoldTheSite(t *testing.T) {
	const chunks = 160
	groups := pack(chunks, 0, 50)
	l := lan.New(lan.Site{Devices: 10, Chunks: chunks, Edit: func(_ int, o *swarm.Options) { o.Groups = groups }})
	l.Device(3).Nature = lan.Staller
	took := play(t, l).Took
	if copies := l.Copies(cost(l, groups)); copies > 1.15 {
		t.Errorf("%.2f copies over the uplink", copies)
	}
	if took > 90*time.Second {
		t.Errorf("took %s", took)
	}
	if l.Accused[l.Device(3).ID] == 0 || len(l.Accused) > 1 {
		t.Errorf("of these it is said that they claim what they do not do: %v", l.Accused)
	}
}

// TestPartOfAGroup holds what becomes of a group of which some chunks come and others do not.
func TestPartOfAGroup(t *testing.T) {
	s := swarm.New(swarm.Options{Self: "a", Chunks: 8, Groups: [][]int{{1, 3, 5}, {2, 3, 99, -1}}, Stall: time.Second})
	now := time.Unix(0, 0)
	var asked [][]int
	step := func(event any) {
		for _, effect := range s.Step(event, now) {
			if e, ok := effect.(swarm.FromOrigin); ok {
				asked = append(asked, e.Chunks)
			}
		}
	}
	step(swarm.Began{})
	want := [][]int{{1, 3, 5}, {2}} // 3 is in a group already; 99 and -1 are no chunks
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Fatal(diff)
	}
	asked = nil
	step(swarm.Got{Chunk: 1})
	step(swarm.Lost{Chunk: 3})
	step(swarm.Got{Chunk: 5})
	step(swarm.Got{Chunk: 2})
	if diff := cmp.Diff([][]int{{0}, {4}, {6}, {7}}, asked); diff != "" {
		t.Fatal(diff)
	}
	asked = nil
	for c := range 8 {
		if c != 3 {
			step(swarm.Got{Chunk: c})
		}
	}
	now = s.Wake(now)
	step(swarm.Ticked{})
	if diff := cmp.Diff([][]int{{3}}, asked); diff != "" {
		t.Fatal(diff)
	}
	step(swarm.Got{Chunk: 3})
	if !s.Done() {
		t.Fatal("not done")
	}
}

// TestAnySite holds that everybody finishes, whatever packs, starts and deaths there are, and that in a site without
// deaths each chunk crosses the uplink about once.
func TestAnySite(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		chunks := rapid.IntRange(1, 30).Draw(r, "bytes of a set") * 8
		n := rapid.IntRange(1, 12).Draw(r, "devices")
		packs := [][][]int{nil}
		for range rapid.IntRange(0, 2).Draw(r, "packs") {
			packs = append(packs, pack(chunks, rapid.IntRange(0, chunks).Draw(r, "first"), rapid.IntRange(2, 60).Draw(r, "nth")))
		}
		deaths := rapid.IntRange(0, n-1).Draw(r, "deaths")
		spread := time.Duration(rapid.IntRange(0, 3000).Draw(r, "spread")) * time.Millisecond
		l := lan.New(lan.Site{
			Devices: n, Chunks: chunks, Seed: rapid.Uint64().Draw(r, "seed"),
			Start: func(i int) time.Duration { return spread * time.Duration(i) / time.Duration(n) },
			Edit: func(_ int, o *swarm.Options) {
				o.Groups = rapid.SampledFrom(packs).Draw(r, "pack")
				for range rapid.IntRange(0, 5).Draw(r, "at hand") {
					o.Have = append(o.Have, rapid.IntRange(0, chunks-1).Draw(r, "chunk"))
				}
			},
		})
		for i := range deaths {
			at := time.Duration(rapid.IntRange(3000, 20000).Draw(r, "dies at")) * time.Millisecond
			l.At(at, l.Device(i).Die)
			l.At(at+noticed, l.Device(i).Vanish)
		}
		play(r, l)
		twice := 0
		for _, times := range l.Fetched {
			twice += times - 1
		}
		if deaths == 0 && spread < time.Second && len(packs) == 1 && twice > 0 {
			r.Errorf("%d of %d chunks crossed the uplink again", twice, chunks)
		}
	})
}

func FuzzParseRuns(f *testing.F) {
	f.Add(100, []byte{3, 4, 9, 1})
	f.Fuzz(func(t *testing.T, n int, b []byte) {
		if n < 0 || n > 1<<16 {
			return
		}
		runs := make([]int, len(b))
		for i, v := range b {
			runs[i] = int(int8(v))
		}
		s, err := swarm.ParseRuns(n, runs)
		if err != nil {
			return
		}
		if got := s.Runs(); len(got) != len(runs) || len(got) > 0 && !cmp.Equal(got, runs) {
			t.Fatalf("%v became %v", runs, got)
		}
	})
}
