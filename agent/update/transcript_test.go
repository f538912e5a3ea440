package update

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

var rewrite = flag.Bool("rewrite", false, "write what happens now into the transcripts")

var dawn = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// TestTranscripts plays the stories of testdata. A line without indent is an event:
//
//	+10s                                time passes
//	booted SLOT BOOT RUNS [trial]       RUNS is a version, or - for unknown
//	desired install VERSION [policy=N] [rollout=R] [window=START-END]     or: desired hold
//	checked SLOT | assembled | progressed N | armed | passed | confirmed  answers to the newest job
//	failed REASON [transient] | stale EVENT | tick
//	crash                               the stored state is all that is left
//
// What follows indented is the effects and the phase after them, written by -rewrite. A newer release drops what was fetched of
// the one before, in changes-its-mind.txt (security case 35).
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			old, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(old))
			if *rewrite {
				if err := os.WriteFile(f, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(old), got); diff != "" {
				t.Error("the story has changed (-old +new); run with -rewrite if it is meant to:\n" + diff)
			}
		})
	}
}

func play(t *testing.T, script string) string {
	t.Helper()
	var out bytes.Buffer
	s, now := new(State), dawn
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "\t") {
			continue
		}
		fmt.Fprintln(&out, line)
		w := strings.Fields(line)
		if len(w) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if strings.HasPrefix(line, "+") {
			d, err := time.ParseDuration(line[1:])
			if err != nil {
				t.Fatal(err)
			}
			now = now.Add(d)
			continue
		}
		if w[0] == "crash" {
			b, err := s.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if s, err = Decode(b); err != nil {
				t.Fatal(err)
			}
			continue
		}
		for _, e := range s.Step(parse(t, w, s.Job), now) {
			fmt.Fprintf(&out, "\t%s\n", show(e))
		}
		fmt.Fprintf(&out, "\t= %s\n", summary(s, now))
	}
	return out.String()
}

func summary(s *State, now time.Time) string {
	line := string(s.Phase)
	if s.Target != nil {
		line += " " + s.Target.Release.Version
	}
	if s.Slot != "" {
		line += " in " + s.Slot
	}
	if !s.RetryAt.IsZero() {
		line += " again in " + s.RetryAt.Sub(now).String()
	}
	if s.Reason != "" {
		line += " " + string(s.Reason)
	}
	if s.Detail != "" {
		line += ": " + s.Detail
	}
	return line
}

func show(e Effect) string {
	switch e := e.(type) {
	case Check:
		return fmt.Sprintf("check %s (policy %d)", e.Target.Release.Version, e.Target.Policy)
	case Assemble:
		return fmt.Sprintf("assemble %s into %s", e.Target.Release.Version, e.Slot)
	case Arm:
		return fmt.Sprintf("arm %s for %d starts", e.Slot, e.Tries)
	case Reboot:
		return "reboot"
	case Probe:
		return fmt.Sprintf("probe %s in %s for %s", e.Target.Release.Version, e.Slot, e.For)
	case Confirm:
		return fmt.Sprintf("confirm %s, then raise the counter to %d", e.Slot, e.Target.Release.Counter)
	case Keep:
		return "keep " + e.Slot
	case Revert:
		return fmt.Sprintf("mark %s bad and reboot", e.Slot)
	case Cancel:
		return "cancel"
	case Report:
		return "report"
	}
	return fmt.Sprintf("%T", e)
}

func parse(t *testing.T, w []string, job uint64) Event {
	t.Helper()
	if w[0] == "stale" {
		w, job = w[1:], job-1
	}
	has := func(word string) bool {
		for _, x := range w {
			if x == word {
				return true
			}
		}
		return false
	}
	switch w[0] {
	case "booted":
		return Booted{Slot: w[1], Boot: w[2], SHA256: digest(w[3]), Trial: has("trial")}
	case "desired":
		return Desired{parseWish(t, w[1:])}
	case "checked":
		return Checked{Job: job, Slot: w[1], Size: 1000}
	case "progressed":
		n, err := strconv.ParseInt(w[1], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return Progressed{Job: job, Bytes: protocol.Bytes{Total: 1000, Done: n}}
	case "assembled":
		return Assembled{Job: job, Bytes: protocol.Bytes{Total: 1000, Done: 1000}}
	case "armed":
		return Armed{job}
	case "passed":
		return ProbesPassed{job}
	case "confirmed":
		return Confirmed{job}
	case "failed":
		return FailedJob{Job: job, Reason: protocol.Reason(w[1]), Detail: "so it is", Transient: has("transient")}
	case "tick":
		return Ticked{}
	}
	t.Fatalf("no event %q", w)
	return nil
}

func parseWish(t *testing.T, w []string) Wish {
	t.Helper()
	if w[0] == "hold" {
		return Wish{}
	}
	target := wanted(w[1], 1)
	for _, option := range w[2:] {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "policy":
			target.Policy, _ = strconv.ParseUint(value, 10, 64)
		case "rollout":
			target.Rollout = value
		case "window":
			target.Window = new(policy.Window)
			if _, err := fmt.Sscanf(value, "%d-%d", &target.Window.Start, &target.Window.End); err != nil {
				t.Fatal(err)
			}
		}
	}
	return Wish{Install: true, Target: target}
}

func wanted(version string, seq uint64) *Target {
	counter := uint64(1)
	for _, c := range version {
		counter = counter*10 + uint64(c-'.')
	}
	return &Target{
		Audience: "group/all", Policy: seq, Rollout: "r1",
		Release: policy.Release{
			Product: "edge", Version: version, Counter: counter,
			Target: firmware.ManifestTarget("edge", version), Length: 100, SHA256: digest(version),
		},
		Health: policy.Health{DeadlineSeconds: 60},
	}
}

func digest(version string) firmware.Digest {
	if version == "-" {
		return firmware.Digest{}
	}
	return firmware.Sum([]byte(version))
}
