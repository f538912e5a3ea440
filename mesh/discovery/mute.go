package discovery

import (
	"encoding/binary"
	"net/netip"
	"time"

	"golang.org/x/net/bpf"
)

const (
	muteAfter  = 200    // packets of an address that were too many
	crowdAfter = 10_000 // of all: more than the largest site says when its power comes back
	muteTime   = 10 * time.Second
	maxMuted   = 16
)

// networkHeader is where Linux lets a filter of a socket see the header of IP (SKF_NET_OFF).
const networkHeader = 0xfff00000

// mutes has the kernel drop what comes from the loudest addresses, so that a flood costs little and others are heard between
// its packets. Where the kernel cannot do that, the limits of sources are all there is.
type mutes struct {
	family family
	attach func([]bpf.RawInstruction) error
	until  map[netip.Addr]time.Time
}

// add mutes an address for a while.
func (m *mutes) add(now time.Time, a netip.Addr) {
	if len(m.until) < maxMuted {
		m.until[a] = now.Add(muteTime)
		m.apply()
	}
}

// expire lets those be heard again whose time has come, and returns when that is for the next; zero: nobody is muted.
func (m *mutes) expire(now time.Time) (next time.Time) {
	changed := false
	for a, until := range m.until {
		if now.Before(until) {
			next = sooner(next, until)
			continue
		}
		delete(m.until, a)
		changed = true
	}
	if changed {
		m.apply()
	}
	return next
}

func (m *mutes) apply() {
	raw, err := bpf.Assemble(m.program())
	if err == nil {
		err = m.attach(raw)
	}
	if err != nil {
		clear(m.until) // then it is as before
	}
}

// program drops the packets from some addresses.
func (m *mutes) program() (p []bpf.Instruction) {
	source := uint32(12) // in a header of IPv4
	if m.family == v6 {
		source = 8
	}
	for a := range m.until {
		b := a.AsSlice()
		steps := len(b) / 4
		for i := range steps {
			p = append(p, bpf.LoadAbsolute{Off: networkHeader + source + uint32(4*i), Size: 4},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(b[4*i:]), SkipTrue: uint8(2*(steps-i) - 1)})
		}
		p = append(p, bpf.RetConstant{Val: 0})
	}
	return append(p, bpf.RetConstant{Val: 1 << 18})
}
