package tuf

import (
	"fmt"
	"strings"
)

// Bounds of target names, in bytes.
const (
	maxName = 256
	maxPart = 80
)

// CheckTarget refuses a target's name that means something else to a file system, a URL or a person than to a signer: it is
// one to four parts of a-z 0-9 . _ + -, with a letter or digit at both ends of each. What is signed is checked with it
// before, and what was signed all the same is refused by devices.
func CheckTarget(name string) error {
	parts := strings.Split(name, "/")
	good := len(name) <= maxName && len(parts) <= 4
	for _, part := range parts {
		good = good && plain(part)
	}
	if !good {
		return fmt.Errorf("%w: %.80q is no name of a target", ErrUntrusted, name)
	}
	return nil
}

func plain(part string) bool {
	if part == "" || len(part) > maxPart || strings.Contains(part, "..") || !alphanumeric(part[0]) || !alphanumeric(part[len(part)-1]) {
		return false
	}
	for i := range len(part) {
		if c := part[i]; !alphanumeric(c) && c != '.' && c != '_' && c != '+' && c != '-' {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool { return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' }

// checkDelegations refuses roles that could be taken for another: their names become file names, and a role that is reached
// in two ways is verified with the keys of one.
func (t *Targets) checkDelegations() error {
	if t.Delegations == nil {
		return nil
	}
	seen := map[string]bool{RootRole: true, TargetsRole: true, SnapshotRole: true, TimestampRole: true}
	for _, d := range t.Delegations.Roles {
		if !plain(d.Name) || seen[d.Name] {
			return fmt.Errorf("targets: %w: a role %.80q is delegated to", ErrUntrusted, d.Name)
		}
		seen[d.Name] = true
	}
	return nil
}

// SecurityFloor returns the lowest counter of a product that its role still lets anybody install; 0: any.
func (r *Rules) SecurityFloor(product string) (floor uint64) {
	if role := r.Products[product]; role != nil {
		for _, t := range role.Targets {
			floor = max(floor, t.Custom.SecurityFloor)
		}
	}
	return floor
}
