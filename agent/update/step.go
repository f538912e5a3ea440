package update

import (
	"fmt"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// Step takes what happened, changes the State and returns what to do, in order. The caller stores the State before it
// does any of it.
func (s *State) Step(e Event, now time.Time) []Effect {
	if s.Phase == "" {
		s.Phase, s.Since = protocol.Idle, now
	}
	switch e := e.(type) {
	case Booted:
		return s.booted(e, now)
	case Desired:
		s.Wish = e.Wish
		return s.follow(now)
	case Checked:
		if s.awaits(e.Job, protocol.Checking) {
			s.Bytes.Total, s.Slot = e.Size, e.Slot
			if e.Slot == "" || e.Slot == s.Running.Slot {
				return s.fail(protocol.ReasonStorage, "there is no slot to write besides the one that runs", now)
			}
			return append(s.enter(protocol.Downloading, now), Assemble{s.start(), *s.Target, s.Slot})
		}
	case Progressed:
		if s.awaits(e.Job, protocol.Downloading) {
			s.Bytes, s.Sources = e.Bytes, e.Sources
		}
	case Assembled:
		if s.awaits(e.Job, protocol.Downloading) {
			s.Bytes, s.Sources, s.Busy, s.Attempts, s.HighTide = e.Bytes, e.Sources, false, 0, 0
			return s.arm(now)
		}
	case Armed:
		if s.awaits(e.Job, protocol.Installing) {
			s.Attempts = 0
			return append(s.enter(protocol.Rebooting, now), Reboot{s.start()})
		}
	case ProbesPassed:
		if s.awaits(e.Job, protocol.Proving) && !s.Proven {
			s.Proven, s.Attempts = true, 0
			return []Effect{Confirm{s.start(), *s.Target, s.Slot}}
		}
	case Confirmed:
		if s.awaits(e.Job, protocol.Proving) && s.Proven {
			s.Running.Trial = false
			return append(s.end(protocol.Committed, "", "", now), s.follow(now)...)
		}
	case FailedJob:
		return s.failed(e, now)
	case Ticked:
		return s.ticked(now)
	}
	return nil
}

const foreignTrial = "somebody else has put the running slot on trial; nothing is started until the next boot"

// booted answers with the effect that the stored state was waiting for.
func (s *State) booted(e Booted, now time.Time) []Effect {
	s.Running = Running{Slot: e.Slot, Boot: e.Boot, SHA256: e.SHA256, Trial: e.Trial}
	s.Busy, s.RetryAt = false, time.Time{}
	switch s.Phase {
	case protocol.Checking, protocol.Downloading, protocol.Waiting:
		if e.Trial { // the other slot is somebody's way back: not to be written
			return s.end(protocol.Idle, "", foreignTrial, now)
		}
		out := append(s.keep(), Report{})
		if s.Slot == e.Slot { // the loader fell over to the slot that was being written; begin anew with the other
			s.Slot = ""
		}
		if s.Slot == "" || s.Phase == protocol.Checking {
			return append(append(out, s.enter(protocol.Checking, now)...), Check{s.start(), *s.Target})
		}
		// A slot is read back and armed in one process: what happened to it while the power was off is unknown.
		return append(append(out, s.enter(protocol.Downloading, now)...), Assemble{s.start(), *s.Target, s.Slot})
	case protocol.Installing:
		if e.Slot == s.Slot { // armed, but the power went before that was stored
			return append(s.prove(e, now), Report{})
		}
		s.Boot = e.Boot
		return append(s.keep(), Arm{s.start(), s.Slot, bootTries}, Report{})
	case protocol.Rebooting:
		switch {
		case e.Slot == s.Slot:
			return append(s.prove(e, now), Report{})
		case e.Boot == s.Boot: // only the agent has started again
			return []Effect{Reboot{s.start()}, Report{}}
		}
		return append(s.keep(), s.revertedBy(protocol.ReasonBoot, "the loader did not start the new slot, or fell back from it", now)...)
	case protocol.Proving:
		if e.Slot == s.Slot {
			return append(s.prove(e, now), Report{})
		}
		return append(s.keep(), s.revertedBy(protocol.ReasonBoot, "the new slot restarted too often before it was proven", now)...)
	case protocol.Reverting:
		if e.Slot == s.Slot {
			return []Effect{Revert{s.start(), s.Slot}, Report{}}
		}
		return append(s.keep(), s.revertedBy(s.Reason, s.Detail, now)...)
	}
	if s.Phase == protocol.Committed && e.SHA256 != s.Target.Release.SHA256 && !e.SHA256.IsZero() && !e.Trial {
		return append(s.keep(), s.revertedBy(protocol.ReasonBoot, "the loader went back to the other slot some time after the commit", now)...)
	}
	out := append(s.keep(), Report{})
	return append(out, s.follow(now)...)
}

// keep marks the running slot good, unless somebody armed it for a trial that this State knows nothing of: then it is not
// ours to judge.
func (s *State) keep() []Effect {
	if s.Running.Trial || s.Running.Slot == "" {
		return nil
	}
	return []Effect{Keep{s.Running.Slot}}
}

// prove begins or resumes the proof in the new slot. The deadline counts from the boot.
func (s *State) prove(e Booted, now time.Time) []Effect {
	var out []Effect
	full := time.Duration(s.Target.Health.DeadlineSeconds) * time.Second
	if s.Phase != protocol.Proving {
		out = s.enter(protocol.Proving, now)
	}
	if e.SHA256 != s.Target.Release.SHA256 {
		return append(out, s.revert(protocol.ReasonStorage, "the slot does not hold what was written to it", now)...)
	}
	if s.Proven { // never forgotten: probes are not asked twice
		return append(out, Confirm{s.start(), *s.Target, s.Slot})
	}
	if e.Boot != s.Boot || s.Deadline.IsZero() {
		s.Deadline = now.Add(full)
	}
	s.Boot = e.Boot
	// The clock may have been set meanwhile: never longer than asked for, never too short to try.
	left := min(max(s.Deadline.Sub(now), shortestProof), full)
	return append(out, Probe{s.start(), *s.Target, s.Slot, left})
}

// follow begins, changes or gives up an attempt so that it fits the wish.
func (s *State) follow(now time.Time) []Effect {
	if s.Running.Slot == "" { // not booted yet: Booted comes back here
		return nil
	}
	if s.Running.Trial && (s.resting() || s.recallable()) { // see foreignTrial
		return nil
	}
	w := s.Wish
	if s.recallable() {
		switch {
		case !w.Install:
			return append([]Effect{Cancel{}}, s.end(protocol.Idle, "", "stopped by the policy before anything was switched", now)...)
		case w.Target.Release == s.Target.Release:
			s.Target = w.Target // a newer policy may open the window or change the proof
			if s.Phase == protocol.Waiting {
				return s.arm(now)
			}
			return nil
		default:
			return append([]Effect{Cancel{}}, s.begin(now)...)
		}
	}
	if !s.resting() || !w.Install {
		return nil
	}
	if w.Target.Release.SHA256 == s.Running.SHA256 {
		return s.adopt(now)
	}
	if s.refuses(w.Target) {
		return nil
	}
	return s.begin(now)
}

// adopt notes that the wish is fulfilled already: the release was proven here under another policy.
func (s *State) adopt(now time.Time) []Effect {
	if s.Phase == protocol.Committed && s.Target.Release == s.Wish.Target.Release && s.Target.Rollout == s.Wish.Target.Rollout {
		known := s.Target.Policy == s.Wish.Target.Policy && s.Target.Audience == s.Wish.Target.Audience
		s.Target = s.Wish.Target // the same attempt under a newer policy keeps its numbers
		if known {
			return nil
		}
		return []Effect{Report{}}
	}
	s.reset(now)
	return s.end(protocol.Committed, "", "", now)
}

func (s *State) begin(now time.Time) []Effect {
	s.reset(now)
	return append(s.enter(protocol.Checking, now), Check{s.start(), *s.Target})
}

// reset forgets the last attempt and takes the wish as target.
func (s *State) reset(now time.Time) {
	s.Phase, s.Since, s.Millis = protocol.Idle, now, nil
	s.Target, s.Slot, s.Proven, s.Busy = s.Wish.Target, "", false, false
	s.Reason, s.Detail, s.Bytes, s.Sources = "", "", protocol.Bytes{}, nil
	s.Attempts, s.HighTide = 0, 0
	s.RetryAt, s.Deadline = time.Time{}, time.Time{}
}

// arm tells the loader if the window is open, else waits for it.
func (s *State) arm(now time.Time) []Effect {
	if !s.Target.Window.Open(now) {
		if s.Phase == protocol.Waiting {
			return nil
		}
		return s.enter(protocol.Waiting, now)
	}
	s.Boot = s.Running.Boot
	return append(s.enter(protocol.Installing, now), Arm{s.start(), s.Slot, bootTries})
}

func (s *State) ticked(now time.Time) []Effect {
	if s.Phase == protocol.Waiting {
		return s.arm(now)
	}
	if s.RetryAt.IsZero() || now.Before(s.RetryAt) {
		return nil
	}
	s.RetryAt = time.Time{}
	switch s.Phase {
	case protocol.Checking:
		return []Effect{Check{s.start(), *s.Target}}
	case protocol.Downloading:
		return []Effect{Assemble{s.start(), *s.Target, s.Slot}}
	case protocol.Installing:
		return []Effect{Arm{s.start(), s.Slot, bootTries}}
	case protocol.Rebooting:
		return []Effect{Reboot{s.start()}}
	case protocol.Proving:
		return []Effect{Confirm{s.start(), *s.Target, s.Slot}}
	case protocol.Reverting:
		return []Effect{Revert{s.start(), s.Slot}}
	}
	return nil
}

// failed tries a transient failure again with growing pauses, and otherwise takes the way out of the phase.
func (s *State) failed(e FailedJob, now time.Time) []Effect {
	if e.Job != s.Job || !s.Busy || s.resting() {
		return nil
	}
	s.Busy = false
	if done := s.Bytes.Done; done > s.HighTide { // it came further than before: that is progress
		s.HighTide, s.Attempts = done, 0
	}
	s.Attempts++
	// A reboot that was begun cannot be given up, only asked for again.
	stubborn := s.Phase == protocol.Rebooting || s.Phase == protocol.Reverting
	probing := s.Phase == protocol.Proving && !s.Proven
	if stubborn || e.Transient && !probing && s.Attempts < maxAttempts {
		s.RetryAt = now.Add(backoff(s.Attempts))
		if s.Phase != protocol.Reverting { // there the reason is why it reverts
			s.Detail = clip(fmt.Sprintf("attempt %d: %s", s.Attempts, e.Detail))
		}
		return []Effect{Report{}}
	}
	if s.Phase == protocol.Proving {
		reason := e.Reason
		if s.Proven { // the loader would not keep the slot, and would fall back by itself at some later start
			reason = protocol.ReasonBoot
		}
		return s.revert(reason, e.Detail, now)
	}
	return s.fail(e.Reason, e.Detail, now)
}

func (s *State) revert(reason protocol.Reason, detail string, now time.Time) []Effect {
	s.Reason, s.Detail, s.Proven, s.Attempts = reason, clip(detail), false, 0
	return append(s.enter(protocol.Reverting, now), Revert{s.start(), s.Slot})
}

func (s *State) revertedBy(reason protocol.Reason, detail string, now time.Time) []Effect {
	s.refuse()
	return append(s.end(protocol.Reverted, reason, detail, now), s.follow(now)...)
}

func (s *State) fail(reason protocol.Reason, detail string, now time.Time) []Effect {
	s.refuse()
	return append(s.end(protocol.Failed, reason, detail, now), s.follow(now)...)
}

// end enters a resting phase.
func (s *State) end(p protocol.Phase, reason protocol.Reason, detail string, now time.Time) []Effect {
	out := s.enter(p, now)
	s.Reason, s.Detail = reason, clip(detail)
	s.Busy, s.Proven, s.Attempts, s.HighTide = false, false, 0, 0
	s.RetryAt, s.Deadline, s.Slot, s.Boot = time.Time{}, time.Time{}, "", ""
	return out
}

// enter changes the phase and books the time that the last one took.
func (s *State) enter(p protocol.Phase, now time.Time) []Effect {
	if spent := now.Sub(s.Since).Milliseconds(); spent > 0 && !s.resting() {
		if s.Millis == nil {
			s.Millis = map[protocol.Phase]int64{}
		}
		s.Millis[s.Phase] += spent
	}
	s.Phase, s.Since = p, now
	if !s.resting() && p != protocol.Reverting {
		s.Detail = ""
	}
	return []Effect{Report{}}
}

func (s *State) start() uint64 {
	s.Job++
	s.Busy, s.RetryAt = true, time.Time{}
	return s.Job
}

func (s *State) awaits(job uint64, p protocol.Phase) bool {
	return s.Busy && s.Job == job && s.Phase == p
}

func backoff(attempt int) time.Duration {
	return min(firstBackoff<<min(attempt-1, 10), longestPause)
}

func clip(s string) string {
	const most = 1 << 10
	if len(s) > most {
		return s[:most]
	}
	return s
}
