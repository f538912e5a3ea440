package tuf

import (
	"encoding/json"
	"fmt"
	"time"
)

// Rules is what is believed so far. A document is believed when its Update returns nil. An expired one, or one that does
// not fit what names it yet, is kept to compare its successor with, but nothing may be built on it.
type Rules struct {
	Root      *Root
	Timestamp *Timestamp
	Snapshot  *Snapshot
	Targets   *Targets            // top-level
	Products  map[string]*Targets // delegated, by name
	Now       time.Time           // that expiry is judged by
}

// Start believes a root that signs itself.
func Start(root []byte, now time.Time) (*Rules, error) {
	next := new(Root)
	d, err := parse(root, RootRole, next, &next.header)
	if err != nil {
		return nil, err
	}
	if err := next.Roles[RootRole].verify(RootRole, next.Keys, d); err != nil {
		return nil, err
	}
	return &Rules{Root: next, Products: map[string]*Targets{}, Now: now}, nil
}

// UpdateRoot believes the next root: one version up, signed by the last one's keys and its own. Expiry does not matter
// for a root that has a successor.
func (r *Rules) UpdateRoot(b []byte) error {
	if r.Timestamp != nil {
		return fmt.Errorf("root after timestamp: %w", ErrOrder)
	}
	next := new(Root)
	d, err := parse(b, RootRole, next, &next.header)
	if err != nil {
		return err
	}
	if err := r.Root.Roles[RootRole].verify(RootRole, r.Root.Keys, d); err != nil {
		return err
	}
	if next.Version != r.Root.Version+1 {
		return fmt.Errorf("root %d after %d: %w", next.Version, r.Root.Version, ErrRollback)
	}
	if err := next.Roles[RootRole].verify(RootRole, next.Keys, d); err != nil {
		return err
	}
	r.Root = next
	return nil
}

// UpdateTimestamp believes a timestamp that is newer than the one before. ErrEqual says that it is the same version; the
// one before stays.
func (r *Rules) UpdateTimestamp(b []byte) error {
	if r.Snapshot != nil {
		return fmt.Errorf("timestamp after snapshot: %w", ErrOrder)
	}
	if err := r.alive(r.Root.header); err != nil {
		return err
	}
	next := new(Timestamp)
	d, err := parse(b, TimestampRole, next, &next.header)
	if err != nil {
		return err
	}
	if err := r.Root.Roles[TimestampRole].verify(TimestampRole, r.Root.Keys, d); err != nil {
		return err
	}
	if _, ok := next.Meta["snapshot.json"]; !ok {
		return fmt.Errorf("timestamp: %w: it names no snapshot", ErrUntrusted)
	}
	if r.Timestamp != nil {
		was, is := r.Timestamp.Meta["snapshot.json"].Version, next.Meta["snapshot.json"].Version
		switch {
		case next.Version == r.Timestamp.Version:
			return fmt.Errorf("timestamp %d: %w", next.Version, ErrEqual)
		case next.Version < r.Timestamp.Version:
			return fmt.Errorf("timestamp %d after %d: %w", next.Version, r.Timestamp.Version, ErrRollback)
		case is < was:
			return fmt.Errorf("timestamp %d names snapshot %d after %d: %w", next.Version, is, was, ErrRollback)
		}
	}
	r.Timestamp = next
	return r.alive(next.header)
}

// UpdateSnapshot believes the snapshot that the timestamp names. remembered says that the bytes were believed once, under
// an older timestamp: they are then only what the next snapshot is compared with.
func (r *Rules) UpdateSnapshot(b []byte, remembered bool) error {
	switch {
	case r.Timestamp == nil:
		return fmt.Errorf("snapshot before timestamp: %w", ErrOrder)
	case r.Targets != nil:
		return fmt.Errorf("snapshot after targets: %w", ErrOrder)
	}
	if err := r.alive(r.Timestamp.header); err != nil {
		return err
	}
	if !remembered {
		if err := r.Timestamp.Meta["snapshot.json"].Verify(b); err != nil {
			return fmt.Errorf("snapshot: %w", err)
		}
	}
	next := new(Snapshot)
	d, err := parse(b, SnapshotRole, next, &next.header)
	if err != nil {
		return err
	}
	if err := r.Root.Roles[SnapshotRole].verify(SnapshotRole, r.Root.Keys, d); err != nil {
		return err
	}
	if r.Snapshot != nil {
		for name, was := range r.Snapshot.Meta {
			is, ok := next.Meta[name]
			if !ok || is.Version < was.Version {
				return fmt.Errorf("snapshot %d has %s at %d after %d: %w", next.Version, name, is.Version, was.Version, ErrRollback)
			}
		}
	}
	r.Snapshot = next
	return r.final()
}

