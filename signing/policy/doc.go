// Package policy is the signed desired state of a fleet: which release a device should run now.
//
// A [Policy] speaks to an audience, a group or one device. A [Membership] tells one device which groups it is in. Both
// travel as DSSE envelopes ([Seal], [Open]) signed by a policy key, over MQTT or HTTPS; neither way is trusted, because
// the audience and the sequence number are inside the signature.
//
// A [Grant] lets a release go back below the committed counter. It is signed by other keys than policies and travels inside one.
//
// A stage of a rollout is a [Cohort]: a threshold on a hash of the device's id, and a few devices by name. Server and
// device compute it with the same pure function, so one retained message moves any number of devices and a larger stage
// always holds every device of the smaller one.
//
//	below = Choose(salt, devices, 100)       the server: at least 100 of these devices
//	Cohort{salt, below}.Includes(device)     the device: am I one of them?
//
// Everything here is pure: no clock, no file, no network. What a device has accepted is kept by signing/trust.
package policy
