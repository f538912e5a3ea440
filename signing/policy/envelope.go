package policy

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Signer signs bytes with one key. signing/keys has implementations.
type Signer interface {
	KeyID() string
	Sign(message []byte) ([]byte, error)
}

// Key is a public policy key.
type Key struct {
	ID     string            `json:"id"`     // KeyID of Public
	Public ed25519.PublicKey `json:"public"` // 32 bytes, base64 in JSON
}

// Keys is policy-keys.json, a TUF target under the offline targets role: who may sign policies now. Taking a key out of
// it revokes a stolen server.
type Keys struct {
	Schema int   `json:"schema"` // 1
	Keys   []Key `json:"keys"`
}

// KeysTarget is the TUF target path of Keys.
const KeysTarget = "policy-keys.json"

// KeyID names a public key: the hex SHA-256 of its 32 bytes.
func KeyID(k ed25519.PublicKey) string { return firmware.Sum(k).String() }

// ParseKeys reads policy-keys.json and refuses keys of a wrong length or name.
func ParseKeys(b []byte) (*Keys, error) {
	k := new(Keys)
	if err := decode(b, k); err != nil {
		return nil, err
	}
	if k.Schema != 1 || len(k.Keys) == 0 {
		return nil, fmt.Errorf("%w: policy keys of schema 1 expected, at least one", ErrMalformed)
	}
	for _, key := range k.Keys {
		if len(key.Public) != ed25519.PublicKeySize || key.ID != KeyID(key.Public) {
			return nil, fmt.Errorf("%w: policy key %q does not fit its id", ErrMalformed, key.ID)
		}
	}
	return k, nil
}

// Seal checks a *Policy or *Membership and returns its signed DSSE envelope.
func Seal(document any, by Signer) ([]byte, error) {
	var payloadType string
	var err error
	switch d := document.(type) {
	case *Policy:
		payloadType, err = PolicyType, d.Check()
	case *Membership:
		payloadType, err = MembershipType, d.Check()
	default:
		return nil, fmt.Errorf("%w: a %T cannot be sealed", ErrMalformed, document)
	}
	if err != nil {
		return nil, err
	}
	payload, err := json.Marshal(document)
	if err != nil {
		return nil, err
	}
	sig, err := by.Sign(dsse.PAE(payloadType, payload))
	if err != nil {
		return nil, fmt.Errorf("sign with key %s: %w", by.KeyID(), err)
	}
	return json.Marshal(dsse.Envelope{
		PayloadType: payloadType,
		Payload:     base64.StdEncoding.EncodeToString(payload),
		Signatures:  []dsse.Signature{{KeyID: by.KeyID(), Sig: base64.StdEncoding.EncodeToString(sig)}},
	})
}

// Open verifies an envelope against the keys and returns the *Policy or *Membership inside. Expiry, audience and
// sequence are not looked at: what they are held against is the device's own memory (signing/trust).
func Open(envelope []byte, keys *Keys) (any, error) {
	if len(envelope) > MaxEnvelopeSize {
		return nil, fmt.Errorf("%w: %d bytes, over %d", ErrMalformed, len(envelope), MaxEnvelopeSize)
	}
	var e dsse.Envelope
	if err := json.Unmarshal(envelope, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	payload, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		return nil, fmt.Errorf("%w: payload: %w", ErrMalformed, err)
	}
	if !signed(e, payload, keys) {
		return nil, ErrSignature
	}
	switch e.PayloadType {
	case PolicyType:
		p := new(Policy)
		if err := decode(payload, p); err != nil {
			return nil, err
		}
		return p, p.Check()
	case MembershipType:
		m := new(Membership)
		if err := decode(payload, m); err != nil {
			return nil, err
		}
		return m, m.Check()
	}
	return nil, fmt.Errorf("%w: payload type %q", ErrMalformed, e.PayloadType)
}

func signed(e dsse.Envelope, payload []byte, keys *Keys) bool {
	if keys == nil || len(e.Signatures) > 8 {
		return false
	}
	message := dsse.PAE(e.PayloadType, payload)
	for _, s := range e.Signatures {
		sig, err := base64.StdEncoding.DecodeString(s.Sig)
		if err != nil {
			continue
		}
		for _, k := range keys.Keys {
			if k.ID == s.KeyID && len(k.Public) == ed25519.PublicKeySize && ed25519.Verify(k.Public, message, sig) {
				return true
			}
		}
	}
	return false
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
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}