// final reports whether the snapshot is the one that the timestamp names, and alive.
func (r *Rules) final() error {
	if r.Snapshot == nil {
		return fmt.Errorf("targets before snapshot: %w", ErrOrder)
	}
	if err := r.alive(r.Snapshot.header); err != nil {
		return err
	}
	if want := r.Timestamp.Meta["snapshot.json"].Version; r.Snapshot.Version != want {
		return fmt.Errorf("snapshot %d where the timestamp names %d: %w", r.Snapshot.Version, want, ErrRollback)
	}
	return nil
}

// UpdateTargets believes the top-level targets that the snapshot names.
func (r *Rules) UpdateTargets(b []byte) error {
	next, err := r.targets(b, TargetsRole, r.Root.Roles[TargetsRole], r.Root.Keys)
	if err != nil {
		return err
	}
	if err := next.checkDelegations(); err != nil {
		return err
	}
	r.Targets = next
	return nil
}

// UpdateProduct believes a delegated role that the snapshot names.
func (r *Rules) UpdateProduct(b []byte, name string) error {
	if r.Targets == nil {
		return fmt.Errorf("role %s before targets: %w", name, ErrOrder)
	}
	role, keys := r.signers(name)
	if role == nil {
		return fmt.Errorf("role %s: %w: it is not delegated", name, ErrUntrusted)
	}
	next, err := r.targets(b, name, *role, keys)
	if err == nil {
		r.Products[name] = next
	}
	return err
}

// signers returns who signs the top-level targets or a delegated role; nil: there is no such role.
func (r *Rules) signers(name string) (*Role, map[string]Key) {
	if name == TargetsRole {
		role := r.Root.Roles[name]
		return &role, r.Root.Keys
	}
	if r.Targets == nil || r.Targets.Delegations == nil {
		return nil, nil
	}
	for _, d := range r.Targets.Delegations.Roles {
		if d.Name == name {
			return &d.Role, r.Targets.Delegations.Keys
		}
	}
	return nil, nil
}

// Twin reports whether a targets document that was believed before has the version that the snapshot names now, and other
// bytes than it names: its role has signed two truths.
func (r *Rules) Twin(b []byte, name string) bool {
	role, keys := r.signers(name)
	meta, named := r.Snapshot.Meta[name+".json"]
	var quick struct {
		Signed struct {
			Version int64 `json:"version"`
		} `json:"signed"`
	}
	if role == nil || !named || meta.Verify(b) == nil || json.Unmarshal(b, &quick) != nil || quick.Signed.Version != meta.Version {
		return false
	}
	was := new(Targets)
	d, err := parse(b, TargetsRole, was, &was.header)
	return err == nil && role.verify(name, keys, d) == nil
}

func (r *Rules) targets(b []byte, name string, role Role, keys map[string]Key) (*Targets, error) {
	if err := r.final(); err != nil {
		return nil, err
	}
	meta, ok := r.Snapshot.Meta[name+".json"]
	if !ok {
		return nil, fmt.Errorf("role %s: %w: the snapshot does not name it", name, ErrUntrusted)
	}
	if err := meta.Verify(b); err != nil {
		return nil, fmt.Errorf("role %s: %w", name, err)
	}
	next := new(Targets)
	d, err := parse(b, TargetsRole, next, &next.header)
	if err != nil {
		return nil, err
	}
	if err := role.verify(name, keys, d); err != nil {
		return nil, err
	}
	for target := range next.Targets {
		if err := CheckTarget(target); err != nil {
			return nil, fmt.Errorf("role %s: %w", name, err)
		}
	}
	if next.Version != meta.Version {
		return nil, fmt.Errorf("role %s %d where the snapshot names %d: %w", name, next.Version, meta.Version, ErrRollback)
	}
	return next, r.alive(next.header)
}

// Delegated returns the role that a target's path is delegated to; empty: nobody.
func (r *Rules) Delegated(target string) string {
	if r.Targets == nil || r.Targets.Delegations == nil || CheckTarget(target) != nil {
		return ""
	}
	for _, d := range r.Targets.Delegations.Roles {
		for _, pattern := range d.Paths {
			if matches(pattern, target) {
				return d.Name
			}
		}
	}
	return ""
}

// Alive returns until when what is believed stands: the first end among root, timestamp, snapshot and top-level targets.
func (r *Rules) Alive() time.Time {
	end := r.Root.Expires
	for _, h := range []header{r.Timestamp.header, r.Snapshot.header, r.Targets.header} {
		if h.Expires.Before(end) {
			end = h.Expires
		}
	}
	return end
}

func (r *Rules) alive(h header) error {
	if !r.Now.Before(h.Expires) {
		return fmt.Errorf("%s %d, at %s: %w", h.Type, h.Version, h.Expires.Format(time.RFC3339), ErrExpired)
	}
	return nil
}
