package fleet

import (
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/store"
)

// mirror is the fleet in memory, for answers about many devices. Writers apply their own writes at once; the watches of
// the store bring the writes of others, and repeat ours, which the revisions tell. What the mirror knows is durable,
// but for presence.
type mirror struct {
	mu       sync.RWMutex
	devices  map[string]*record
	ids      []string // of devices, sorted
	groups   map[string]*groupRecord
	gone     map[string]int64 // removed group → revision of its removal
	policies map[string]store.Entry[PolicyRecord]
	revision int64 // newest applied
	changed  *hub
	presence *hub
}

// record is one device.
type record struct {
	Device
	revision      int64 // 0: only reported, not known (its Device comes)
	state         State
	stateRevision int64
	seq           uint64 // newest report, also when it said nothing new and was not written
	seen          Presence
	groups        []string // sorted; only of accepted devices
	told          told
}

type groupRecord struct {
	Group
	selector Selector
	revision int64
}

// Has implements Subject.
func (r *record) Has(key string) bool {
	switch key {
	case KeyProduct:
		return r.state.Report.Running.Product != ""
	case KeyVersion:
		return r.state.Report.Running.Version != ""
	case KeyGroup:
		return len(r.groups) > 0
	}
	_, ok := r.Labels[key]
	return ok || BuiltIn(key)
}

// Is implements Subject.
func (r *record) Is(key, value string) bool {
	switch key {
	case KeyID:
		return r.ID == value
	case KeyHardware:
		return r.Hardware == value
	case KeyProduct:
		return r.Has(key) && r.state.Report.Running.Product == value
	case KeyVersion:
		return r.Has(key) && r.state.Report.Running.Version == value
	case KeyPhase:
		return string(r.phase()) == value
	case KeyAdmission:
		return string(r.Admission) == value
	case KeyOnline:
		return value == "true" && r.seen.Online || value == "false" && !r.seen.Online
	case KeyGroup:
		_, ok := slices.BinarySearch(r.groups, value)
		return ok
	}
	v, ok := r.Labels[key]
	return ok && v == value
}

func (r *record) phase() protocol.Phase {
	if r.state.Report.Update == nil {
		return protocol.Idle
	}
	return r.state.Report.Update.Phase
}

func (r *record) view() View {
	return View{Device: r.Device, State: r.state, Presence: r.seen, Groups: slices.Clone(r.groups), Revision: r.revision}
}

func newMirror() *mirror {
	return &mirror{
		devices: map[string]*record{}, groups: map[string]*groupRecord{}, gone: map[string]int64{},
		policies: map[string]store.Entry[PolicyRecord]{},
		changed:  &hub{}, presence: &hub{},
	}
}

// record returns the record of an id, a new one when there is none. The lock is held.
func (m *mirror) record(id string) *record {
	r := m.devices[id]
	if r == nil {
		r = &record{Device: Device{ID: id}}
		m.devices[id] = r
	}
	return r
}

// known returns a device's record, or nil. A lock is held.
func (m *mirror) known(id string) *record {
	if r := m.devices[id]; r != nil && r.revision > 0 {
		return r
	}
	return nil
}

// putDevices applies written devices.
func (m *mirror) putDevices(entries ...store.Entry[Device]) {
	var changed []string
	m.mu.Lock()
	for _, e := range entries {
		r := m.record(e.Key)
		if r.revision >= e.Revision {
			continue
		}
		if r.revision == 0 {
			at, _ := slices.BinarySearch(m.ids, e.Key)
			m.ids = slices.Insert(m.ids, at, e.Key)
		}
		r.Device, r.revision = e.Value, e.Revision
		r.groups = m.groupsOf(r)
		m.revision = max(m.revision, e.Revision)
		changed = append(changed, e.Key)
	}
	m.mu.Unlock()
	m.changed.publish(changed...)
}

// putStates applies written states.
func (m *mirror) putStates(entries ...store.Entry[State]) {
	var changed []string
	m.mu.Lock()
	for _, e := range entries {
		r := m.record(e.Key)
		if r.stateRevision >= e.Revision {
			continue
		}
		r.state, r.stateRevision = e.Value, e.Revision
		r.seq = max(r.seq, e.Value.Report.Seq)
		m.revision = max(m.revision, e.Revision)
		changed = append(changed, e.Key)
	}
	m.mu.Unlock()
	m.changed.publish(changed...)
}

// groupsOf computes the groups of a device. A lock is held.
func (m *mirror) groupsOf(r *record) []string {
	if r.Admission != Accepted {
		return nil
	}
	var groups []string
	for name, g := range m.groups {
		if g.selector.Matches(r) {
			groups = append(groups, name)
		}
	}
	slices.Sort(groups)
	return groups
}

// setGroup applies a written group, or its removal (nil).
func (m *mirror) setGroup(name string, g *groupRecord, revision int64) {
	var changed []string
	m.mu.Lock()
	if old := m.groups[name]; old != nil && old.revision >= revision || m.gone[name] >= revision {
		m.mu.Unlock()
		return
	}
	if g == nil {
		delete(m.groups, name)
		m.gone[name] = revision
	} else {
		m.groups[name] = g
	}
	m.revision = max(m.revision, revision)
	for id, r := range m.devices {
		if groups := m.groupsOf(r); !slices.Equal(groups, r.groups) {
			r.groups = groups
			changed = append(changed, id)
		}
	}
	m.mu.Unlock()
	m.changed.publish(changed...)
}

// touch notes that a device was heard of; online is nil when that says nothing about its connection.
func (m *mirror) touch(id string, now time.Time, online *bool) {
	m.mu.Lock()
	r := m.known(id)
	flipped := false
	if r != nil {
		r.seen.LastSeen = now
		if online != nil {
			flipped = r.seen.Online != *online
			r.seen.Online = *online
		}
	}
	m.mu.Unlock()
	if flipped {
		m.presence.publish(id)
	}
}

// news reports whether a report is newer than all before, and whether it says anything but that time has passed.
func (m *mirror) news(r *protocol.Report) (newer, different bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.record(r.Device)
	if known.stateRevision > 0 && r.Seq <= known.seq {
		return false, false
	}
	old, now := known.state.Report, *r
	old.Seq, old.Time, now.Seq, now.Time = 0, time.Time{}, 0, time.Time{}
	if known.stateRevision > 0 && reflect.DeepEqual(old, now) {
		known.seq = r.Seq
		return true, false
	}
	return true, true
}
