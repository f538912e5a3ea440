package repository

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// sign replaces the signatures of md by one of each signer over its canonical form and returns the document.
func sign[T metadata.Roles](md *metadata.Metadata[T], by ...keys.Signer) ([]byte, error) {
	md.Signatures = nil
	for _, s := range by {
		if err := addSignature(md, s); err != nil {
			return nil, err
		}
	}
	return md.ToBytes(true)
}

// addSignature puts a signer's signature into md, in the place of one that it made before. Signatures are in the order of
// their ids, so that the order of signing changes no byte.
func addSignature[T metadata.Roles](md *metadata.Metadata[T], by keys.Signer) error {
	_, id, err := keys.TUF(by.Public())
	if err != nil {
		return err
	}
	message, err := cjson.EncodeCanonical(md.Signed)
	if err != nil {
		return err
	}
	sig, err := by.Sign(message)
	if err != nil {
		return fmt.Errorf("sign with key %s: %w", by.Public().ID(), err)
	}
	put(md, metadata.Signature{KeyID: id, Signature: sig})
	return nil
}

func put[T metadata.Roles](md *metadata.Metadata[T], s metadata.Signature) {
	md.Signatures = slices.DeleteFunc(md.Signatures, func(o metadata.Signature) bool { return o.KeyID == s.KeyID })
	md.Signatures = append(md.Signatures, s)
	slices.SortFunc(md.Signatures, func(a, b metadata.Signature) int { return cmp.Compare(a.KeyID, b.KeyID) })
}

// signedBy returns the keys of a rule that signed md.
func signedBy[T metadata.Roles](md *metadata.Metadata[T], rule public.Rule) ([]public.Key, error) {
	message, err := cjson.EncodeCanonical(md.Signed)
	if err != nil {
		return nil, err
	}
	var good []public.Key
	for _, k := range rule.Keys {
		_, id, err := keys.TUF(k)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(md.Signatures, func(s metadata.Signature) bool { return s.KeyID == id && k.Verify(message, s.Signature) }) {
			good = append(good, k)
		}
	}
	return good, nil
}

// fulfils reports whether enough keys of a rule signed md.
func fulfils[T metadata.Roles](md *metadata.Metadata[T], rule public.Rule) bool {
	good, err := signedBy(md, rule)
	return err == nil && rule.Check() == nil && len(good) >= rule.Threshold
}

// Cosign adds a signature to a product's role, for products whose rule asks for more than one. The role's bytes are
// those that [SignRelease] returned, perhaps on another machine.
func Cosign(role []byte, by keys.Signer) ([]byte, error) {
	md, err := new(metadata.Metadata[metadata.TargetsType]).FromBytes(role)
	if err != nil {
		return nil, fmt.Errorf("role: %w: %w", ErrInvalid, err)
	}
	if err := addSignature(md, by); err != nil {
		return nil, err
	}
	return md.ToBytes(true)
}
