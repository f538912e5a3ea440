package rollout_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/server/rollout"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

// TestInvariants walks rollouts through random events and holds what must hold after every one.
func TestInvariants(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		stages := rapid.SampledFrom([][]string{{"1", "50%", "100%"}, {"100%"}, {"3"}, {"d-02", "10%", "60%", "100%"}}).Draw(rt, "stages")
		gate := rapid.SampledFrom([]string{"soak=0", "soak=60", "approve"}).Draw(rt, "gate")
		r := newRollout(t, append(stages, gate, fmt.Sprintf("fail=%d", rapid.IntRange(1, 3).Draw(rt, "fail"))))
		n := rapid.IntRange(0, 12).Draw(rt, "devices")
		odd := rapid.SliceOfN(rapid.SampledFrom([]string{"", "mips", "newer", "there"}), 0, n).Draw(rt, "odd")
		now := begin
		r.Step(rollout.Started{Candidates: candidates(n, odd)}, now)
		halted := false
		for range rapid.IntRange(1, 60).Draw(rt, "events") {
			before, cohort := snapshot(rt, r), r.Cohort
			ended, state := r.Ended(), r.State
			now = now.Add(time.Duration(rapid.IntRange(0, 90).Draw(rt, "seconds")) * time.Second)
			event := anyEvent(rt)
			effects := r.Step(event, now)
			check(rt, r)

			for id := range r.Members {
				if cohort.Includes(id) && !r.Cohort.Includes(id) {
					rt.Fatalf("%s fell out of the cohort", id)
				}
			}
			wider := r.Cohort.Below > cohort.Below
			if _, resumed := event.(rollout.Resumed); wider && (halted || state == rollout.Paused) && !resumed {
				rt.Fatalf("%T widened the cohort of a rollout that was halted", event)
			}
			if ended && (snapshot(rt, r) != before || publishes(effects)) {
				rt.Fatalf("%T changed an ended rollout", event)
			}
			halted = r.State == rollout.Aborted
		}
	})
}

func anyEvent(rt *rapid.T) rollout.Event {
	device := fmt.Sprintf("d-%02d", rapid.IntRange(1, 14).Draw(rt, "device"))
	switch rapid.IntRange(0, 20).Draw(rt, "event") {
	case 0:
		return rollout.Halted{By: "ann"}
	case 1, 2:
		return rollout.Resumed{By: "ann"}
	case 3:
		return rollout.Promoted{By: "ann"}
	case 4:
		if rapid.IntRange(0, 9).Draw(rt, "really") == 0 {
			return rollout.Stopped{By: "ann"}
		}
		return rollout.Ticked{}
	case 5:
		return rollout.Joined{Candidate: rollout.Candidate{ID: device, Hardware: "arm64"}}
	case 6:
		return rollout.Left{Device: device}
	case 7, 8:
		return rollout.Ticked{}
	}
	return rollout.Reported{Device: device, Status: rapid.SampledFrom(rollout.Statuses()[:8]).Draw(rt, "status"), Reason: "x"}
}

func check(rt *rapid.T, r *rollout.Rollout) {
	all := r.Counts()
	sum := 0
	for _, n := range all.ByStatus {
		sum += n
	}
	if sum != all.Total || all.Total != len(r.Members) {
		rt.Fatalf("counts %v do not add up to %d", all.ByStatus, len(r.Members))
	}
	inStages, outside := 0, 0
	for i := range r.Spec.Stages {
		inStages += r.StageCounts(i).Total
	}
	final := r.Cohort
	if last := r.Spec.Stages[len(r.Spec.Stages)-1]; last.Percent == 100 {
		final = policy.Cohort{Below: policy.Everyone}
	}
	for id, m := range r.Members {
		if m.Stage == rollout.NotOpen && (m.Status == rollout.Excluded || !final.Includes(id)) {
			outside++
		}
		if m.Stage != rollout.NotOpen && !r.Cohort.Includes(id) {
			rt.Fatalf("%s came in at stage %d but is not in the cohort", id, m.Stage)
		}
		if m.Stage > r.Stage {
			rt.Fatalf("%s is in stage %d, before it opened", id, m.Stage)
		}
	}
	if final.Below == policy.Everyone && inStages+outside != all.Total {
		rt.Fatalf("%d in stages, %d outside, %d in all", inStages, outside, all.Total)
	}
	if len(r.Opened) != r.Stage+1 || len(r.Passed) < r.Stage || len(r.Passed) > r.Stage+1 {
		rt.Fatalf("stage %d, opened %d, passed %d", r.Stage, len(r.Opened), len(r.Passed))
	}
	p := r.Policy()
	if halted := r.State == rollout.Paused || r.State == rollout.Aborted; (p.Action == policy.Install) == halted {
		rt.Fatalf("%s rollout with policy %s", r.State, p.Action)
	}
}

func publishes(effects []rollout.Effect) bool {
	for _, e := range effects {
		if _, ok := e.(rollout.Publish); ok {
			return true
		}
	}
	return false
}

// snapshot is the stored form; TestStored holds that nothing is lost in it.
func snapshot(rt rapid.TB, r *rollout.Rollout) string {
	b, err := json.Marshal(r)
	if err != nil {
		rt.Fatal(err)
	}
	return string(b)
}

func TestStored(t *testing.T) {
	r := newRollout(t, []string{"1", "100%", "soak=60"})
	r.Step(rollout.Started{Candidates: candidates(4, nil)}, begin)
	r.Step(rollout.Halted{By: "ann", Reason: "lunch"}, begin.Add(time.Second))
	got := new(rollout.Rollout)
	if err := json.Unmarshal([]byte(snapshot(t, r)), got); err != nil {
		t.Fatal(err)
	}
	got.Members = r.Members
	if diff := cmp.Diff(r, got); diff != "" {
		t.Fatal(diff)
	}
}

func TestSpecRefuses(t *testing.T) {
	for name, s := range map[string]rollout.Spec{
		"no product":      {Version: "1"},
		"two at once":     {Product: "p", Version: "1", Stages: []rollout.Stage{{Percent: 5, Count: 1}}},
		"nothing":         {Product: "p", Version: "1", Stages: []rollout.Stage{{}}},
		"over 100 %":      {Product: "p", Version: "1", Stages: []rollout.Stage{{Percent: 101}}},
		"falling":         {Product: "p", Version: "1", Stages: []rollout.Stage{{Percent: 50}, {Percent: 10}}},
		"deadline":        {Product: "p", Version: "1", Health: policy.Health{DeadlineSeconds: -1}},
		"group":           {Product: "p", Version: "1", Group: "a b"},
		"impossible gate": {Product: "p", Version: "1", Stages: []rollout.Stage{{Percent: 1, Gate: rollout.Gate{SuccessPercent: 200}}}},
	} {
		if _, err := s.Complete(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	s, err := rollout.Spec{Product: "p", Version: "1"}.Complete()
	if err != nil || len(s.Stages) != 3 || s.Group != "all" || s.Health.DeadlineSeconds == 0 {
		t.Errorf("%+v, %v", s, err)
	}
}
