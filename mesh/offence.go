package mesh

import (
	"errors"
	"net/netip"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// Offence is something that a neighbour did and should not have done. It is what this device saw, not a proof for others.
type Offence struct {
	// Neighbor is the device by its certificate. Of a flood it is the address from which the packets say to come, which
	// anybody on the link can forge, or the group to which they went when they say to come from many.
	Neighbor string
	Kind     Kind
}

// Kind is the stable code of an offence.
type Kind string

// The offences there are.
const (
	WrongBytes = Kind(swarm.WrongBytes) // it gave bytes that are not what was asked for
	NoDeeds    = Kind(swarm.NoDeeds)    // it says that it has chunks and fails, again and again, to give them
	Flood      = Kind("flood")          // so many packets of discovery that they were not read any more
)

// offended tells of an offence.
func (m *Mesh) offended(neighbor string, kind Kind) {
	m.o.Log.Warn("a neighbour offends", "neighbor", neighbor, "kind", kind)
	if m.o.Offended != nil {
		m.o.Offended(Offence{Neighbor: neighbor, Kind: kind})
	}
}

// flooded hears of an address that discovery does not listen to for a while.
func (m *Mesh) flooded(from netip.Addr) { m.offended(from.WithZone("").String(), Flood) }

// gaveObject hears what came of asking a neighbour for small content.
func (m *Mesh) gaveObject(neighbor string, err error) {
	if errors.Is(err, firmware.ErrCorrupt) {
		m.offended(neighbor, WrongBytes)
	}
}
