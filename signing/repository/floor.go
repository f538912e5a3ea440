package repository

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/trust/tuf"
)

// SignFloor returns the product's next role, in which a release is the oldest that may still be installed anywhere: no
// device takes a counter below the release's, whatever a policy or a grant says. Use it once a hole is closed. A floor is
// never lowered, so a release with this counter or a newer one must stay fit for every device. Publish it without targets.
func SignFloor(role []byte, product string, m *firmware.Manifest, by keys.Signer, now time.Time) ([]byte, error) {
	md, err := new(metadata.Metadata[metadata.TargetsType]).FromBytes(role)
	if err != nil {
		return nil, fmt.Errorf("role %s: %w", product, err)
	}
	content, err := m.Encode()
	if err != nil {
		return nil, err
	}
	listed, ok := md.Signed.Targets[firmware.ManifestTarget(product, m.Version)]
	if !ok || !listed.Equal(*target(content)) {
		return nil, fmt.Errorf("%s %s is not listed with this manifest: %w", product, m.Version, ErrInvalid)
	}
	if was := securityFloor(md.Signed.Targets); m.Counter < was {
		return nil, fmt.Errorf("%s %s has counter %d, the security floor is %d already: %w", product, m.Version, m.Counter, was, ErrInvalid)
	}
	b, err := json.Marshal(tuf.Custom{SecurityFloor: m.Counter})
	if err != nil {
		return nil, err
	}
	listed.Custom = (*json.RawMessage)(&b)
	md.Signed.Version++
	md.Signed.Expires = expiry(now, productLife)
	return sign(md, by)
}

// securityFloor is the highest that a target names; what cannot be read names none, and devices refuse it.
func securityFloor(targets map[string]*metadata.TargetFiles) (floor uint64) {
	for _, t := range targets {
		var c tuf.Custom
		if t.Custom != nil && json.Unmarshal(*t.Custom, &c) == nil {
			floor = max(floor, c.SecurityFloor)
		}
	}
	return floor
}
