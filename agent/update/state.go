package update

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

// How patient a device is.
const (
	bootTries     = 3 // starts of a new slot that the loader allows before it falls back
	maxAttempts   = 10
	maxRefusals   = 16
	firstBackoff  = 2 * time.Second
	longestPause  = 5 * time.Minute
	shortestProof = 5 * time.Second
)

// MaxStateSize bounds an encoded State, in bytes.
const MaxStateSize = 64 << 10

// Target is a release that a policy wants here, and how to prove it.
type Target struct {
	Audience string         `json:"audience"`
	Policy   uint64         `json:"policy"` // seq of the policy within its audience
	Rollout  string         `json:"rollout,omitempty"`
	Release  policy.Release `json:"release"`
	Window   *policy.Window `json:"window,omitempty"`
	Health   policy.Health  `json:"health"`
	// SnapshotFloor is the lowest snapshot of the repository that the policy was made for.
	SnapshotFloor int64 `json:"snapshot_floor,omitempty"`
}

// Wish is what the policy says of this device. Without Install nothing is started, whatever Target says.
type Wish struct {
	Install bool    `json:"install"`
	Target  *Target `json:"target,omitempty"`
}

// State is where the device stands. The zero State is a device that has never updated.
type State struct {
	Phase   protocol.Phase `json:"phase"`
	Wish    Wish           `json:"wish"`
	Target  *Target        `json:"target,omitempty"` // of the current attempt, or of the last
	Running Running        `json:"running"`

	Job    uint64 `json:"job"`    // the newest job; results of others are ignored
	Busy   bool   `json:"busy"`   // the job's result is awaited
	Slot   string `json:"slot"`   // the one being written or tried
	Boot   string `json:"boot"`   // of the machine, when the loader was armed
	Proven bool   `json:"proven"` // the probes passed; the loader may not know yet

	Since    time.Time `json:"since"`     // of Phase
	RetryAt  time.Time `json:"retry_at"`  // a failed job is tried again then
	Deadline time.Time `json:"deadline"`  // of the proof
	Attempts int       `json:"attempts"`  // failures in a row without progress
	HighTide int64     `json:"high_tide"` // bytes that were in place at the last failure

	Reason   protocol.Reason          `json:"reason,omitempty"`
	Detail   string                   `json:"detail,omitempty"`
	Bytes    protocol.Bytes           `json:"bytes"`
	Sources  []protocol.Source        `json:"sources,omitempty"`
	Millis   map[protocol.Phase]int64 `json:"millis,omitempty"`
	Refusals []Refusal                `json:"refusals,omitempty"` // newest last
}

// Running is the slot that runs.
type Running struct {
	Slot   string          `json:"slot"`
	Boot   string          `json:"boot"`
	SHA256 firmware.Digest `json:"sha256"`
	Trial  bool            `json:"trial"`
}

// Refusal is a release that was tried in vain, and whose wish that was.
type Refusal struct {
	SHA256   firmware.Digest `json:"sha256"`
	Audience string          `json:"audience"`
	Policy   uint64          `json:"policy"`
	Rollout  string          `json:"rollout,omitempty"`
}

// Encode returns the State as it is stored.
func (s *State) Encode() ([]byte, error) { return json.Marshal(s) }

// Decode reads what Encode wrote and refuses a State that Step could not have made.
func Decode(b []byte) (*State, error) {
	if len(b) > MaxStateSize {
		return nil, fmt.Errorf("update state: %d bytes, over %d", len(b), MaxStateSize)
	}
	s := new(State)
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("update state: %w", err)
	}
	switch s.Phase {
	case "", protocol.Idle:
	case protocol.Checking, protocol.Downloading, protocol.Waiting, protocol.Installing, protocol.Rebooting,
		protocol.Proving, protocol.Reverting, protocol.Committed, protocol.Reverted, protocol.Failed:
		if s.Target == nil {
			return nil, fmt.Errorf("update state: %s without a target", s.Phase)
		}
	default:
		return nil, fmt.Errorf("update state: no phase %q", s.Phase)
	}
	if s.started() && s.Slot == "" {
		return nil, fmt.Errorf("update state: %s without a slot", s.Phase)
	}
	if s.Wish.Install && s.Wish.Target == nil {
		return nil, fmt.Errorf("update state: a wish to install nothing")
	}
	return s, nil
}

// Update returns the attempt as a report tells it; nil before the first.
func (s *State) Update() *protocol.Update {
	if s.Target == nil {
		return nil
	}
	return &protocol.Update{
		Rollout: s.Target.Rollout, Product: s.Target.Release.Product, Version: s.Target.Release.Version,
		SHA256: s.Target.Release.SHA256, Policy: s.Target.Policy,
		Phase: s.Phase, Reason: s.Reason, Detail: s.Detail, Bytes: s.Bytes, Sources: slices.Clone(s.Sources), Millis: maps.Clone(s.Millis),
	}
}

// Wake returns when Ticked could change something; zero: not before another event. A closed window is looked at each
// half minute.
func (s *State) Wake(now time.Time) time.Time {
	switch {
	case !s.RetryAt.IsZero():
		return s.RetryAt
	case s.Phase == protocol.Waiting:
		return now.Add(30 * time.Second)
	}
	return time.Time{}
}

// started reports whether the phase is one in which a slot has been chosen.
func (s *State) started() bool {
	switch s.Phase {
	case protocol.Downloading, protocol.Waiting, protocol.Installing, protocol.Rebooting, protocol.Proving,
		protocol.Reverting:
		return true
	}
	return false
}

// recallable reports whether the attempt can be given up without a reboot.
func (s *State) recallable() bool {
	switch s.Phase {
	case protocol.Checking, protocol.Downloading, protocol.Waiting:
		return true
	}
	return false
}

// resting reports whether no attempt is under way.
func (s *State) resting() bool {
	switch s.Phase {
	case "", protocol.Idle, protocol.Committed, protocol.Reverted, protocol.Failed:
		return true
	}
	return false
}
