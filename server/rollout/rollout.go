package rollout

import (
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

// State is whether a rollout moves.
type State string

// The states there are; Completed and Aborted are final.
const (
	Running   State = "running"
	Paused    State = "paused" // nobody begins; who has begun goes on
	Completed State = "completed"
	Aborted   State = "aborted"
)

// Spec is what a person asked for. [Spec.Complete] fills in and checks it.
type Spec struct {
	Product string         `json:"product"`
	Version string         `json:"version"`
	Group   string         `json:"group"`
	Stages  []Stage        `json:"stages"`
	Abort   Abort          `json:"abort"`
	Health  policy.Health  `json:"health"`
	Window  *policy.Window `json:"window,omitempty"`
}

// Stage is a part of the group; exactly one of Percent, Count and Devices is set. A stage holds the devices of all
// stages before it.
type Stage struct {
	Percent int      `json:"percent,omitempty"` // of the devices that can take the release, rounded up
	Count   int      `json:"count,omitempty"`
	Devices []string `json:"devices,omitempty"`
	Gate    Gate     `json:"gate"`
}

// Gate is what must hold in the open stages before the next one opens, or before the last one completes the rollout.
type Gate struct {
	SuccessPercent int  `json:"success_percent"` // of the devices in open stages, 1..100
	SoakSeconds    int  `json:"soak_seconds,omitempty"`
	Approval       bool `json:"approval,omitempty"` // a person must promote
}

// Abort is when the rollout stops itself: when at least Failures devices failed and they are at least FailurePercent of
// the devices in open stages.
type Abort struct {
	Failures       int `json:"failures"`
	FailurePercent int `json:"failure_percent"`
}

// Rollout is the storable state of one walk. Members are stored apart, one document a device.
type Rollout struct {
	ID        string         `json:"id"`
	Spec      Spec           `json:"spec"`
	Release   policy.Release `json:"release"`
	Hardware  []string       `json:"hardware"` // that the release fits
	CreatedAt time.Time      `json:"created_at"`
	CreatedBy string         `json:"created_by"`

	State     State         `json:"state"`
	Stage     int           `json:"stage"`  // the open one
	Opened    []time.Time   `json:"opened"` // when each stage opened; len = Stage+1
	Passed    []time.Time   `json:"passed"` // when each stage's gate let go; len = Stage, or Stage+1 at the end
	MetAt     time.Time     `json:"met_at"` // since when the open stage has its successes; zero: not yet
	Cohort    policy.Cohort `json:"cohort"` // of the open stages together
	EndedAt   time.Time     `json:"ended_at"`
	Decisions []Decision    `json:"decisions"`

	Members map[string]*Member `json:"-"` // device id → what became of it
}

// Decision is a step that a person or the rollout itself took.
type Decision struct {
	At   time.Time `json:"at"`
	By   string    `json:"by"` // who; "waxwing" for the rollout itself
	Text string    `json:"text"`
}

// Status is where a device stands in the rollout.
type Status string

// The statuses, in their usual order.
const (
	Pending     Status = "pending" // its stage is not open, or it has not heard of it
	Waiting     Status = "waiting" // for its maintenance window
	Downloading Status = "downloading"
	Installing  Status = "installing"
	Rebooting   Status = "rebooting"
	Proving     Status = "proving"
	Succeeded   Status = "succeeded" // runs the release, proven
	Failed      Status = "failed"
	Excluded    Status = "excluded" // cannot take the release; Reason says why
)

// Statuses lists them in order.
func Statuses() []Status {
	return []Status{Pending, Waiting, Downloading, Installing, Rebooting, Proving, Succeeded, Failed, Excluded}
}

// Reasons for which a device is excluded.
const (
	ExcludedHardware = "wrong-hardware"
	ExcludedNewer    = "runs-newer"
	ExcludedLeft     = "left-group"
)

// NotOpen is the stage of a member whose stage has not opened.
const NotOpen = -1

// Member is one device's part in a rollout.
type Member struct {
	Stage  int                      `json:"stage"` // at which it came in; NotOpen
	Status Status                   `json:"status"`
	Reason string                   `json:"reason,omitempty"`
	Detail string                   `json:"detail,omitempty"`
	Since  time.Time                `json:"since"` // of Status
	Bytes  protocol.Bytes           `json:"bytes"`
	Millis map[protocol.Phase]int64 `json:"millis,omitempty"`
}

// Candidate is a device that a rollout may take in.
type Candidate struct {
	ID       string
	Hardware string
	Product  string          // that it runs
	Counter  uint64          // of the release that it runs
	Running  firmware.Digest // of that release's manifest
}

// Counts is devices by status.
type Counts struct {
	Total    int
	ByStatus map[Status]int
}
