package rollout_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/rollout"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

var rewrite = flag.Bool("rewrite", false, "write what happens into testdata/*.txt; the diff is the review")

var begin = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// TestTranscripts plays testdata/*.txt. A line is a comment, or a command followed by what it did, indented.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *rewrite {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			} else if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Fatalf("%s\nrun with -rewrite to accept", diff)
			}
		})
	}
}

type stage struct {
	r   *rollout.Rollout
	now time.Time
	out bytes.Buffer
}

func play(t *testing.T, script string) []byte {
	s := &stage{now: begin}
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "  ") {
			continue // what it did before
		}
		s.out.WriteString(line)
		if words := strings.Fields(line); len(words) > 0 && !strings.HasPrefix(line, "#") {
			s.run(t, words)
		}
	}
	return s.out.Bytes()
}

func (s *stage) run(t *testing.T, words []string) {
	t.Helper()
	switch words[0] {
	case "rollout": // rollout 1 50% 100% soak=60 success=90 approve fail=1 failpct=10
		s.r = newRollout(t, words[1:])
	case "start": // start 8 [n wrong hardware] [n newer]
		n, _ := strconv.Atoi(words[1])
		s.step(rollout.Started{Candidates: candidates(n, words[2:])})
	case "join":
		s.step(rollout.Joined{Candidate: rollout.Candidate{ID: words[1], Hardware: "arm64"}})
	case "leave":
		s.step(rollout.Left{Device: words[1]})
	case "report": // report d-1|stage0|all status [reason]
		reason := ""
		if len(words) > 3 {
			reason = words[3]
		}
		for _, d := range s.devices(words[1]) {
			s.step(rollout.Reported{Device: d, Status: rollout.Status(words[2]), Reason: reason})
		}
	case "after":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			t.Fatal(err)
		}
		s.now = s.now.Add(d)
		s.step(rollout.Ticked{})
	case "pause":
		s.step(rollout.Halted{By: "ann"})
	case "resume":
		s.step(rollout.Resumed{By: "ann"})
	case "promote":
		s.step(rollout.Promoted{By: "ann", Reason: "looks good"})
	case "abort":
		s.step(rollout.Stopped{By: "ann", Reason: "wrong image"})
	case "show":
		s.show()
	default:
		t.Fatalf("no command %q", words[0])
	}
}

func (s *stage) step(e rollout.Event) {
	records := 0
	for _, effect := range s.r.Step(e, s.now) {
		switch effect := effect.(type) {
		case rollout.Record:
			records++
		case rollout.Decided:
			fmt.Fprintf(&s.out, "  %s: %s\n", effect.By, effect.Text)
		case rollout.Publish:
			p := s.r.Policy()
			fmt.Fprintf(&s.out, "  publish %s to %d of %d\n", p.Action, included(s.r, p.Cohort), len(s.r.Members))
		}
	}
	if records > 0 {
		fmt.Fprintf(&s.out, "  %d recorded\n", records)
	}
}

func (s *stage) show() {
	fmt.Fprintf(&s.out, "  %s, waits for %q\n", s.r.State, s.r.Gate(s.now))
	for i, st := range s.r.Spec.Stages {
		fmt.Fprintf(&s.out, "  %-8s %s\n", st.Name(), words(s.r.StageCounts(i)))
	}
	fmt.Fprintf(&s.out, "  %-8s %s\n", "all", words(s.r.Counts()))
}

func words(c rollout.Counts) string {
	parts := []string{fmt.Sprintf("%d:", c.Total)}
	for _, st := range rollout.Statuses() {
		if n := c.ByStatus[st]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, st))
		}
	}
	return strings.Join(parts, " ")
}

func (s *stage) devices(which string) []string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(s.r.Members)) {
		m := s.r.Members[id]
		if which == id || which == "all" || which == fmt.Sprintf("stage%d", m.Stage) {
			out = append(out, id)
		}
	}
	return out
}

func included(r *rollout.Rollout, c policy.Cohort) int {
	n := 0
	for id := range r.Members {
		if c.Includes(id) {
			n++
		}
	}
	return n
}

func newRollout(t *testing.T, words []string) *rollout.Rollout {
	t.Helper()
	spec := rollout.Spec{Product: "gw", Version: "2"}
	var gate rollout.Gate
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		n, _ := strconv.Atoi(value)
		switch name {
		case "soak":
			gate.SoakSeconds = n
		case "success":
			gate.SuccessPercent = n
		case "approve":
			gate.Approval = true
		case "fail":
			spec.Abort.Failures = n
		case "failpct":
			spec.Abort.FailurePercent = n
		default:
			st := rollout.Stage{}
			if p, ok := strings.CutSuffix(w, "%"); ok {
				st.Percent, _ = strconv.Atoi(p)
			} else if c, err := strconv.Atoi(w); err == nil {
				st.Count = c
			} else {
				st.Devices = strings.Split(w, ",")
			}
			spec.Stages = append(spec.Stages, st)
		}
	}
	for i := range spec.Stages {
		spec.Stages[i].Gate = gate
	}
	spec, err := spec.Complete()
	if err != nil {
		t.Fatal(err)
	}
	return &rollout.Rollout{
		ID: "rol_1", Spec: spec, Hardware: []string{"arm64"}, CreatedAt: begin, CreatedBy: "ann",
		Release: policy.Release{
			Product: "gw", Version: "2", Counter: 2, SHA256: firmware.Sum([]byte("2")),
			Length: 1, Target: firmware.ManifestTarget("gw", "2"),
		},
	}
}

func candidates(n int, odd []string) []rollout.Candidate {
	var out []rollout.Candidate
	for i := range n {
		out = append(out, rollout.Candidate{ID: fmt.Sprintf("d-%02d", i+1), Hardware: "arm64", Product: "gw", Counter: 1})
	}
	for i, w := range odd {
		switch w {
		case "mips":
			out[i].Hardware = "mips"
		case "newer":
			out[i].Counter = 9
		case "there":
			out[i].Running, out[i].Counter = firmware.Sum([]byte("2")), 2
		}
	}
	return out
}
