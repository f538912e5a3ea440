package tuf

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
)

// Key is a public key as metadata lists it.
type Key struct {
	Type   string `json:"keytype"`
	Scheme string `json:"scheme"`
	Value  struct {
		Public string `json:"public"` // ed25519: hex; ECDSA: PEM
	} `json:"keyval"`
}

// verifier returns the key's own bytes, by which it is one key whatever it is called, and a function that checks a
// signature.
func (k Key) verifier() (own string, check func(message, sig []byte) bool, err error) {
	switch k.Type {
	case "ed25519":
		public, err := hex.DecodeString(k.Value.Public)
		if err != nil || len(public) != ed25519.PublicKeySize {
			return "", nil, fmt.Errorf("%w: no ed25519 key", ErrUntrusted)
		}
		return string(public), func(message, sig []byte) bool { return ed25519.Verify(public, message, sig) }, nil
	case "ecdsa", "ecdsa-sha2-nistp256":
		block, _ := pem.Decode([]byte(k.Value.Public))
		if block == nil {
			return "", nil, fmt.Errorf("%w: no ECDSA key", ErrUntrusted)
		}
		parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
		public, ok := parsed.(*ecdsa.PublicKey)
		if err != nil || !ok || public.Curve != elliptic.P256() {
			return "", nil, fmt.Errorf("%w: no ECDSA P-256 key", ErrUntrusted)
		}
		return string(block.Bytes), func(message, sig []byte) bool {
			sum := sha256.Sum256(message)
			return ecdsa.VerifyASN1(public, sum[:], sig)
		}, nil
	}
	return "", nil, fmt.Errorf("%w: keys of type %q are not taken", ErrUntrusted, k.Type)
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
		own, check, err := k.verifier()
		if err != nil {
			return fmt.Errorf("role %s: key %s: %w", name, id, err)
		}
		if sig, err := hex.DecodeString(by[id]); err == nil && len(sig) > 0 && check(d.message, sig) {
			good[own] = true
		}
	}
	if len(good) < r.Threshold {
		return fmt.Errorf("role %s: %w: %d of %d signatures", name, ErrUntrusted, len(good), r.Threshold)
	}
	return nil
}
