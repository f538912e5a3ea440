package api

import (
	"fmt"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/server/rollout"
)

// whyRollout says in one sentence where a rollout stands and what it waits for. It is pure.
func whyRollout(r *rollout.Rollout, now time.Time) string {
	all := r.Counts()
	if r.ID == "" {
		return fmt.Sprintf("Nothing was started: %d devices would take part and %d would be left out.",
			all.Total-all.ByStatus[rollout.Excluded], all.ByStatus[rollout.Excluded])
	}
	switch r.State {
	case rollout.Completed:
		return fmt.Sprintf("Done: %d of %d devices run it.", all.ByStatus[rollout.Succeeded], all.Total-all.ByStatus[rollout.Excluded])
	case rollout.Aborted:
		d := last(r.Decisions)
		if d.By == "" {
			return "Stopped."
		}
		_, reason, given := strings.Cut(d.Text, ": ")
		if !given {
			return fmt.Sprintf("Stopped by %s.", d.By)
		}
		return fmt.Sprintf("Stopped by %s: %s.", d.By, reason)
	case rollout.Paused:
		who := "somebody"
		if d := last(r.Decisions); d.By != "" {
			who = d.By
		}
		return fmt.Sprintf("Paused by %s: nobody begins; %d devices on their way go on.", who, r.InFlight())
	}
	if len(r.Opened) == 0 {
		return "It is about to open its first stage."
	}
	stage := r.Spec.Stages[r.Stage]
	name := fmt.Sprintf("Stage %d of %d (%s)", r.Stage+1, len(r.Spec.Stages), stage.Name())
	switch r.Gate(now) {
	case rollout.GateSuccess:
		done, open := openDevices(r)
		if failed := all.ByStatus[rollout.Failed]; failed > 0 {
			return fmt.Sprintf("%s: %d of %d devices run it, %d failed; %d %% must succeed.", name, done, open, failed, stage.Gate.SuccessPercent)
		}
		return fmt.Sprintf("%s: %d of %d devices run it; %d %% must succeed.", name, done, open, stage.Gate.SuccessPercent)
	case rollout.GateSoak:
		return fmt.Sprintf("%s has its successes and is watched for another %s.", name, r.Wake(now).Sub(now).Round(time.Second))
	case rollout.GateApproval:
		return fmt.Sprintf("%s has its successes and waits for a person to promote it.", name)
	}
	return name + " is about to be passed."
}

// openDevices counts the devices of open stages, and those of them that have succeeded.
func openDevices(r *rollout.Rollout) (succeeded, open int) {
	for _, m := range r.Members {
		if m.Stage == rollout.NotOpen || m.Status == rollout.Excluded {
			continue
		}
		open++
		if m.Status == rollout.Succeeded {
			succeeded++
		}
	}
	return succeeded, open
}

func last(decisions []rollout.Decision) rollout.Decision {
	if len(decisions) == 0 {
		return rollout.Decision{}
	}
	return decisions[len(decisions)-1]
}
