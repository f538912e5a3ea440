// Package rollout is the walk of a release through the stages of a group: who runs it now, when the next stage opens,
// and when the walk stops by itself. It is pure: [Rollout.Step] takes an event and the time and returns effects; nothing
// here reads a clock, a store or a network.
//
//	events                          Rollout                         effects
//	Started, Joined, Left ──►  stage 0 ─ gate ─► stage 1 ─ … ──►  Publish   sign the policy that the state implies
//	Reported, Ticked      ──►                                     Record    store what became of a device
//	Paused, Resumed,      ──►  running / paused / completed /     Decided   tell people, and the audit trail
//	Promoted, Aborted     ──►  aborted
//
// The caller keeps one law: store the rollout and the recorded members first, then act on Publish. Everything may be
// replayed: a doubled or late report changes nothing.
//
// A stage's cohort is chosen with policy.Choose, the function that devices obey, so counts here are what will happen
// there. Counts always add up to the total, in flight is never more than the open stages hold, an ended rollout never
// changes again, and no cohort widens after a halt.
package rollout
