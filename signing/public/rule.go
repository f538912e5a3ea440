package public

import (
	"errors"
	"fmt"
	"slices"
)

// Rule says whose signatures a document needs.
type Rule struct {
	Keys      []Key `json:"keys"`
	Threshold int   `json:"threshold"` // how many different keys must have signed
	// Each are algorithms of which a key must have signed, whatever the threshold: so a document stands only while none of
	// them is broken.
	Each []Algorithm `json:"each,omitempty"`
}

// Any is the rule that one of some keys is enough.
func Any(keys ...Key) Rule { return Rule{Keys: keys, Threshold: 1} }

// Signature is one key's, as documents carry it.
type Signature struct {
	KeyID     string    `json:"keyid"`
	Algorithm Algorithm `json:"alg"` // that of the key; another one is refused
	Sig       []byte    `json:"sig"`
}

// maxSignatures bounds what is tried for one document.
const maxSignatures = 16

// ErrSignature says that a document is not signed as its rule asks.
var ErrSignature = errors.New("not signed by those who may")

// Check refuses a rule that nobody could fulfil, or everybody.
func (r Rule) Check() error {
	if r.Threshold < 1 || r.Threshold > len(r.Keys) || len(r.Keys) > maxSignatures {
		return fmt.Errorf("%w: a threshold of %d with %d keys", ErrKey, r.Threshold, len(r.Keys))
	}
	for i, k := range r.Keys {
		if err := k.Check(); err != nil {
			return err
		}
		if slices.ContainsFunc(r.Keys[:i], func(o Key) bool { return o.ID() == k.ID() }) {
			return fmt.Errorf("%w: %s is listed twice", ErrKey, k.ID())
		}
	}
	for _, a := range r.Each {
		if !slices.ContainsFunc(r.Keys, func(k Key) bool { return k.Algorithm == a }) {
			return fmt.Errorf("%w: a signature with %s is asked for and no key makes one", ErrKey, a)
		}
	}
	return nil
}

// Verify reports why signatures of a message are not enough; nil: they are. The error matches ErrSignature.
func (r Rule) Verify(message []byte, by []Signature) error {
	if err := r.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if len(by) > maxSignatures {
		return fmt.Errorf("%w: %d signatures, over %d", ErrSignature, len(by), maxSignatures)
	}
	signed, algorithms := 0, map[Algorithm]bool{}
	for _, k := range r.Keys {
		id := k.ID()
		if slices.ContainsFunc(by, func(s Signature) bool {
			return s.KeyID == id && s.Algorithm == k.Algorithm && k.Verify(message, s.Sig)
		}) {
			signed++
			algorithms[k.Algorithm] = true
		}
	}
	if signed < r.Threshold {
		return fmt.Errorf("%w: %d of %d", ErrSignature, signed, r.Threshold)
	}
	for _, a := range r.Each {
		if !algorithms[a] {
			return fmt.Errorf("%w: none with %s", ErrSignature, a)
		}
	}
	return nil
}
