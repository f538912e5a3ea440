// Package update is one device's walk towards its policy: what to do next, given what has happened. It is pure:
// [State.Step] takes an event and the time, changes the State and returns effects; nothing here reads a clock, a file or
// a network, and the State is a value that can be stored.
//
//	idle ─► checking ─► downloading ─► installing ─► rebooting ─► proving ─► committed
//	             │            │  └─► waiting ─┘           │           │
//	             └────────────┴─► failed                  └───────────┴─► reverting ─► reverted
//
// The caller keeps one law: store the State first, then act. An effect may be lost with the power at any moment, so
// [Booted], always the first event of a process, answers with the effect that the stored State was waiting for. Work that
// takes time carries a job number which its result brings back; the result of work that nobody waits for any more is
// ignored.
//
// What holds, whatever comes:
//
//   - committed means that the running slot holds exactly the release that the policy names, and its probes passed;
//   - until the loader is armed anything may be given up, after that only the proof decides;
//   - the boot loader is armed inside the maintenance window only, so that a power cut while waiting changes nothing;
//   - a release that failed or was reverted is left alone until a newer policy of another rollout names it again (a
//     rollout signs a new policy for each stage; that alone is no reason to try once more);
//   - a hold stops what is not armed yet and never touches a proof under way.
package update
