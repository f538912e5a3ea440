package firmware

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
)

// Digest is a SHA-256 sum. In text and JSON it is 64 lower-case hex digits.
type Digest [sha256.Size]byte

// ChunkID names a chunk: the digest of its plain (uncompressed) bytes.
type ChunkID = Digest

// Sum returns the digest of b.
func Sum(b []byte) Digest { return sha256.Sum256(b) }

// Hash is the function that names the chunks of an index.
type Hash uint8

// The hashes of casync. Waxwing writes SHA-256 only: on 32-bit ARM the other is less than half as fast.
const (
	HashSHA256 Hash = iota
	HashSHA512      // SHA-512/256, what casync writes when it is not told otherwise; only read
)

// Sum returns the id of a chunk.
func (h Hash) Sum(plain []byte) ChunkID {
	if h == HashSHA512 {
		return sha512.Sum512_256(plain)
	}
	return sha256.Sum256(plain)
}

// ParseDigest reads 64 lower-case hex digits.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	if err := d.UnmarshalText([]byte(s)); err != nil {
		return Digest{}, err
	}
	return d, nil
}

// String returns the 64 hex digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// IsZero reports whether d was never set; no real content has this digest.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText writes the 64 hex digits.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is the inverse of MarshalText. Upper case is refused: one digest has one spelling.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) != hex.EncodedLen(len(d)) {
		return fmt.Errorf("digest: %d characters where 64 hex digits are needed", len(b))
	}
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("digest: %q is not a lower-case hex digit", c)
		}
	}
	_, err := hex.Decode(d[:], b)
	return err
}
