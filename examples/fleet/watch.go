package fleet

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

// Site is the label of all devices.
const Site = "demo"

const (
	lookEvery = 200 * time.Millisecond
	lineEvery = 2 * time.Second // where pictures cannot be drawn over each other
	narrowest = 40              // columns of a terminal that says nonsense
)

// watch draws a rollout until it has ended.
func (f *Fleet) watch(ctx context.Context, id string) error {
	s := newScreen(f.o.Out)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		p, err := f.look(ctx, id)
		if err != nil {
			return err
		}
		ended := p.State == client.RolloutStateCompleted || p.State == client.RolloutStateAborted
		s.show(p, time.Now(), ended)
		if ended {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// look asks the server how far a rollout is, and what it has cost the site.
func (f *Fleet) look(ctx context.Context, id string) (picture, error) {
	r, err := f.Rollout(ctx, id)
	if err != nil {
		return picture{}, err
	}
	p := picture{Version: r.Version, State: r.State, Stage: r.Stage + 1, Stages: len(r.Stages), Counts: r.Counts}
	one := 1
	site, err := f.API.GetSiteWithResponse(ctx, Site, &client.GetSiteParams{PageSize: &one})
	if err != nil {
		return picture{}, err
	}
	if site.JSON200 == nil {
		return picture{}, fmt.Errorf("site %s: %s", Site, site.Body)
	}
	for _, u := range site.JSON200.Site.Updates {
		if u.Product == r.Product && u.Version == r.Version {
			p.Origin, p.Peers, p.Alone = u.Bytes.Origin, u.Bytes.Peers, u.Alone
		}
	}
	p.Most = f.alone[r.Version] * int64(r.Counts.Total)
	return p, nil
}

// screen draws pictures over each other on a terminal; elsewhere it writes a line now and then.
type screen struct {
	w        io.Writer
	terminal func() (columns int, ok bool)
	colour   bool
	lines    int // that were drawn last
	last     string
	at       time.Time // of last
}

func newScreen(w io.Writer) *screen {
	s := &screen{w: w, terminal: func() (int, bool) { return 0, false }}
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb" {
		s.colour = os.Getenv("NO_COLOR") == ""
		s.terminal = func() (int, bool) {
			columns, _, err := term.GetSize(int(file.Fd()))
			if err != nil {
				columns = 80
			}
			return max(columns, narrowest), true
		}
	}
	return s
}

// show draws a picture. The last one stays.
func (s *screen) show(p picture, now time.Time, last bool) {
	columns, ok := s.terminal()
	if !ok {
		if line := p.line(); line != s.last && (last || now.Sub(s.at) >= lineEvery) {
			s.last, s.at = line, now
			fmt.Fprintln(s.w, line)
		}
		return
	}
	lines := p.draw(columns, s.colour)
	text := strings.Join(lines, "\n")
	if text == s.last {
		return // so that nothing flickers
	}
	s.last = text
	var b strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA\x1b[J", s.lines)
	}
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	s.lines = len(lines)
	_, _ = io.WriteString(s.w, b.String()) // w's own errors show where it is used
}
