package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

const (
	againAfter = time.Second     // before an event stream is opened again
	lookAlways = 5 * time.Second // how often a rollout is looked at when no event comes: soak times pass without one
)

// watch follows a rollout to its end: a table that is drawn again on a terminal, or a line for each change.
func (a *app) watch(ctx context.Context, api *client.Client, id string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed := make(chan struct{}, 1)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return follow(gctx, api, id, changed) })
	g.Go(func() error {
		defer cancel()
		return a.draw(gctx, api, id, changed)
	})
	err := g.Wait()
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// draw shows the rollout whenever it changed, and returns when it ended.
func (a *app) draw(ctx context.Context, api *client.Client, id string, changed <-chan struct{}) error {
	screen := &screen{w: a.words}
	if f, ok := a.words.(*os.File); ok {
		screen.terminal = term.IsTerminal(int(f.Fd()))
	}
	tick := time.NewTicker(lookAlways)
	defer tick.Stop()
	for {
		r, err := call[client.Rollout](api.GetRollout(ctx, id))
		var problem *problemError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &problem):
			return err
		case err != nil:
			screen.line("the server does not answer; trying on")
		default:
			screen.show(r)
			if r.State == client.RolloutStateCompleted || r.State == client.RolloutStateAborted {
				return a.ended(r)
			}
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *app) ended(r client.Rollout) error {
	if err := a.printRollout(r, nil); err != nil {
		return err
	}
	if r.State == client.RolloutStateAborted {
		return errAborted
	}
	return nil
}

// screen draws a rollout on a terminal over itself; elsewhere it writes a line when something changed.
type screen struct {
	w        io.Writer
	terminal bool
	lines    int
	last     string
}

func (s *screen) show(r client.Rollout) {
	if !s.terminal {
		c := r.Counts
		s.line(fmt.Sprintf("%s  stage %d/%d  pending %d  busy %d  proving %d  done %d  failed %d", r.State, r.Stage+1, len(r.Stages),
			c.Pending, c.Waiting+c.Downloading+c.Installing+c.Rebooting, c.Proving, c.Succeeded, c.Failed))
		return
	}
	if r.State == client.RolloutStateCompleted || r.State == client.RolloutStateAborted {
		s.clear()
		return // the end goes to standard output
	}
	var b bytes.Buffer
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	rolloutTable(w, r)
	_ = w.Flush() // into memory
	s.clear()
	s.lines = bytes.Count(b.Bytes(), []byte("\n"))
	_, _ = s.w.Write(b.Bytes())
}

func (s *screen) line(text string) {
	if text == s.last {
		return
	}
	s.last = text
	s.clear()
	fmt.Fprintln(s.w, text)
}

// clear takes away what show wrote last.
func (s *screen) clear() {
	if s.lines > 0 {
		fmt.Fprintf(s.w, "\x1b[%dA\x1b[J", s.lines)
	}
	s.lines = 0
}

// follow reads the event stream and tells when the rollout may have changed. A stream that breaks is opened again after
// the last event, so nothing is missed.
func follow(ctx context.Context, api *client.Client, id string, changed chan<- struct{}) error {
	var last *string
	for {
		r, err := api.StreamEvents(ctx, &client.StreamEventsParams{LastEventID: last})
		if err == nil && r.StatusCode == http.StatusOK {
			readEvents(r.Body, func(event, eventID, data string) {
				if eventID != "" {
					last = &eventID
				}
				if event == "rollout" && !concerns(data, id) || event != "rollout" && event != "reset" && event != "ready" {
					return
				}
				select {
				case changed <- struct{}{}:
				default:
				}
			})
		}
		if err == nil {
			r.Body.Close()
		}
		select {
		case <-time.After(againAfter):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func concerns(data, id string) bool {
	var c struct{ ID string }
	return json.Unmarshal([]byte(data), &c) == nil && (c.ID == id || c.ID == "*")
}

// readEvents reads server-sent events until the stream ends.
func readEvents(stream io.Reader, on func(event, id, data string)) {
	lines := bufio.NewScanner(stream)
	var event, id, data string
	for lines.Scan() {
		field, v, _ := strings.Cut(lines.Text(), ":")
		v = strings.TrimPrefix(v, " ")
		switch {
		case lines.Text() == "":
			if event != "" || data != "" {
				on(event, id, data)
			}
			event, id, data = "", "", ""
		case field == "event":
			event = v
		case field == "id":
			id = v
		case field == "data":
			data = v
		}
	}
}
