package policy

import "slices"

// Desired picks the policy that a device follows: its own before its groups'; among groups the highest priority, then
// the latest issued, then the first by name. A policy with action None has no wish and steps aside. The membership must
// name the group. Desired returns nil when nobody wishes anything.
//
// Signatures, sequence numbers and expiry are the caller's to check before (signing/trust does); whether the device is
// in the cohort is asked after, with [Cohort.Includes].
func Desired(device string, m *Membership, policies []*Policy) *Policy {
	if all := Applying(device, m, policies); len(all) > 0 {
		return all[0]
	}
	return nil
}

// Applying returns all policies that are for a device or one of its groups, but for those that say nothing, the one to
// follow first. Cohorts are not looked at.
func Applying(device string, m *Membership, policies []*Policy) (all []*Policy) {
	for _, p := range policies {
		if p.Action != None && p.Audience.Addresses(device, m) {
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(p, q *Policy) int {
		switch {
		case outranks(p, q):
			return -1
		case outranks(q, p):
			return 1
		}
		return 0
	})
	return all
}

// Addresses reports whether a device is meant: by its name, or by a group that its membership lists.
func (a Audience) Addresses(device string, m *Membership) bool {
	if a.Kind == ForDevice {
		return a.Name == device
	}
	if m == nil || m.Device != device {
		return false
	}
	for _, g := range m.Groups {
		if g == a.Name {
			return true
		}
	}
	return false
}

func outranks(p, q *Policy) bool {
	switch {
	case p.Audience.Kind != q.Audience.Kind:
		return p.Audience.Kind == ForDevice
	case p.Priority != q.Priority:
		return p.Priority > q.Priority
	case !p.IssuedAt.Equal(q.IssuedAt):
		return p.IssuedAt.After(q.IssuedAt)
	default:
		return p.Audience.Name < q.Audience.Name
	}
}
