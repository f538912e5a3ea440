package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/waxwing-ota/waxwing/firmware"
)

func start(root []byte) (*trustedmetadata.TrustedMetadata, error) {
	var tm *trustedmetadata.TrustedMetadata
	err := guard(root, func() (err error) { tm, err = trustedmetadata.New(root); return err })
	return tm, err
}

// guard lets go-tuf look at a document only when it has the shape that go-tuf takes for granted, and turns what it says
// into this package's errors. A panic on a hostile document is a refusal too.
func guard(document []byte, verify func() error) (err error) {
	if err := shape(document); err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrUntrusted, p)
		}
	}()
	err = verify()
	var old *metadata.ErrBadVersionNumber
	var expired *metadata.ErrExpiredMetadata
	var equal *metadata.ErrEqualVersionNumber
	switch {
	case err == nil, errors.As(err, &equal):
		return err
	case errors.As(err, &expired):
		return fmt.Errorf("%w: %w", ErrExpired, err)
	case errors.As(err, &old):
		return fmt.Errorf("%w: %w", ErrRollback, err)
	}
	return fmt.Errorf("%w: %w", ErrUntrusted, err)
}

// shape checks what go-tuf does not: the major version of the specification, and that ed25519 keys have 32 bytes.
func shape(document []byte) error {
	type listed struct {
		Type  string `json:"keytype"`
		Value struct {
			Public string `json:"public"`
		} `json:"keyval"`
	}
	var d struct {
		Signed struct {
			Spec        string            `json:"spec_version"`
			Keys        map[string]listed `json:"keys"`
			Delegations struct {
				Keys map[string]listed `json:"keys"`
			} `json:"delegations"`
		} `json:"signed"`
	}
	if err := json.Unmarshal(document, &d); err != nil {
		return fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if !strings.HasPrefix(d.Signed.Spec, "1.") {
		return fmt.Errorf("%w: TUF specification %q", ErrUntrusted, d.Signed.Spec)
	}
	for _, keys := range []map[string]listed{d.Signed.Keys, d.Signed.Delegations.Keys} {
		for id, k := range keys {
			if k.Type == "ed25519" && len(k.Value.Public) != 64 {
				return fmt.Errorf("%w: key %s has a wrong length", ErrUntrusted, id)
			}
		}
	}
	return nil
}

func digest(t *metadata.TargetFiles) (firmware.Digest, error) {
	var d firmware.Digest
	if len(t.Hashes) != 1 || len(t.Hashes["sha256"]) != len(d) {
		return d, fmt.Errorf("%w: a target without exactly one sha256", ErrUntrusted)
	}
	copy(d[:], t.Hashes["sha256"])
	return d, nil
}
