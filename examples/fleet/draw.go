package fleet

import (
	"fmt"
	"strings"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

// picture is a rollout at the site, at one moment.
type picture struct {
	Version       string
	State         client.RolloutState
	Stage, Stages int // the open one counts from 1
	Counts        client.Counts
	Origin, Peers int64 // bytes, over the uplink and between neighbours
	Alone         int64 // bytes that the devices would have fetched had each fetched alone
	Most          int64 // bytes that fill a bar; 0: not known
}

// Colours of the bars on a terminal.
const (
	blue   = "\x1b[34m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

// draw returns the picture as lines of at most width columns. Only with colour there are escape codes in it.
func (p picture) draw(width int, colour bool) []string {
	const label, amount = 12, 13 // columns
	room := max(min(width, 100)-label-amount-3, 8)
	most := max(p.Most, p.Origin, p.Peers, p.Alone, 1)
	bar := func(name, tone string, n int64) string {
		full := int(int64(room) * n / most)
		if n > 0 {
			full = max(full, 1) // something is never nothing
		}
		blocks, rest := strings.Repeat("█", full), strings.Repeat("░", room-full)
		if colour {
			blocks = tone + blocks + plain
		}
		return fmt.Sprintf("  %-*s%s%s %*s", label, name, blocks, rest, amount, size(n))
	}
	return []string{
		cut("  "+p.standing(), width),
		bar("uplink", blue, p.Origin),
		bar("neighbours", yellow, p.Peers),
		cut("  "+p.saved(), width),
	}
}

// line is the picture in one line, for where nothing can be drawn over.
func (p picture) line() string {
	return fmt.Sprintf("%s · uplink %s · neighbours %s", p.standing(), size(p.Origin), size(p.Peers))
}

// standing says how far the rollout is.
func (p picture) standing() string {
	c := p.Counts
	words := []string{fmt.Sprintf("%s, stage %d of %d: %d of %d done", p.Version, p.Stage, p.Stages, c.Succeeded, c.Total)}
	for _, part := range []struct {
		n    int
		word string
	}{
		{c.Failed, "failed"},
		{c.Proving, "proving"},
		{c.Rebooting, "restarting"},
		{c.Installing, "installing"},
		{c.Downloading, "downloading"},
	} {
		if part.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", part.n, part.word))
		}
	}
	if p.State != client.RolloutStateRunning {
		words = append(words, string(p.State))
	}
	return strings.Join(words, ", ")
}

// saved says what neighbours saved the uplink so far, or why nothing can be said.
func (p picture) saved() string {
	switch {
	case p.Origin+p.Peers == 0:
		return "Nothing has moved yet."
	case p.Origin == 0:
		return fmt.Sprintf("Nothing crossed the uplink; had each device fetched alone: %s.", size(p.Alone))
	case p.Alone <= p.Origin:
		return "Nothing saved so far: the first device has nobody to ask."
	}
	return fmt.Sprintf("%s less over the uplink than had each device fetched alone (%s).", p.factor(), size(p.Alone))
}

func (p picture) factor() string {
	return fmt.Sprintf("%.1f×", float64(p.Alone)/float64(p.Origin))
}

// summary is the last word on a rollout: the exact totals.
func (p picture) summary() string {
	text := fmt.Sprintf("%s: %d bytes over the uplink, %d bytes between neighbours; had each device fetched alone: %d bytes", p.Version,
		p.Origin, p.Peers, p.Alone)
	if p.Alone > p.Origin && p.Origin > 0 {
		text += ", " + p.factor() + " as many"
	}
	return text + "."
}

// cut shortens a line, so that a terminal does not break it: what is drawn over is counted in lines.
func cut(s string, width int) string {
	if r := []rune(s); len(r) > width {
		return string(r[:max(width-1, 0)]) + "…"
	}
	return s
}
