package fleet

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

// half is a rollout that is half done.
func half() picture {
	return picture{
		Version: "1.1.0", State: client.RolloutStateRunning, Stage: 2, Stages: 3,
		Counts: client.Counts{Total: 8, Succeeded: 4, Downloading: 2, Proving: 1, Pending: 1},
		Origin: 10 << 20, Peers: 40 << 20, Alone: 50 << 20, Most: 80 << 20,
	}
}

func TestDraw(t *testing.T) {
	const room = 80 - 12 - 13 - 3
	want := []string{
		"  1.1.0, stage 2 of 3: 4 of 8 done, 1 proving, 2 downloading",
		"  uplink      " + strings.Repeat("█", room*10/80) + strings.Repeat("░", room-room*10/80) + "      10.0 MiB",
		"  neighbours  " + strings.Repeat("█", room*40/80) + strings.Repeat("░", room-room*40/80) + "      40.0 MiB",
		"  5.0× less over the uplink than had each device fetched alone (50.0 MiB).",
	}
	if d := cmp.Diff(want, half().draw(80, false)); d != "" {
		t.Error(d)
	}
}

func TestDrawFits(t *testing.T) {
	odd := []picture{{}, half(), {Origin: 1, Peers: 1 << 40}, {Origin: 5, Alone: 3, State: client.RolloutStateAborted, Counts: client.Counts{Failed: 1}}}
	for _, p := range odd {
		for _, width := range []int{40, 60, 80, 300} {
			lines := p.draw(width, false)
			if len(lines) != 4 {
				t.Errorf("%d lines", len(lines))
			}
			for _, line := range lines {
				if n := utf8.RuneCountInString(line); n > width {
					t.Errorf("%d columns of %d: %s", n, width, line)
				}
				if strings.Contains(line, "\x1b") {
					t.Errorf("an escape code without colour: %q", line)
				}
			}
		}
	}
	if lines := (picture{Origin: 1, Peers: 1 << 40}).draw(80, false); !strings.Contains(lines[1], "█") {
		t.Error("something looks like nothing:", lines[1])
	}
	if lines := half().draw(80, true); !strings.Contains(lines[1], blue+"█") || !strings.Contains(lines[2], plain+"░") {
		t.Errorf("%q", lines)
	}
}

func TestWordsOfThePicture(t *testing.T) {
	first := picture{Origin: 5, Alone: 5}
	all := picture{Peers: 5, Alone: 5}
	for text, want := range map[string]string{
		(picture{}).saved(): "Nothing has moved yet.",
		first.saved():       "Nothing saved so far: the first device has nobody to ask.",
		all.saved():         "Nothing crossed the uplink; had each device fetched alone: 5 B.",
		half().line():       "1.1.0, stage 2 of 3: 4 of 8 done, 1 proving, 2 downloading · uplink 10.0 MiB · neighbours 40.0 MiB",
		half().summary(): "1.1.0: 10485760 bytes over the uplink, 41943040 bytes between neighbours; " +
			"had each device fetched alone: 52428800 bytes, 5.0× as many.",
		first.summary(): ": 5 bytes over the uplink, 0 bytes between neighbours; had each device fetched alone: 5 bytes.",
	} {
		if text != want {
			t.Errorf("%q, want %q", text, want)
		}
	}
}

// Elsewhere than on a terminal there is a line now and then, and the last one always.
func TestLines(t *testing.T) {
	var b bytes.Buffer
	s := newScreen(&b)
	now := time.Unix(1_800_000_000, 0)
	p := half()
	for i := range 30 { // 6 seconds
		p.Origin += 1 << 20
		s.show(p, now.Add(time.Duration(i)*lookEvery), false)
	}
	s.show(p, now.Add(6*time.Second), true)
	s.show(p, now.Add(7*time.Second), true) // nothing new
	if n := strings.Count(b.String(), "\n"); n != 4 || strings.Contains(b.String(), "\x1b") {
		t.Errorf("%d lines:\n%s", n, &b)
	}
}

// On a terminal each picture takes the place of the one before.
func TestDrawnOver(t *testing.T) {
	var b bytes.Buffer
	s := newScreen(&b)
	s.terminal = func() (int, bool) { return 60, true }
	p := half()
	for range 3 {
		p.Origin++
		s.show(p, time.Time{}, false)
		s.show(p, time.Time{}, false) // nothing new
		p.Counts.Succeeded++
	}
	if strings.Count(b.String(), "\x1b[4A\x1b[J") != 2 || strings.HasPrefix(b.String(), "\x1b") || strings.Count(b.String(), "\n") != 12 {
		t.Errorf("%q", b.String())
	}
}
