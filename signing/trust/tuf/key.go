package tuf

import (
	"encoding/hex"
	"encoding/pem"
	"fmt"

	"github.com/waxwing-ota/waxwing/signing/public"
)

// Key is a public key as metadata lists it.
type Key struct {
	Type   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Value  struct {
		Public string `json:"public"` // ed25519: hex; ECDSA: PEM
	} `json:"keyval"`
}

// public returns the key itself, which is one key whatever it is called.
func (k Key) public() (public.Key, error) {
	var out public.Key
	switch k.Type {
	case "ed25519":
		out.Algorithm = public.Ed25519
		out.Bytes, _ = hex.DecodeString(k.Value.Public) // no hex is too short
	case "ecdsa", "ecdsa-sha2-nistp256":
		out.Algorithm = public.ECDSA
		if block, _ := pem.Decode([]byte(k.Value.Public)); block != nil {
			out.Bytes = block.Bytes
		}
	}
	if err := out.Check(); err != nil {
		return out, fmt.Errorf("%w: a key of type %q: %w", ErrUntrusted, k.Type, err)
	}
	return out, nil
}

// verify checks that enough of a role's keys signed a document.
func (r Role) verify(name string, keys map[string]Key, d signed) error {
	if r.Threshold < 1 || len(r.KeyIDs) == 0 {
		return fmt.Errorf("role %s: %w: a threshold of %d with %d keys", name, ErrUntrusted, r.Threshold, len(r.KeyIDs))
	}
	by := make(map[string]string, len(d.signatures))
	for _, s := range d.signatures {
		by[s.KeyID] = s.Sig
	}
	good := map[string]bool{}
	for _, id := range r.KeyIDs {
		k, listed := keys[id]
		if !listed {
			return fmt.Errorf("role %s: %w: its key %s is not listed", name, ErrUntrusted, id)
		}
		own, err := k.public()
		if err != nil {
			return fmt.Errorf("role %s: key %s: %w", name, id, err)
		}
		if sig, err := hex.DecodeString(by[id]); err == nil && len(sig) > 0 && own.Verify(d.message, sig) {
			good[own.ID()] = true
		}
	}
	if len(good) < r.Threshold {
		return fmt.Errorf("role %s: %w: %d of %d signatures", name, ErrUntrusted, len(good), r.Threshold)
	}
	return nil
}
