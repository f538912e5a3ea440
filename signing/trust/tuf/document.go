package tuf

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/signing/document"
)

// Names of the top-level roles.
const (
	RootRole      = "root"
	TargetsRole   = "targets"
	SnapshotRole  = "snapshot"
	TimestampRole = "timestamp"
)

// header is what every role's document begins with.
type header struct {
	Type    string    `json:"_type"`
	Spec    string    `json:"spec_version"`
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
}

// Root is the keys and thresholds of the top-level roles.
type Root struct {
	header
	Keys  map[string]Key  `json:"keys"`
	Roles map[string]Role `json:"roles"`
}

// Role is who must sign a role.
type Role struct {
	KeyIDs    []string `json:"keyids"`
	Threshold int      `json:"threshold"`
}

// Timestamp names the snapshot.
type Timestamp struct {
	header
	Meta map[string]Meta `json:"meta"`
}

// Snapshot fixes the version of every other role.
type Snapshot struct {
	header
	Meta map[string]Meta `json:"meta"`
}

// Targets lists files and, in the top-level one, delegates.
type Targets struct {
	header
	Targets     map[string]Target `json:"targets"`
	Delegations *struct {
		Keys  map[string]Key `json:"keys"`
		Roles []Delegation   `json:"roles"`
	} `json:"delegations"`
}

// Delegation hands paths to a role.
type Delegation struct {
	Role
	Name  string   `json:"name"`
	Paths []string `json:"paths"`
}

// Meta describes a role's document.
type Meta struct {
	Version int64  `json:"version"`
	Length  int64  `json:"length"` // bytes; 0: not said
	Hashes  Hashes `json:"hashes"`
}

// Target describes a file.
type Target struct {
	Length int64  `json:"length"`
	Hashes Hashes `json:"hashes"`
	Custom Custom `json:"custom"`
}

// Custom is what Waxwing says of a target beside what The Update Framework does.
type Custom struct {
	// SecurityFloor, at a release's manifest, is the lowest counter of the product that may still be installed anywhere.
	SecurityFloor uint64 `json:"security_floor"`
}

// Hashes are digests in hex by the name of the algorithm.
type Hashes map[string]string

// SHA256 returns the digest, and whether it is there and the only one.
func (h Hashes) SHA256() (sum [sha256.Size]byte, ok bool) {
	n, err := hex.Decode(sum[:], []byte(h["sha256"][:min(len(h["sha256"]), 2*len(sum))]))
	return sum, err == nil && n == len(sum) && len(h) == 1 && len(h["sha256"]) == 2*len(sum)
}

// signature is one of a document's.
type signature struct {
	KeyID string `json:"keyid"`
	Sig   string `json:"sig"`
}

// signed is a document before anybody believes it.
type signed struct {
	message    []byte // canonical JSON of the signed part
	signatures []signature
}

// maxDocument bounds a document, in bytes.
const maxDocument = 5_000_000

// parse reads a document of a type into a role's struct.
func parse[T any](b []byte, kind string, into *T, head *header) (signed, error) {
	bad := func(format string, a ...any) (signed, error) {
		return signed{}, fmt.Errorf("%s: %w: %s", kind, ErrUntrusted, fmt.Sprintf(format, a...))
	}
	envelope := struct {
		Signed     *T          `json:"signed"`
		Signatures []signature `json:"signatures"`
	}{Signed: into}
	if err := document.Decode(b, maxDocument, &envelope); err != nil {
		return bad("%v", err)
	}
	var raw struct {
		Signed json.RawMessage `json:"signed"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return bad("%v", err)
	}
	switch {
	case head.Type != kind:
		return bad("it is of type %q", head.Type)
	case !strings.HasPrefix(head.Spec, "1."):
		return bad("specification %q is not one that this program knows", head.Spec)
	case head.Version < 1:
		return bad("version %d", head.Version)
	case len(envelope.Signatures) > maxSignatures:
		return bad("%d signatures", len(envelope.Signatures))
	}
	seen := map[string]bool{}
	for _, s := range envelope.Signatures {
		if seen[s.KeyID] {
			return bad("two signatures by key %s", s.KeyID)
		}
		seen[s.KeyID] = true
	}
	message, err := document.Canonical(raw.Signed)
	if err != nil {
		return bad("%v", err)
	}
	return signed{message, envelope.Signatures}, nil
}

// maxSignatures bounds the work that a document can ask for.
const maxSignatures = 64

// matches reports whether a pattern covers a path: as many parts, each by shell rules; * never crosses a slash.
func matches(pattern, name string) bool {
	p, n := strings.Split(pattern, "/"), strings.Split(name, "/")
	if len(p) != len(n) {
		return false
	}
	for i := range p {
		if ok, err := path.Match(p[i], n[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// Verify checks a document that another one named.
func (m Meta) Verify(b []byte) error {
	if m.Length > 0 && m.Length != int64(len(b)) {
		return fmt.Errorf("%w: %d bytes where %d were named", ErrUntrusted, len(b), m.Length)
	}
	if len(m.Hashes) == 0 {
		return nil
	}
	if want, ok := m.Hashes.SHA256(); !ok || want != sha256.Sum256(b) {
		return fmt.Errorf("%w: other bytes than were named", ErrUntrusted)
	}
	return nil
}
