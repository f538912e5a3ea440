package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// Everyone is the threshold, in basis points, below which every device draws.
const Everyone = 10_000

// Cohort is the part of an audience that a policy moves now.
type Cohort struct {
	Salt    string   `json:"salt"`              // one per rollout, so that the same devices are not always first
	Below   int      `json:"below"`             // basis points, 0..Everyone
	Devices []string `json:"devices,omitempty"` // and these by name
}

// Draw returns the lot of a device, 0..Everyone-1: the first eight bytes of SHA-256(salt, 0, device), big-endian,
// modulo Everyone.
func Draw(salt, device string) int {
	sum := sha256.Sum256([]byte(salt + "\x00" + device))
	return int(binary.BigEndian.Uint64(sum[:8]) % Everyone)
}

// Includes reports whether the device belongs to the cohort.
func (c Cohort) Includes(device string) bool {
	return Draw(c.Salt, device) < c.Below || slices.Contains(c.Devices, device)
}

// Choose returns the smallest threshold whose cohort holds at least want of the devices: all of them for want ≥
// len(devices), nobody for want ≤ 0. Devices with the same lot come together, so the cohort may hold a few more.
func Choose(salt string, devices []string, want int) int {
	if want <= 0 {
		return 0
	}
	if want >= len(devices) {
		return Everyone
	}
	lots := make([]int, len(devices))
	for i, d := range devices {
		lots[i] = Draw(salt, d)
	}
	slices.Sort(lots)
	return lots[want-1] + 1
}
