// Package public is public keys: how they are written down, what they are called, and whether one signed something. Both
// signed planes, the device and the server use it, and nothing else verifies a signature.
//
// A key carries the name of its algorithm, and a signature is judged by the algorithm of the key, never by what a document
// says of itself. Another algorithm, such as a post-quantum one beside today's, is one more case in [Key.Verify].
package public

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
)

// Algorithm names how a key signs: a stable code.
type Algorithm string

// The algorithms there are.
const (
	Ed25519 Algorithm = "ed25519"           // RFC 8032, over the message itself
	ECDSA   Algorithm = "ecdsa-p256-sha256" // FIPS 186-5 over the SHA-256 of the message; a signature is ASN.1 DER
)

// Key is a public key.
type Key struct {
	Algorithm Algorithm `json:"algorithm"`
	Bytes     []byte    `json:"public"` // Ed25519: the 32 bytes; ECDSA: SubjectPublicKeyInfo in DER (RFC 5280)
}

// ErrKey is what errors about keys match that are none, or of an algorithm that is not taken.
var ErrKey = errors.New("no public key that is taken")

// Of returns a key of the standard library's types: ed25519, or ECDSA on P-256.
func Of(k crypto.PublicKey) (Key, error) {
	switch k := k.(type) {
	case ed25519.PublicKey:
		out := Key{Ed25519, k}
		return out, out.Check()
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return Key{}, fmt.Errorf("%w: ECDSA on %s; P-256 is taken", ErrKey, k.Curve.Params().Name)
		}
		der, err := x509.MarshalPKIXPublicKey(k)
		return Key{ECDSA, der}, err
	}
	return Key{}, fmt.Errorf("%w: a %T; ed25519 and ECDSA P-256 are taken", ErrKey, k)
}

// ID names a key: the hex SHA-256 of its bytes.
func (k Key) ID() string {
	sum := sha256.Sum256(k.Bytes)
	return hex.EncodeToString(sum[:])
}

// Check reports why this is no key; nil: it is one. There is one way to write each key, so that none has two ids.
func (k Key) Check() error {
	_, err := k.Crypto()
	return err
}

// Crypto returns the key as the standard library has it.
func (k Key) Crypto() (crypto.PublicKey, error) {
	switch k.Algorithm {
	case Ed25519:
		if len(k.Bytes) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("%w: ed25519 has %d bytes, not %d", ErrKey, ed25519.PublicKeySize, len(k.Bytes))
		}
		return ed25519.PublicKey(k.Bytes), nil
	case ECDSA:
		parsed, err := x509.ParsePKIXPublicKey(k.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrKey, err)
		}
		p, ok := parsed.(*ecdsa.PublicKey)
		if !ok || p.Curve != elliptic.P256() {
			return nil, fmt.Errorf("%w: a %T where ECDSA on P-256 is said", ErrKey, parsed)
		}
		if again, err := x509.MarshalPKIXPublicKey(p); err != nil || string(again) != string(k.Bytes) {
			return nil, fmt.Errorf("%w: ECDSA, written in another way than X.509 does", ErrKey)
		}
		return p, nil
	}
	return nil, fmt.Errorf("%w: algorithm %q", ErrKey, k.Algorithm)
}

// Verify reports whether this key made a signature of a message.
func (k Key) Verify(message, sig []byte) bool {
	parsed, err := k.Crypto()
	if err != nil {
		return false
	}
	switch p := parsed.(type) {
	case ed25519.PublicKey:
		return ed25519.Verify(p, message, sig)
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(message)
		return ecdsa.VerifyASN1(p, sum[:], sig)
	}
	return false
}
