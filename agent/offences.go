package agent

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
)

const (
	offendedFor  = 24 * time.Hour // that an offence is told
	accuseEvery  = time.Minute    // new ones are told at once, and then not more often: who forges many would make this device talk
	recountEvery = time.Hour      // and how often they were, if nothing else is new
	maxOffences  = 8 << 10        // bytes of their file
)

// offences is what neighbours did to this device. What is told with a certificate stays before what anybody can forge.
type offences struct {
	now     func() time.Time
	changed func() // the report says something else now
	log     *slog.Logger
	file    string
	wake    chan struct{} // buffer of one

	mu   sync.Mutex
	all  []protocol.Offence // the newest first; those that are too old are not told
	news bool               // a neighbour did something for the first time
	more bool               // or again
}

func newOffences(a *Agent) *offences {
	o := &offences{
		now: a.Now, changed: a.look, log: a.Log, wake: make(chan struct{}, 1),
		file: filepath.Join(a.Config.Path(stateDir), "offences.json"),
	}
	o.load()
	return o
}

// hear notes an offence.
func (o *offences) hear(neighbor string, kind protocol.OffenceKind) {
	x := protocol.Offence{Neighbor: neighbor, Kind: kind, Count: 1, Last: o.now().UTC().Truncate(time.Second)}
	if x.Check() != nil {
		return // no certificate and no address says so
	}
	o.mu.Lock()
	if i := slices.IndexFunc(o.all, func(y protocol.Offence) bool { return y.Neighbor == neighbor && y.Kind == kind }); i >= 0 {
		if o.recent(o.all[i]) {
			x.Count += o.all[i].Count
		}
		o.all = slices.Delete(o.all, i, i+1)
	}
	o.news, o.more = o.news || x.Count == 1, true
	o.all = slices.Insert(o.all, 0, x)
	if len(o.all) > protocol.MaxOffences {
		o.evict()
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// evict makes room: the oldest goes, a flood before all others, as it costs nothing to forge many. The lock is held.
func (o *offences) evict() {
	victim := len(o.all) - 1
	for i, x := range o.all {
		if x.Kind == protocol.OffenceFlood {
			victim = i
		}
	}
	o.all = slices.Delete(o.all, victim, victim+1)
}

// recent reports whether an offence is still told. A clock that is set does not keep it for ever.
func (o *offences) recent(x protocol.Offence) bool { return o.now().Sub(x.Last).Abs() < offendedFor }

// list returns what is told.
func (o *offences) list() (out []protocol.Offence) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, x := range o.all {
		if o.recent(x) {
			out = append(out, x)
		}
	}
	return out
}

// run tells of what is heard, and of what is forgotten, until ctx ends.
func (o *offences) run(ctx context.Context) error {
	defer o.end()
	var told time.Time // by a clock that nobody sets
	pause := accuseEvery
	known := len(o.list())
	timer := time.NewTimer(recountEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-o.wake:
		case <-timer.C:
		}
		wait, since := recountEvery, time.Since(told)
		if every, due := o.due(pause); due {
			wait = every - since
		}
		switch now := len(o.list()); {
		case wait <= 0:
			pause = min(2*pause, recountEvery) // who goes on is told less and less often
			if since > recountEvery {
				pause = accuseEvery
			}
			told, wait = time.Now(), recountEvery
			o.save()
			o.changed()
		case now < known:
			o.changed()
		}
		known = len(o.list())
		timer.Reset(min(wait, recountEvery))
	}
}

// due reports whether there is something to tell, and how long after the last time.
func (o *offences) due(pause time.Duration) (every time.Duration, due bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.news {
		return pause, true
	}
	return recountEvery, o.more
}

// end keeps what was not worth a write until now.
func (o *offences) end() {
	if _, due := o.due(0); due {
		o.save()
	}
}

// save keeps what is told, through a reboot.
func (o *offences) save() {
	o.mu.Lock() // also while it is written, so that the newest is what stays
	defer o.mu.Unlock()
	o.news, o.more = false, false
	b, err := json.Marshal(o.all)
	if err == nil {
		err = atomicfile.Write(o.file, b, 0o600)
	}
	if err != nil {
		o.log.Debug("what neighbours did is not kept", "error", err)
	}
}

func (o *offences) load() {
	b, err := atomicfile.Read(o.file, maxOffences)
	if err != nil {
		return // there is none, ordinarily
	}
	var all []protocol.Offence
	_ = json.Unmarshal(b, &all) // what is damaged is not known any more
	for _, x := range all {
		if x.Check() == nil && len(o.all) < protocol.MaxOffences {
			o.all = append(o.all, x)
		}
	}
}
