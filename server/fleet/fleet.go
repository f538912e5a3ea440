// Package fleet knows the devices: who they are, which groups they are in, and what they last said.
//
// A [Device] is identity and labels, written by people and enrolment; it changes rarely. A [State] is what the device
// reported, written in batches, many devices to a transaction, and only when it says something new; presence and the
// moment of the last message are kept in memory. A [Group] is a selector over labels, so membership is computed, never
// stored. For each device the fleet keeps a signed membership up to date.
//
//	f, err := fleet.New(ctx, fleet.Options{Store: s, Identity: ca, Signer: policyKey})
//	go f.Run(ctx)                                            // follows the store, writes reports, signs memberships
//	token, secret, err := f.CreateToken(ctx, fleet.TokenSpec{Uses: 8}, "ada")
//	e, err := f.Enroll(ctx, request)                         // from the device plane
//	err = f.Ingest(ctx, "d-1", report, address)              // durable when it returns
//	views, total, revision := f.Views(ctx, fleet.Query{Selector: selector, Limit: 50})
//	feed := f.Subscribe()                                    // ids of devices that changed
//
// Questions are answered from a mirror in memory, which a watch of the store keeps up to date, so a page of a hundred
// thousand devices takes some hundredths of a second, and several servers on one store agree.
package fleet

import (
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// Collections in the store.
const (
	DevicesName = "devices" // device id → Device
	StatesName  = "states"  // device id → State
	GroupsName  = "groups"  // group → Group
	TokensName  = "enroll"  // token id → Token
	// DocumentsName holds what a device is told about itself: device id → protocol.Documents, kept by the fleet.
	DocumentsName = "documents"
	// PoliciesName holds one signed policy a group: group → PolicyRecord, kept by the conductor. The device plane
	// serves both collections and the broker mirrors both as retained messages.
	PoliciesName = "policies"
)

// PolicyRecord is the newest policy of a group.
type PolicyRecord struct {
	Seq      uint64 `json:"seq"`
	Envelope []byte `json:"envelope"` // DSSE
}

// Admission says whether a device belongs to the fleet.
type Admission string

// The admissions there are.
const (
	Accepted Admission = "accepted"
	Pending  Admission = "pending"  // enrolled by a token that asks for a person's approval
	Rejected Admission = "rejected" // its certificate is refused everywhere
)

// Device is who a device is.
type Device struct {
	ID         string            `json:"id"`
	Hardware   string            `json:"hardware"`
	Labels     map[string]string `json:"labels,omitempty"`
	Admission  Admission         `json:"admission"`
	Key        string            `json:"key"` // hex SHA-256 of its public key (SubjectPublicKeyInfo)
	EnrolledAt time.Time         `json:"enrolled_at"`
	EnrolledBy string            `json:"enrolled_by"` // token id
}

// State is what a device last reported.
type State struct {
	Report     protocol.Report `json:"report"`
	ReceivedAt time.Time       `json:"received_at"`
	Address    string          `json:"address,omitempty"` // as the server saw it
}

// Presence is what is known of a device's connection; memory only.
type Presence struct {
	Online   bool      `json:"online"`
	LastSeen time.Time `json:"last_seen"` // zero: not since the server started
}

// View is everything known of one device.
type View struct {
	Device
	State    State
	Presence Presence
	Groups   []string
	Revision int64 // of Device
}

// Group is a selector over labels, with a name.
type Group struct {
	Name     string `json:"name"`
	Selector string `json:"selector"` // see ParseSelector; empty: every device
	Priority int    `json:"priority"`
}

// AllGroup is the group of every device. It exists from the start and cannot be removed.
const AllGroup = "all"

// Token lets devices enrol.
type Token struct {
	ID        string            `json:"id"`
	Hash      []byte            `json:"hash"` // SHA-256 of the secret
	Note      string            `json:"note,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"` // given to devices that enrol with it
	Approve   bool              `json:"approve"`          // devices wait for a person
	Uses      int               `json:"uses"`             // left; -1: without limit
	ExpiresAt time.Time         `json:"expires_at"`
	CreatedAt time.Time         `json:"created_at"`
	CreatedBy string            `json:"created_by"`
}
