package api

import (
	"fmt"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/rollout"
)

// placement is a device's part in a rollout that has not ended.
type placement struct {
	id       string
	version  string // "edge-gw 1.1.0"
	state    rollout.State
	stage    int // the open one
	stages   int
	member   rollout.Member
	hardware []string
}

// why answers in one sentence what a device is doing, or what it waits for. It is pure. in is nil when no rollout wants
// anything of the device.
func why(v *fleet.View, in *placement, now time.Time) string {
	switch v.Admission {
	case fleet.Pending:
		return "It has enrolled and waits for a person to accept it."
	case fleet.Rejected:
		return "It is shut out of the fleet; accept it to let it in again."
	}
	u := v.State.Report.Update
	if u != nil && !u.Final() && u.Phase != protocol.Idle && u.Phase != "" {
		return busy(u) + away(v, now)
	}
	if in != nil {
		return placed(v, in) + away(v, now)
	}
	return settled(v, u) + away(v, now)
}

// busy says what an update is doing.
func busy(u *protocol.Update) string {
	what := u.Product + " " + u.Version
	switch u.Phase {
	case protocol.Checking:
		return fmt.Sprintf("It is checking the signatures of %s.", what)
	case protocol.Downloading:
		if u.Bytes.Total > 0 {
			return fmt.Sprintf("It is downloading %s: %d %% is in place.", what, 100*u.Bytes.Done/u.Bytes.Total)
		}
		return fmt.Sprintf("It is downloading %s.", what)
	case protocol.Installing:
		return fmt.Sprintf("It is reading %s back before it starts it.", what)
	case protocol.Waiting:
		return fmt.Sprintf("It holds %s and waits for its maintenance window to restart.", what)
	case protocol.Rebooting:
		return fmt.Sprintf("It is restarting into %s.", what)
	case protocol.Proving:
		return fmt.Sprintf("It runs %s and its health probes decide whether it stays.", what)
	case protocol.Reverting:
		return fmt.Sprintf("It is going back to the release before %s%s.", what, because(u))
	}
	return fmt.Sprintf("It is in phase %s of %s.", u.Phase, what)
}

// placed says where a device stands in a rollout that has not ended, when it is not at work.
func placed(v *fleet.View, in *placement) string {
	m := &in.member
	switch m.Status {
	case rollout.Excluded:
		return fmt.Sprintf("Rollout %s of %s leaves it out: %s.", in.id, in.version, exclusion(m.Reason, v.Hardware, in.hardware))
	case rollout.Succeeded:
		return fmt.Sprintf("It runs %s, which rollout %s brings.", in.version, in.id)
	case rollout.Failed:
		return fmt.Sprintf("It failed to take %s (%s); it tries again with the next rollout.", in.version, describeReason(m.Reason, m.Detail))
	}
	if in.state == rollout.Paused {
		return fmt.Sprintf("It waits: rollout %s of %s is paused.", in.id, in.version)
	}
	if m.Stage == rollout.NotOpen {
		return fmt.Sprintf("It waits for its stage: rollout %s of %s is at stage %d of %d.", in.id, in.version, in.stage+1, in.stages)
	}
	return fmt.Sprintf("Its turn has come in rollout %s of %s, but it has not begun yet.", in.id, in.version)
}

// settled says how the last update ended, when nothing is asked of the device.
func settled(v *fleet.View, u *protocol.Update) string {
	running := v.State.Report.Running
	switch {
	case v.State.ReceivedAt.IsZero():
		return "It has enrolled but said nothing yet; start the agent with `waxwing-agent run`."
	case u != nil && u.Phase == protocol.Reverted:
		return fmt.Sprintf("It went back to %s after %s %s did not prove itself%s.", running.Version, u.Product, u.Version, because(u))
	case u != nil && u.Phase == protocol.Failed:
		return fmt.Sprintf("It could not install %s %s%s.", u.Product, u.Version, because(u))
	case running.Version == "":
		return "It runs what it came with; no rollout has asked it to change."
	}
	return fmt.Sprintf("It runs %s %s, and no rollout asks it to change.", running.Product, running.Version)
}

// away adds that nobody has heard of the device, when that is why nothing moves.
func away(v *fleet.View, now time.Time) string {
	seen := lastSeen(v)
	if v.Presence.Online || seen.IsZero() {
		return ""
	}
	ago := now.Sub(seen).Round(time.Minute)
	if ago < 2*time.Minute {
		return ""
	}
	return fmt.Sprintf(" It is offline; last heard of %s ago.", ago)
}

func because(u *protocol.Update) string {
	if u.Reason == "" && u.Detail == "" {
		return ""
	}
	return " (" + describeReason(string(u.Reason), u.Detail) + ")"
}

func describeReason(reason, detail string) string {
	switch {
	case detail == "":
		return reason
	case reason == "":
		return detail
	}
	return reason + ": " + detail
}

func exclusion(reason, hardware string, fits []string) string {
	switch reason {
	case rollout.ExcludedHardware:
		return fmt.Sprintf("it is %s, the release is for %v", hardware, fits)
	case rollout.ExcludedNewer:
		return "it runs a newer release"
	case rollout.ExcludedLeft:
		return "it left the group"
	}
	return reason
}
