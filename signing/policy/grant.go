package policy

import (
	"fmt"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
)

// MaxGrantSize bounds the envelope of a grant, in bytes.
const MaxGrantSize = 8 << 10

// Grant allows one release to be installed although its counter is below the committed one. It is signed under Keys.Grants
// by others than policies are, so that whoever owns the server cannot bring old holes back, and travels inside a Policy of
// the same release. A device uses each grant once.
type Grant struct {
	Schema    int       `json:"schema"`   // 1
	Audience  Audience  `json:"audience"` // who may go back: a group, or one device
	Release   Release   `json:"release"`  // all of it must be what the policy names
	IssuedAt  time.Time `json:"issued_at"`
	ExpiresAt time.Time `json:"expires_at"` // after it no install begins
}

// Check refuses a grant that nobody should sign.
func (g *Grant) Check() error {
	if g.Schema != 1 || g.IssuedAt.IsZero() || !g.ExpiresAt.After(g.IssuedAt) {
		return fmt.Errorf("%w: a grant for %s: schema or times", ErrMalformed, g.Audience)
	}
	if g.Audience.Kind != ForGroup && g.Audience.Kind != ForDevice {
		return fmt.Errorf("%w: a grant for no audience of kind %q", ErrMalformed, g.Audience.Kind)
	}
	if err := firmware.CheckName(string(g.Audience.Kind), g.Audience.Name); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := g.Release.Check(); err != nil {
		return fmt.Errorf("%w: a grant for %s: %w", ErrMalformed, g.Audience, err)
	}
	return nil
}

// OpenGrant verifies the envelope of a grant against Keys.Grants. Expiry and audience are the caller's to check.
func OpenGrant(envelope []byte, keys *Keys) (*Grant, error) {
	if keys == nil || keys.Grants == nil {
		return nil, fmt.Errorf("%w: no keys may grant a downgrade here", ErrSignature)
	}
	e, err := unseal(envelope, *keys.Grants, keys.Policy.Keys)
	if err != nil {
		return nil, err
	}
	if e.PayloadType != GrantType {
		return nil, fmt.Errorf("%w: payload type %q is no grant", ErrMalformed, e.PayloadType)
	}
	g := new(Grant)
	if err := decode(e.Payload, g); err != nil {
		return nil, err
	}
	return g, g.Check()
}
