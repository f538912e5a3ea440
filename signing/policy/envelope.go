package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/document"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// Signer signs bytes with one key. signing/keys has implementations.
type Signer interface {
	Public() public.Key
	Sign(message []byte) ([]byte, error)
}

// Keys is policy-keys.json, a TUF target under the offline targets role: who may sign policies now. Taking a key out of
// it revokes a stolen server.
type Keys struct {
	Schema int         `json:"schema"` // 1
	Policy public.Rule `json:"policy"` // of policies and memberships
	// Grants is the rule of downgrade grants, signed by others than policies are; nil: there are none. A key that is in Policy
	// too does not count here.
	Grants *public.Rule `json:"grants,omitempty"`
	// MaxDays is the longest life, in days, of a policy or a grant that devices accept; 0: any. So a thief's policies end soon
	// after his key is gone. Memberships move nothing by themselves and live longer.
	MaxDays int `json:"max_days,omitempty"`
}

// Allows reports whether a document with these times does not live too long.
func (k *Keys) Allows(issued, expires time.Time) bool {
	return k.MaxDays == 0 || expires.Sub(issued) <= time.Duration(k.MaxDays)*24*time.Hour
}

// maxDays bounds Keys.MaxDays: ten years.
const maxDays = 3653

// KeysTarget is the TUF target path of Keys.
const KeysTarget = "policy-keys.json"

// ParseKeys reads policy-keys.json and refuses rules that cannot be meant.
func ParseKeys(b []byte) (*Keys, error) {
	k := new(Keys)
	if err := decode(b, k); err != nil {
		return nil, err
	}
	if k.Schema != 1 || k.MaxDays < 0 || k.MaxDays > maxDays {
		return nil, fmt.Errorf("%w: policy keys of schema 1 and 0..%d days expected", ErrMalformed, maxDays)
	}
	if err := k.Policy.Check(); err != nil {
		return nil, fmt.Errorf("%w: policy keys: %w", ErrMalformed, err)
	}
	if k.Grants != nil {
		if err := k.Grants.Check(); err != nil {
			return nil, fmt.Errorf("%w: grant keys: %w", ErrMalformed, err)
		}
	}
	return k, nil
}

// sealed is a DSSE envelope (github.com/secure-systems-lab/dsse, envelope.md) whose signatures name their algorithm.
type sealed struct {
	PayloadType string             `json:"payloadType"`
	Payload     []byte             `json:"payload"`
	Signatures  []public.Signature `json:"signatures"`
}

// pae is what is signed of an envelope: DSSE's pre-authentication encoding. The module that has it too brings an SSH client
// into the agent; the tests hold the two against each other.
func pae(payloadType string, payload []byte) []byte {
	return fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
}

// Seal checks a *Policy, *Membership or *Grant and returns its DSSE envelope with a signature of each signer.
func Seal(document any, by ...Signer) ([]byte, error) {
	e := sealed{}
	var err error
	switch d := document.(type) {
	case *Policy:
		e.PayloadType, err = PolicyType, d.Check()
	case *Membership:
		e.PayloadType, err = MembershipType, d.Check()
		if d.Groups == nil { // written as an empty list: devices take no null
			in := *d
			in.Groups, document = []string{}, &in
		}
	case *Grant:
		e.PayloadType, err = GrantType, d.Check()
	default:
		return nil, fmt.Errorf("%w: a %T cannot be sealed", ErrMalformed, document)
	}
	if err != nil {
		return nil, err
	}
	if e.Payload, err = json.Marshal(document); err != nil {
		return nil, err
	}
	for _, s := range by {
		sig, err := s.Sign(pae(e.PayloadType, e.Payload))
		k := s.Public()
		if err != nil {
			return nil, fmt.Errorf("sign with key %s: %w", k.ID(), err)
		}
		e.Signatures = append(e.Signatures, public.Signature{KeyID: k.ID(), Algorithm: k.Algorithm, Sig: sig})
	}
	return json.Marshal(e)
}

// Open verifies an envelope against the keys and returns the *Policy or *Membership inside. Expiry, audience and
// sequence are not looked at: what they are held against is the device's own memory (signing/trust).
func Open(envelope []byte, keys *Keys) (any, error) {
	if keys == nil {
		return nil, ErrSignature
	}
	e, err := unseal(envelope, keys.Policy, nil)
	if err != nil {
		return nil, err
	}
	switch e.PayloadType {
	case PolicyType:
		p := new(Policy)
		if err := decode(e.Payload, p); err != nil {
			return nil, err
		}
		return p, p.Check()
	case MembershipType:
		m := new(Membership)
		if err := decode(e.Payload, m); err != nil {
			return nil, err
		}
		return m, m.Check()
	}
	return nil, fmt.Errorf("%w: payload type %q", ErrMalformed, e.PayloadType)
}

// unseal verifies an envelope against a rule, in which some keys do not count.
func unseal(envelope []byte, rule public.Rule, but []public.Key) (*sealed, error) {
	e := new(sealed)
	if err := document.Decode(envelope, MaxEnvelopeSize, e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	by := slices.DeleteFunc(slices.Clone(e.Signatures), func(s public.Signature) bool {
		return slices.ContainsFunc(but, func(k public.Key) bool { return k.ID() == s.KeyID })
	})
	if err := rule.Verify(pae(e.PayloadType, e.Payload), by); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return e, nil
}

// Check refuses a membership that no server should sign.
func (m *Membership) Check() error {
	if m.Schema != 1 || m.Seq == 0 || m.Seq > 1<<40 || m.IssuedAt.IsZero() || !m.ExpiresAt.After(m.IssuedAt) {
		return fmt.Errorf("%w: membership of %q: schema, seq or times", ErrMalformed, m.Device)
	}
	if err := firmware.CheckName("device", m.Device); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if len(m.Groups) > 256 {
		return fmt.Errorf("%w: membership of %q in %d groups, over 256", ErrMalformed, m.Device, len(m.Groups))
	}
	for _, g := range m.Groups {
		if err := firmware.CheckName("group", g); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
	return nil
}

func decode(b []byte, into any) error {
	if err := document.DecodeKnown(b, MaxEnvelopeSize, into); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}
