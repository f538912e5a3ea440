// Package protocol is the language between a device and its server: MQTT topics, HTTPS paths, and the documents that
// travel on them. It is a leaf that both sides import; it does nothing by itself.
//
// A [Report] is a whole state, never a change: it may be lost, doubled or late, and the newest Seq wins. What the cloud
// wants travels the other way as signed envelopes (signing/policy), the same bytes on both ways.
package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
)

const prefix = "waxwing/v1/"

// GroupPolicyTopic carries a group's policy: retained, QoS 1, a DSSE envelope.
func GroupPolicyTopic(group string) string { return prefix + "policy/group/" + group }

// DevicePolicyTopic carries the device's [Documents]: retained, QoS 1.
func DevicePolicyTopic(device string) string { return prefix + "policy/device/" + device }

// DeviceTopics is the prefix below which a device may publish.
func DeviceTopics(device string) string { return prefix + "device/" + device + "/" }

// ReportTopic carries Reports: QoS 1, from the device.
func ReportTopic(device string) string { return DeviceTopics(device) + "report" }

// PresenceTopic carries Online or Offline: retained, the latter as last will.
func PresenceTopic(device string) string { return DeviceTopics(device) + "presence" }

// SiteTopic carries the device's [Site]: retained, QoS 1.
func SiteTopic(device string) string { return prefix + "site/" + device }

// Filters by which a server hears every device.
const (
	AllReports  = prefix + "device/+/report"
	AllPresence = prefix + "device/+/presence"
)

// Payloads of the presence topic.
const (
	Online  = "online"
	Offline = "offline"
)

// Paths of the device plane, HTTPS with mutual TLS. All but PathEnroll need the device's certificate.
const (
	PathEnroll  = "/device/v1/enroll"  // POST EnrollRequest → EnrollResponse; the token is the credential
	PathRenew   = "/device/v1/renew"   // POST RenewRequest → RenewResponse
	PathPolicy  = "/device/v1/policy"  // GET → Documents; ETag
	PathReports = "/device/v1/reports" // POST Report → 204
	PathTime    = "/device/v1/time"    // GET → Time
	PathRepo    = "/repo/"             // the static repository; see HeaderLease
)

// MaxDocument bounds any JSON body of the device plane and any MQTT payload, in bytes.
const MaxDocument = 256 << 10

