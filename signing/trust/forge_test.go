package trust_test

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// forged signs metadata as somebody with stolen keys would: whatever it says.
func forged[T metadata.Roles](s *site, md *metadata.Metadata[T], by ...keys.Signer) []byte {
	s.t.Helper()
	payload, err := cjson.EncodeCanonical(md.Signed)
	s.must(err)
	md.Signatures = nil
	for _, k := range by {
		_, id, err := keys.TUF(k.Public())
		s.must(err)
		sig, err := k.Sign(payload)
		s.must(err)
		md.Signatures = append(md.Signatures, metadata.Signature{KeyID: id, Signature: sig})
	}
	b, err := md.ToBytes(true)
	s.must(err)
	return b
}

func parsed[T metadata.Roles](s *site, b []byte) *metadata.Metadata[T] {
	s.t.Helper()
	md, err := new(metadata.Metadata[T]).FromBytes(b)
	s.must(err)
	return md
}

func named(b []byte, version int64) *metadata.MetaFiles {
	sum := firmware.Sum(b)
	return &metadata.MetaFiles{Version: version, Length: int64(len(b)), Hashes: metadata.Hashes{"sha256": sum[:]}}
}

// roots returns the version of the newest root.
func (s *site) roots() (n int64) {
	for s.files[fmt.Sprintf("metadata/%d.root.json", n+1)] != nil {
		n++
	}
	return n
}

// rotate publishes the next root.
func (s *site) rotate(change func(*metadata.RootType), by ...keys.Signer) {
	s.t.Helper()
	n := s.roots()
	root := parsed[metadata.RootType](s, s.files[fmt.Sprintf("metadata/%d.root.json", n)])
	root.Signed.Version = n + 1
	change(&root.Signed)
	s.files[fmt.Sprintf("metadata/%d.root.json", n+1)] = forged(s, root, by...)
}

// replace puts a new key in the place of all old ones of a role.
func (s *site) replace(root *metadata.RootType, role string, k keys.Signer) {
	s.t.Helper()
	for _, id := range slices.Clone(root.Roles[role].KeyIDs) {
		s.must(root.RevokeKey(id, role))
	}
	s.add(root, role, k)
}

func (s *site) add(root *metadata.RootType, role string, k keys.Signer) {
	s.t.Helper()
	listed, _, err := keys.TUF(k.Public())
	s.must(err)
	s.must(root.AddKey(listed, role))
}

// reopen lets the repository go on with the keys of s.
func (s *site) reopen() {
	s.t.Helper()
	var err error
	s.repo, err = repository.Open(s.t.Context(), s.options())
	s.must(err)
}

// timestamp publishes a timestamp that is changed.
func (s *site) timestamp(change func(*metadata.TimestampType)) {
	s.t.Helper()
	ts := parsed[metadata.TimestampType](s, s.files["metadata/timestamp.json"])
	change(&ts.Signed)
	s.files["metadata/timestamp.json"] = forged(s, ts, s.keys.Timestamp)
}

// online signs snapshot and timestamp for roles that are changed, as their own versions.
func (s *site) online(roles map[string][]byte) {
	s.t.Helper()
	ts := parsed[metadata.TimestampType](s, s.files["metadata/timestamp.json"])
	at := ts.Signed.Meta["snapshot.json"].Version
	snapshot := parsed[metadata.SnapshotType](s, s.files[fmt.Sprintf("metadata/%d.snapshot.json", at)])
	for role, b := range roles {
		version := parsed[metadata.TargetsType](s, b).Signed.Version
		snapshot.Signed.Meta[role+".json"] = named(b, version)
		s.files[fmt.Sprintf("metadata/%d.%s.json", version, role)] = b
	}
	snapshot.Signed.Version = at + 1
	b := forged(s, snapshot, s.keys.Snapshot)
	s.files[fmt.Sprintf("metadata/%d.snapshot.json", at+1)] = b
	s.timestamp(func(ts *metadata.TimestampType) {
		ts.Version++
		ts.Meta["snapshot.json"] = named(b, at+1)
	})
}

// role returns the newest document of a role.
func (s *site) role(name string) *metadata.Metadata[metadata.TargetsType] {
	s.t.Helper()
	ts := parsed[metadata.TimestampType](s, s.files["metadata/timestamp.json"])
	snapshot := parsed[metadata.SnapshotType](s, s.files[fmt.Sprintf("metadata/%d.snapshot.json", ts.Signed.Meta["snapshot.json"].Version)])
	return parsed[metadata.TargetsType](s, s.files[fmt.Sprintf("metadata/%d.%s.json", snapshot.Signed.Meta[name+".json"].Version, name)])
}

// policyKeys publishes other policy keys under the offline role.
func (s *site) policyKeys(k policy.Keys) {
	s.t.Helper()
	b, err := json.Marshal(k)
	s.must(err)
	targets := s.role("targets")
	sum := firmware.Sum(b)
	targets.Signed.Targets[policy.KeysTarget] = &metadata.TargetFiles{Length: int64(len(b)), Hashes: metadata.Hashes{"sha256": sum[:]}}
	targets.Signed.Version++
	s.files[firmware.TargetPath(policy.KeysTarget, sum)] = b
	s.online(map[string][]byte{"targets": forged(s, targets, s.keys.Targets)})
	s.reopen()
}

// floor makes a release the lowest that its product lets anybody install.
func (s *site) floor(version string, counter uint64) {
	s.t.Helper()
	role := s.role("gw")
	custom := json.RawMessage(fmt.Sprintf(`{"security_floor":%d}`, counter))
	role.Signed.Targets[firmware.ManifestTarget("gw", version)].Custom = &custom
	role.Signed.Version++
	s.online(map[string][]byte{"gw": forged(s, role, s.product)})
	s.reopen()
}
