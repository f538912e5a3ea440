package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/waxwing-ota/waxwing/server/conductor"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/server/store"
)

const (
	heartbeat = 15 * time.Second
	// gather is how long changes are collected before they are told, so that a busy fleet costs a page few events and a
	// change is still seen at once.
	gather = 100 * time.Millisecond
	// crowd is how many devices may change in one gathering before they are told as one event with the id "*".
	crowd = 100
)

// kindOf maps a collection of the store to the kind of thing that an event speaks of.
func kindOf(collection string) string {
	switch collection {
	case fleet.DevicesName, fleet.StatesName:
		return "device"
	case fleet.GroupsName:
		return "group"
	case release.ProductsName, release.ReleasesName:
		return "release"
	case conductor.RolloutsName, conductor.MembersName:
		return "rollout"
	}
	return ""
}

// change is one event.
type change struct {
	Kind     string `json:"kind"`
	ID       string `json:"id"`
	Revision int64  `json:"revision"`
}

// StreamEvents implements the operation.
func (s *Server) StreamEvents(ctx context.Context, q StreamEventsRequestObject) (StreamEventsResponseObject, error) {
	var after int64
	if last := value(q.Params.LastEventID); last != "" {
		n, err := strconv.ParseInt(last, 10, 64)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("Last-Event-ID %q is no revision: %w", last, release.ErrInvalid)
		}
		after = n
	}
	return &eventStream{ctx: ctx, server: s, after: after}, nil
}

// eventStream is one client's stream. It lives as long as the request that it answers, whose context it keeps.
type eventStream struct {
	ctx     context.Context //nolint:containedctx // see above: the generated code hands a response no context
	server  *Server
	after   int64
	w       http.ResponseWriter
	control *http.ResponseController
	pending map[change]int64 // kind and id → revision
}

// VisitStreamEventsResponse implements StreamEventsResponseObject.
func (e *eventStream) VisitStreamEventsResponse(w http.ResponseWriter) error {
	e.w, e.control = w, http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // a proxy shall not hold events back
	w.WriteHeader(http.StatusOK)
	if err := e.stream(); e.ctx.Err() == nil {
		e.server.Log.Debug("an event stream broke off; the client comes back by itself", "error", err)
	}
	return nil
}

// stream opens the stream and tells changes until the client is gone or the store is.
func (e *eventStream) stream() error {
	err := e.open()
	for err == nil {
		if err = e.follow(); !errors.Is(err, store.ErrCompacted) {
			return err
		}
		// The past that the client asked for is forgotten.
		if e.after, err = e.revision(); err == nil {
			err = e.send("reset", e.after, struct{}{})
		}
	}
	return err
}

// open tells where the stream begins; the client knows from it that it is connected.
func (e *eventStream) open() error {
	now, err := e.revision()
	if err != nil {
		return err
	}
	if e.after > now { // the store was set back, or this is another server: what the client knows is not of this past
		e.after = 0
		if err := e.send("reset", now, struct{}{}); err != nil {
			return err
		}
	}
	if e.after == 0 {
		e.after = now
	}
	return e.send("ready", e.after, struct{}{})
}

func (e *eventStream) revision() (int64, error) {
	r, err := e.server.Store.Client().Get(e.ctx, store.Prefix, clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return r.Header.Revision, nil
}

// follow tells changes until the client leaves, the server ends, or the watch does.
func (e *eventStream) follow() error {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	watch := e.server.Store.Client().Watch(clientv3.WithRequireLeader(ctx), store.Prefix, clientv3.WithPrefix(), clientv3.WithRev(e.after+1))
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	presence := e.presence(ctx)
	var due <-chan time.Time
	e.pending = map[change]int64{}
	for {
		select {
		case r, ok := <-watch:
			switch {
			case !ok:
				return ctx.Err()
			case r.CompactRevision != 0:
				return store.ErrCompacted
			case r.Err() != nil:
				return r.Err()
			}
			if e.collect(r.Events); len(e.pending) > 0 && due == nil {
				due = time.After(gather)
			}
		case ids := <-presence:
			for _, id := range ids {
				if c := (change{Kind: "device", ID: id}); e.pending[c] == 0 {
					e.pending[c] = e.after // it is in no document, so it has no revision of its own
				}
			}
			if due == nil {
				due = time.After(gather)
			}
		case <-due:
			due = nil
			if err := e.flush(); err != nil {
				return err
			}
		case <-beat.C:
			if err := e.write(":\n\n"); err != nil {
				return err
			}
		case <-e.server.ending:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// presence hands over the devices that came or went, until ctx ends.
func (e *eventStream) presence(ctx context.Context) <-chan []string {
	feed := e.server.Fleet.SubscribePresence()
	out := make(chan []string)
	go func() {
		defer feed.Close()
		for {
			ids, err := feed.Next(ctx)
			if err != nil {
				return
			}
			select {
			case out <- ids:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func (e *eventStream) collect(events []*clientv3.Event) {
	for _, ev := range events {
		collection, key, _ := strings.Cut(strings.TrimPrefix(string(ev.Kv.Key), store.Prefix), "/")
		kind := kindOf(collection)
		switch kind {
		case "":
			continue
		case "rollout": // members are below their rollout
			key, _, _ = strings.Cut(key, "/")
		}
		e.pending[change{Kind: kind, ID: key}] = ev.Kv.ModRevision
	}
}

// flush tells what was gathered in the order of revisions: a client that has seen one has seen all before it.
func (e *eventStream) flush() error {
	devices, newest := 0, int64(0)
	for c, revision := range e.pending {
		if c.Kind == "device" {
			devices++
			newest = max(newest, revision)
		}
	}
	var changes []change
	for c, revision := range e.pending {
		if c.Kind != "device" || devices <= crowd {
			c.Revision = revision
			changes = append(changes, c)
		}
	}
	if devices > crowd {
		changes = append(changes, change{Kind: "device", ID: "*", Revision: newest})
	}
	slices.SortFunc(changes, func(a, b change) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), strings.Compare(a.Kind+a.ID, b.Kind+b.ID))
	})
	clear(e.pending)
	for i, c := range changes {
		id := c.Revision
		if i+1 < len(changes) && changes[i+1].Revision == id {
			id = 0 // one transaction, several events: only the last one lets a client forget the others
		}
		if err := e.send(c.Kind, id, c); err != nil {
			return err
		}
		e.after = c.Revision
	}
	return nil
}

// send writes one event; an id of 0 is left out.
func (e *eventStream) send(kind string, id int64, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return err
	}
	var line string
	if id > 0 {
		line = fmt.Sprintf("id: %d\n", id)
	}
	return e.write(fmt.Sprintf("event: %s\n%sdata: %s\n\n", kind, line, b))
}

// write sends text at once. Each write has its own time: the connection itself may stay open for days.
func (e *eventStream) write(text string) error {
	if err := e.control.SetWriteDeadline(time.Now().Add(patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := e.w.Write([]byte(text)); err != nil {
		return err
	}
	return e.control.Flush()
}
