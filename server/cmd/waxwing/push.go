package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/api/client"
)

const (
	pushers    = 4      // chunks on their way at once
	askAtOnce  = 10_000 // chunk ids in one question, the contract's limit
	octets     = "application/octet-stream"
	tries      = 4 // of one chunk: a push of an hour should survive a hiccup
	pauseFirst = 500 * time.Millisecond
)

// push sends the chunks of an index that the server lacks, and the index. frame returns a chunk as it is stored.
func (a *app) push(
	ctx context.Context, api *client.Client, x *firmware.Index, frame func(ctx context.Context, i int) ([]byte, error),
) (sent int64, err error) {
	first := map[firmware.ChunkID]int{}
	var ids []client.SHA256
	for i, c := range x.Chunks {
		if _, ok := first[c.ID]; !ok {
			first[c.ID] = i
			ids = append(ids, c.ID.String())
		}
	}
	var missing []int
	var bytesMissing int64
	for at := 0; at < len(ids); at += askAtOnce {
		answer, err := call[client.ChunkIDs](api.MissingChunks(ctx, client.ChunkIDs{Ids: ids[at:min(at+askAtOnce, len(ids))]}))
		if err != nil {
			return 0, err
		}
		for _, text := range answer.Ids {
			id, err := firmware.ParseDigest(text)
			if err != nil {
				return 0, err
			}
			i, ok := first[id]
			if !ok {
				return 0, fmt.Errorf("the server lacks chunk %s, which it was not asked about", id)
			}
			missing = append(missing, i)
			bytesMissing += int64(x.Chunks[i].Size)
		}
	}
	m := a.meter("pushing", bytesMissing)
	sizes := make([]int64, len(missing))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(pushers)
	for n, i := range missing {
		g.Go(func() error {
			b, err := frame(gctx, i)
			if err != nil {
				return err
			}
			sizes[n] = int64(len(b))
			if err := again(gctx, func() error {
				_, err := call[none](api.PutChunkWithBody(gctx, x.Chunks[i].ID.String(), octets, bytes.NewReader(b)))
				return err
			}); err != nil {
				return err
			}
			m.add(int64(x.Chunks[i].Size))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	for _, n := range sizes {
		sent += n
	}
	encoded := x.Encode()
	err = again(ctx, func() error {
		_, err := call[none](api.PutIndexWithBody(ctx, firmware.Sum(encoded).String(), octets, bytes.NewReader(encoded)))
		return err
	})
	m.end("pushed %d of %d chunks, %s", len(missing), len(ids), size(sent))
	return sent, err
}

// again repeats what fails without an answer of the server.
func again(ctx context.Context, do func() error) error {
	pause := pauseFirst
	for n := 1; ; n++ {
		err := do()
		if err == nil || isProblem(err) || n == tries || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// settled waits until a release is no longer being built.
func (a *app) settled(ctx context.Context, api *client.Client, r client.Release) (client.Release, error) {
	m := a.meter("building on the server", r.Progress.Total)
	for r.State == client.ReleaseStateBuilding {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return r, ctx.Err()
		}
		next, err := call[client.Release](api.GetRelease(ctx, r.Product, r.Version))
		if err != nil {
			return r, err
		}
		r = next
		m.at(r.Progress.Done)
	}
	if r.State == client.ReleaseStateFailed {
		return r, fmt.Errorf("release %s %s failed: %s", r.Product, r.Version, value(r.Error))
	}
	return r, nil
}
