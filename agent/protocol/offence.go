package protocol

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Offence is what a device says that a neighbour did to it. It is an accusation and no proof: a device that lies can
// accuse honest ones, and packets of a flood can be forged. It is for people, who compare what several devices say;
// nobody is shut out because of it.
type Offence struct {
	Neighbor string      `json:"neighbor"` // device id, or the address from which a flood says to come
	Kind     OffenceKind `json:"kind"`
	Count    int         `json:"count"` // at least 1
	Last     time.Time   `json:"last"`  // by the clock of the device that says so
}

// OffenceKind is the stable code of an offence. A newer agent may know others than these.
type OffenceKind string

// The kinds there are.
const (
	OffenceWrongBytes OffenceKind = "wrong-bytes" // it gave bytes that are not what was asked for
	OffenceNoDeeds    OffenceKind = "no-deeds"    // it said that it had chunks and failed, again and again, to give them
	OffenceFlood      OffenceKind = "flood"       // its packets were so many that they were not read any more
)

// Bounds of offences.
const (
	MaxOffences    = 16 // in a Report
	maxOffenceKind = 32 // bytes
)

// Check reports what is wrong with an offence.
func (o Offence) Check() error {
	if firmware.CheckName("neighbour", o.Neighbor) != nil {
		a, err := netip.ParseAddr(o.Neighbor[:min(len(o.Neighbor), maxAddress)])
		if err != nil || a.Zone() != "" {
			return fmt.Errorf("offence: %.64q is neither a device id nor an address without a zone", o.Neighbor)
		}
	}
	if err := firmware.CheckName("kind", string(o.Kind)); err != nil || len(o.Kind) > maxOffenceKind {
		return fmt.Errorf("offence: %.64q is no kind", o.Kind)
	}
	if o.Count < 1 {
		return fmt.Errorf("offence: it happened %d times", o.Count)
	}
	return nil
}

// boundOffences cuts off what a report says too much of offences, and refuses what is none.
func (r *Report) boundOffences() error {
	r.Offences = r.Offences[:min(len(r.Offences), MaxOffences)]
	for i := range r.Offences {
		if err := r.Offences[i].Check(); err != nil {
			return err
		}
		r.Offences[i].Last = r.Offences[i].Last.UTC()
	}
	return nil
}
