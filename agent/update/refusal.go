package update

// refuse remembers that the target was tried in vain.
func (s *State) refuse() {
	t := s.Target
	s.Refusals = append(s.Refusals, Refusal{t.Release.SHA256, t.Audience, t.Policy, t.Rollout})
	if over := len(s.Refusals) - maxRefusals; over > 0 {
		s.Refusals = append([]Refusal(nil), s.Refusals[over:]...)
	}
}

// refuses reports whether the release was tried in vain and nobody has asked for it afresh since. Stages and renewals of
// a rollout sign new policies all the time, so within one rollout a device tries once.
func (s *State) refuses(t *Target) bool {
	for _, r := range s.Refusals {
		if r.SHA256 != t.Release.SHA256 {
			continue
		}
		if t.Rollout != "" && r.Rollout == t.Rollout {
			return true
		}
		if r.Audience == t.Audience && t.Policy <= r.Policy {
			return true
		}
	}
	return false
}
