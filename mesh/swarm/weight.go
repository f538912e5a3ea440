package swarm

import (
	"crypto/sha256"
	"encoding/binary"
)

// Link is what bytes cost a device on its way to others: a stable code. Others than these, and none, count as [Wired].
type Link string

// Links that there are.
const (
	Wired    Link = "wired"
	WiFi     Link = "wifi"     // shared air: what it fetches crosses it again for each neighbour
	Cellular Link = "cellular" // paid by the byte
	Battery  Link = "battery"
	Limited  Link = "limited" // it may not ask the origin now, and serves what it has
	Silent   Link = "silent"  // it serves nothing now, and so fetches for nobody
)

// tickets is how many chances a device has to own a unit, beside others: none lets it own what only such devices lack.
func (l Link) tickets() int {
	switch l {
	case WiFi:
		return 1
	case Cellular, Battery, Limited, Silent:
		return 0
	}
	return wordsOfHash
}

// price is how many chunks in flight elsewhere one from this device is worth waiting for.
func (l Link) price() int {
	switch l {
	case WiFi:
		return 2
	case Cellular, Battery:
		return 8
	}
	return 1
}

// atOnce is how many chunks are in flight to a device: air is shared with others.
func (l Link) atOnce() int {
	if l == WiFi {
		return maxFromPeers / 2
	}
	return maxFromPeers
}

const wordsOfHash = sha256.Size / 8

// weigh returns a device's weight for each unit: the highest of as many rendezvous hashes (Thaler and Ravishankar 1998) as it
// has tickets, so that it owns units in proportion to them. The hashes are the words of SHA-256(key, swarm, device). Without a
// ticket its weight is below all others.
func (s *Swarm) weigh(device string, link Link) []uint64 {
	out := make([]uint64, len(s.units))
	for i, u := range s.units {
		b := binary.BigEndian.AppendUint64(make([]byte, 0, 128), u.key)
		sum := sha256.Sum256(append(append(b, s.o.ID...), device...))
		word := func(n int) uint64 { return binary.BigEndian.Uint64(sum[8*n:]) >> 1 }
		for n := range link.tickets() {
			out[i] = max(out[i], word(n)|1<<63)
		}
		if out[i] == 0 {
			out[i] = word(0)
		}
	}
	return out
}
