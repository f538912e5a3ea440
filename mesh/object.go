package mesh

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
)

const (
	maxAsked = 64                     // neighbours that are asked for an object
	askAgain = 200 * time.Millisecond // who is about to have it
)

// Object asks neighbours for small content with a digest, such as an index. The error matches firmware.ErrNotFound when
// none of them has it. What comes is verified.
//
// Devices that need the same content at the same moment let one of them fetch it: the first by rendezvous hash of (content,
// device), unless another has begun already. The others wait for it here, but not for long. So whoever is told
// ErrNotFound is expected to fetch it now, and to have it in Options.Objects then.
func (m *Mesh) Object(ctx context.Context, sum firmware.Digest, limit int64) ([]byte, error) {
	if m.o.Off {
		return nil, fmt.Errorf("object %s: there are no neighbours: %w", sum, firmware.ErrNotFound)
	}
	most := 2 * m.o.Stall
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	m.server.Say(sum, exchange.Seeking, most)
	ask := m.ranked(sum)
	for {
		b, ahead, err := m.askAll(ctx, sum, limit, ask)
		switch {
		case b != nil:
			m.server.Say(sum, exchange.None, most)
			return b, nil
		case len(ahead) == 0 || ctx.Err() != nil:
			m.server.Say(sum, exchange.Fetching, most)
			return nil, fmt.Errorf("object %s: no neighbour has it: %w", sum, errors.Join(firmware.ErrNotFound, err))
		}
		ask = ahead
		again := time.NewTimer(askAgain)
		select {
		case <-ctx.Done():
		case <-again.C:
		}
		again.Stop()
	}
}

// candidate is a neighbour that is asked for an object.
type candidate struct {
	Neighbor
	before bool // it comes before this device when both need it
}

// ranked returns neighbours in the order in which they would fetch an object.
func (m *Mesh) ranked(sum firmware.Digest) []candidate {
	weight := func(device string) []byte {
		h := sha256.Sum256(append(sum[:len(sum):len(sum)], device...))
		return h[:]
	}
	mine := weight(m.o.Device)
	var out []candidate
	for _, n := range m.Neighbors() {
		out = append(out, candidate{n, bytes.Compare(weight(n.ID), mine) > 0})
	}
	slices.SortFunc(out, func(a, b candidate) int { return bytes.Compare(weight(b.ID), weight(a.ID)) })
	return out[:min(len(out), maxAsked)]
}

// askAll asks neighbours, four at a time, until one has the object. Otherwise it returns those who will have it before this
// device, and the error of the first that did not help.
func (m *Mesh) askAll(ctx context.Context, sum firmware.Digest, limit int64, ask []candidate) (b []byte, ahead []candidate, err error) {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	got, later := make(chan []byte, len(ask)), make(chan candidate, len(ask))
	var g errgroup.Group
	g.SetLimit(4)
	for _, n := range ask {
		g.Go(func() error {
			b, err := m.client.Object(ctx, n.Addr, sum, limit)
			var is *exchange.InterestError
			switch {
			case err == nil:
				got <- b
				enough()
			case errors.As(err, &is) && (n.before || is.Interest == exchange.Fetching):
				later <- n
			}
			return err
		})
	}
	err = g.Wait()
	close(later)
	for n := range later {
		ahead = append(ahead, n)
	}
	select {
	case b = <-got:
	default:
	}
	return b, ahead, err
}