// EnrollRequest asks for an identity.
type EnrollRequest struct {
	Token    string            `json:"token"`
	CSR      []byte            `json:"csr"`          // PKCS#10, DER; its signature proves the key
	ID       string            `json:"id,omitempty"` // wished; empty: the server derives one from the key
	Hardware string            `json:"hardware"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// EnrollResponse is an identity and where to use it.
type EnrollResponse struct {
	ID          string   `json:"id"`
	Certificate []byte   `json:"certificate"` // PEM: the device's certificate
	FleetCA     []byte   `json:"fleet_ca"`    // PEM: root certificates of the fleet
	Fleet       string   `json:"fleet"`       // tag that neighbours of one fleet share
	Root        []byte   `json:"root"`        // TUF root.json, the newest
	Server      string   `json:"server"`      // https://host:port of the device plane
	Brokers     []string `json:"brokers"`     // tls://host:port
}

// RenewRequest asks for a new certificate for the same id.
type RenewRequest struct {
	CSR []byte `json:"csr"`
}

// RenewResponse holds it.
type RenewResponse struct {
	Certificate []byte `json:"certificate"`
	FleetCA     []byte `json:"fleet_ca"`
}

// Documents is what the cloud wants of one device: its signed membership and policies. MQTT's device topic carries the
// device's own; HTTPS carries those of its groups too, for a device that the broker does not reach.
type Documents struct {
	Membership json.RawMessage   `json:"membership,omitempty"` // DSSE envelope
	Policies   []json.RawMessage `json:"policies,omitempty"`   // DSSE envelopes
	Site       json.RawMessage   `json:"site,omitempty"`       // Site; by HTTPS only, MQTT has a topic for it
}

// Time is the server's clock.
type Time struct {
	Now time.Time `json:"now"`
}

// Phase is where an update stands, on the device.
type Phase string

// The phases of an update, in their usual order. Committed, Reverted and Failed are final.
const (
	Idle        Phase = "idle"        // nothing to do
	Checking    Phase = "checking"    // verifying manifest and index
	Downloading Phase = "downloading" // assembling into the inactive slot
	Installing  Phase = "installing"  // reading the slot back, arming the boot loader
	Waiting     Phase = "waiting"     // for the maintenance window
	Rebooting   Phase = "rebooting"
	Proving     Phase = "proving"   // the new slot runs, probes decide
	Committed   Phase = "committed" // the new slot stays
	Reverting   Phase = "reverting" // going back to the old slot
	Reverted    Phase = "reverted"  // the old slot runs again
	Failed      Phase = "failed"    // given up before any reboot
)

// Reason is the stable code of a failure; a sentence goes with it in Detail.
type Reason string

// The reasons there are.
const (
	ReasonPlaneMismatch Reason = "plane-mismatch" // policy and TUF do not name the same manifest
	ReasonUntrusted     Reason = "untrusted"      // a signature, digest or sequence was refused
	ReasonHardware      Reason = "wrong-hardware"
	ReasonCounter       Reason = "counter" // the release is older than what was committed
	ReasonTooLarge      Reason = "too-large"
	ReasonDownload      Reason = "download" // no source could give a chunk
	ReasonStorage       Reason = "storage"  // the slot could not be written or read back
	ReasonBoot          Reason = "boot"     // the loader did not start the new slot
	ReasonProbe         Reason = "probe"    // a health probe failed
	ReasonDeadline      Reason = "deadline" // the proof took too long
)

// Report is what a device says of itself.
type Report struct {
	Schema    int       `json:"schema"` // 1
	Device    string    `json:"device"`
	Seq       uint64    `json:"seq"`  // rises with every report, across restarts
	Time      time.Time `json:"time"` // the device's clock
	Agent     string    `json:"agent"`
	Hardware  string    `json:"hardware"`
	Running   Running   `json:"running"`
	Update    *Update   `json:"update,omitempty"` // the current or the last one
	Neighbors int       `json:"neighbors"`        // peers in sight
	Mesh      *Mesh     `json:"mesh,omitempty"`   // nil: it talks to no neighbours
	// Isolated are devices of its site that this one was sent to and could not reach, so that it fetched from the server
	// what they hold.
	Isolated []string `json:"isolated,omitempty"`
	// Offences are what neighbours did to this device in the last day: MaxOffences at most, the newest first.
	Offences []Offence `json:"offences,omitempty"`
	// Limits are those of this device's configuration that hold something back now; MaxLimits at most.
	Limits []Limit `json:"limits,omitempty"`
}

// Running is the release in the slot that runs.
type Running struct {
	Slot    string          `json:"slot"`
	Product string          `json:"product,omitempty"` // empty: not installed by Waxwing
	Version string          `json:"version,omitempty"`
	Counter uint64          `json:"counter,omitempty"`
	SHA256  firmware.Digest `json:"sha256"` // of the manifest; zero: unknown
}

// Update is one attempt to reach a policy's release.
type Update struct {
	Rollout string          `json:"rollout,omitempty"`
	Product string          `json:"product"`
	Version string          `json:"version"`
	SHA256  firmware.Digest `json:"sha256"` // of the manifest
	Policy  uint64          `json:"policy"` // seq
	Phase   Phase           `json:"phase"`
	Reason  Reason          `json:"reason,omitempty"`
	Detail  string          `json:"detail,omitempty"`
	Bytes   Bytes           `json:"bytes"`
	// Sources say where what came over the network came from: MaxSources at most.
	Sources []Source `json:"sources,omitempty"`
	// Millis is the time spent in each phase so far.
	Millis map[Phase]int64 `json:"millis,omitempty"`
}

// Bytes counts where a payload came from.
type Bytes struct {
	Total  int64 `json:"total"`  // plain bytes of the payload
	Done   int64 `json:"done"`   // plain bytes in place
	Reused int64 `json:"reused"` // plain bytes from the slots of the device
	Peers  int64 `json:"peers"`  // on the wire, from neighbours
	Origin int64 `json:"origin"` // on the wire, from the server: chunks, index and metadata
	Served int64 `json:"served"` // on the wire, to neighbours
}

// Final reports whether the update has ended.
func (u *Update) Final() bool {
	return u == nil || u.Phase == Committed || u.Phase == Reverted || u.Phase == Failed
}

// ParseReport reads and bounds a report. The sender's identity must be compared with Device by the caller.
func ParseReport(b []byte) (*Report, error) {
	if len(b) > MaxDocument {
		return nil, fmt.Errorf("report: %d bytes, over %d", len(b), MaxDocument)
	}
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if r.Schema != 1 {
		return nil, fmt.Errorf("report: schema %d is not one that this program knows", r.Schema)
	}
	if err := firmware.CheckName("device", r.Device); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if u := r.Update; u != nil {
		u.Detail = u.Detail[:min(len(u.Detail), 1<<10)]
		if err := u.boundSources(); err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
	}
	if err := errors.Join(r.boundSite(), r.boundOffences(), r.boundLimits()); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return r, nil
}
