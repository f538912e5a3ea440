package policy

import (
	"errors"
	"fmt"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Payload types of the envelopes, as DSSE names them.
const (
	PolicyType     = "application/vnd.waxwing.policy+json"
	MembershipType = "application/vnd.waxwing.membership+json"
	GrantType      = "application/vnd.waxwing.downgrade+json"
)

// MaxEnvelopeSize bounds one envelope, in bytes.
const MaxEnvelopeSize = 64 << 10

// Errors that callers tell apart.
var (
	ErrMalformed = errors.New("malformed policy")
	ErrSignature = errors.New("no signature by a policy key")
)

// AudienceKind says whom a policy addresses.
type AudienceKind string

// The audiences there are.
const (
	ForGroup  AudienceKind = "group"
	ForDevice AudienceKind = "device"
)

// Audience is whom a policy addresses. A topic is never evidence of it; this field is.
type Audience struct {
	Kind AudienceKind `json:"kind"`
	Name string       `json:"name"`
}

// String returns "group/edge" or "device/d-1".
func (a Audience) String() string { return string(a.Kind) + "/" + a.Name }

// Action is what the audience shall do.
type Action string

// The actions there are.
const (
	Install Action = "install" // run the named release
	Hold    Action = "hold"    // start nothing new; what has rebooted already finishes its proof
	None    Action = "none"    // no wish: an audience without a rollout
)

// Policy is the desired state of an audience.
type Policy struct {
	Schema   int      `json:"schema"` // 1
	Audience Audience `json:"audience"`
	// Seq rises strictly per audience. A device that has stored a higher one ignores this; the same one with other
	// bytes is an alarm.
	Seq       uint64    `json:"seq"`
	Priority  int       `json:"priority"` // among a device's groups the highest wins
	IssuedAt  time.Time `json:"issued_at"`
	ExpiresAt time.Time `json:"expires_at"` // after it nothing is started; the device keeps running
	Action    Action    `json:"action"`
	Rollout   string    `json:"rollout,omitempty"` // id, echoed in reports
	Release   *Release  `json:"release,omitempty"` // with Install and Hold
	// SnapshotFloor is the lowest TUF snapshot version that a device may hold while it follows this policy.
	SnapshotFloor int64   `json:"snapshot_floor,omitempty"`
	Cohort        Cohort  `json:"cohort"`
	Window        *Window `json:"window,omitempty"`
	Health        Health  `json:"health"`
	// Grant is the envelope of a [Grant], where the release is older than what devices have committed.
	Grant []byte `json:"grant,omitempty"`
}

// Release names the manifest of a release. All of it must equal what TUF says.
type Release struct {
	Product string          `json:"product"`
	Version string          `json:"version"`
	Counter uint64          `json:"counter"`
	Target  string          `json:"target"` // TUF target path of the manifest
	Length  int64           `json:"length"` // bytes of the manifest
	SHA256  firmware.Digest `json:"sha256"` // of the manifest
}

// Window is the time of day, on the device's clock in UTC, in which it may reboot into a new release. An end before the
// start wraps over midnight.
type Window struct {
	Start int `json:"start"` // minutes after 00:00
	End   int `json:"end"`
}

// Health is how a device proves a new release before it commits to it.
type Health struct {
	DeadlineSeconds int      `json:"deadline_seconds"` // from boot; then the proof has failed
	Probes          []string `json:"probes,omitempty"` // names of probes in the device's configuration; empty: all of them
}

// Membership tells a device its groups.
type Membership struct {
	Schema    int       `json:"schema"` // 1
	Device    string    `json:"device"`
	Groups    []string  `json:"groups"`
	Seq       uint64    `json:"seq"` // rises strictly per device
	IssuedAt  time.Time `json:"issued_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Open reports whether now lies in the window; a nil window is always open.
func (w *Window) Open(now time.Time) bool {
	if w == nil {
		return true
	}
	now = now.UTC()
	minute := now.Hour()*60 + now.Minute()
	if w.Start <= w.End {
		return w.Start <= minute && minute < w.End
	}
	return minute >= w.Start || minute < w.End
}

// Check refuses a policy that no server should sign and no device should follow.
func (p *Policy) Check() error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w for %s: %s", ErrMalformed, p.Audience, fmt.Sprintf(format, a...))
	}
	if p.Schema != 1 {
		return bad("schema %d is not one that this program knows", p.Schema)
	}
	if p.Audience.Kind != ForGroup && p.Audience.Kind != ForDevice {
		return bad("no audience of kind %q", p.Audience.Kind)
	}
	if err := firmware.CheckName(string(p.Audience.Kind), p.Audience.Name); err != nil {
		return bad("%v", err)
	}
	if p.Seq == 0 || p.Seq > 1<<40 {
		return bad("seq %d is not within 1..2^40", p.Seq)
	}
	if p.IssuedAt.IsZero() || !p.ExpiresAt.After(p.IssuedAt) {
		return bad("it expires before it is issued")
	}
	if p.Action != Install && p.Action != Hold && p.Action != None {
		return bad("no action %q", p.Action)
	}
	if p.Action == Install && p.Release == nil {
		return bad("install without a release")
	}
	if r := p.Release; r != nil {
		if err := r.Check(); err != nil {
			return bad("%v", err)
		}
	}
	if len(p.Grant) > MaxGrantSize || len(p.Grant) > 0 && p.Action == None {
		return bad("a grant of %d bytes, over %d, or with nothing to install", len(p.Grant), MaxGrantSize)
	}
	if c := p.Cohort; c.Below < 0 || c.Below > Everyone {
		return bad("below %d is not within 0..%d basis points", c.Below, Everyone)
	}
	if w := p.Window; w != nil && (w.Start < 0 || w.Start >= 24*60 || w.End < 0 || w.End >= 24*60 || w.Start == w.End) {
		return bad("a window from %d to %d minutes", w.Start, w.End)
	}
	if d := p.Health.DeadlineSeconds; p.Action == Install && (d < 1 || d > 24*3600) {
		return bad("a health deadline of %d seconds is not within 1..86400", d)
	}
	return nil
}

// Check refuses a release whose names and numbers cannot be meant.
func (r *Release) Check() error {
	if err := firmware.CheckName("product", r.Product); err != nil {
		return err
	}
	if err := firmware.CheckName("version", r.Version); err != nil {
		return err
	}
	if r.Target != firmware.ManifestTarget(r.Product, r.Version) {
		return fmt.Errorf("target %q is not the manifest of %s %s", r.Target, r.Product, r.Version)
	}
	if r.Length <= 0 || r.Length > firmware.MaxManifestSize || r.SHA256.IsZero() || r.Counter == 0 {
		return fmt.Errorf("release %s %s: length, sha256 and counter must be given", r.Product, r.Version)
	}
	return nil
}
