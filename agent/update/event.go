package update

import (
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
)

// Event is something that happened.
type Event interface{ event() }

// Booted is the first event of every process: which slot runs, under which boot of the machine.
type Booted struct {
	Slot   string
	Boot   string          // differs for every start of the machine, stays the same when only the agent starts again
	Trial  bool            // the loader starts this slot on trial
	SHA256 firmware.Digest // of the manifest of what the slot holds; zero: unknown
}

// Desired is what the signed policy wishes of this device now.
type Desired struct{ Wish Wish }

// Checked says that manifest and index are genuine and fit this device.
type Checked struct {
	Job  uint64
	Slot string // where it will be written
	Size int64  // plain bytes
}

// Assembled says that the payload lies in the slot, read back and equal to its digest.
type Assembled struct {
	Job     uint64
	Bytes   protocol.Bytes
	Sources []protocol.Source
}

// Progressed tells how far a download is.
type Progressed struct {
	Job     uint64
	Bytes   protocol.Bytes
	Sources []protocol.Source
}

// Armed says that the loader will start the new slot next.
type Armed struct{ Job uint64 }

// ProbesPassed says that every health probe passed in time.
type ProbesPassed struct{ Job uint64 }

// Confirmed says that the loader keeps the slot and the counter is raised.
type Confirmed struct{ Job uint64 }

// FailedJob says that a job failed. Transient failures are tried again; for probes it is ignored.
type FailedJob struct {
	Job       uint64
	Reason    protocol.Reason
	Detail    string
	Transient bool
}

// Ticked says that time has passed.
type Ticked struct{}

func (Booted) event()       {}
func (Desired) event()      {}
func (Checked) event()      {}
func (Assembled) event()    {}
func (Progressed) event()   {}
func (Armed) event()        {}
func (ProbesPassed) event() {}
func (Confirmed) event()    {}
func (FailedJob) event()    {}
func (Ticked) event()       {}

// Effect is something that the caller does after it has stored the State.
type Effect interface{ effect() }

// Cancel stops whatever job runs.
type Cancel struct{}

// Check verifies manifest and index of the target. Answered by Checked or FailedJob.
type Check struct {
	Job    uint64
	Target Target
}

// Assemble writes the payload into the slot that does not run. Answered by Assembled or FailedJob.
type Assemble struct {
	Job    uint64
	Target Target
	Slot   string
}

// Arm tells the loader to try the slot. Answered by Armed or FailedJob.
type Arm struct {
	Job   uint64
	Slot  string
	Tries int
}

// Reboot starts the machine again. Answered by the next Booted, or by FailedJob.
type Reboot struct{ Job uint64 }

// Probe runs the health probes for at most For. Answered by ProbesPassed or FailedJob.
type Probe struct {
	Job    uint64
	Target Target
	Slot   string
	For    time.Duration
}

// Confirm marks the slot good, then raises the counter. Answered by Confirmed or FailedJob.
type Confirm struct {
	Job    uint64
	Target Target
	Slot   string
}

// Keep marks the running slot good without any counter: it was proven before, and the loader may have counted a start.
type Keep struct{ Slot string }

// Revert marks the slot bad and reboots. Answered by the next Booted, or by FailedJob.
type Revert struct {
	Job  uint64
	Slot string
}

// Report says that there is something new to tell.
type Report struct{}

func (Cancel) effect()   {}
func (Check) effect()    {}
func (Assemble) effect() {}
func (Arm) effect()      {}
func (Reboot) effect()   {}
func (Probe) effect()    {}
func (Confirm) effect()  {}
func (Keep) effect()     {}
func (Revert) effect()   {}
func (Report) effect()   {}
