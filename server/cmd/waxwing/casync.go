package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/assemble"
)

// casyncFlags say where what casync wrote is.
type casyncFlags struct{ index, store, out, seed, seedIndex string }

// withCasync lets `release extract` also read an index and a chunk store that casync or desync wrote.
func (a *app) withCasync(c *cobra.Command) *cobra.Command {
	var o casyncFlags
	f := c.Flags()
	f.StringVar(&o.index, "index", "", "`FILE.caibx` of casync, unsigned, instead of --repo and --release")
	f.StringVar(&o.store, "store", "", "`DIR` of casync's chunks, with --index")
	f.StringVar(&o.seedIndex, "seed-index", "", "`FILE.caibx` that describes the seed, with --index")
	c.Long += `

With --index and --store it extracts what "casync make" wrote, with either of its digests. Nothing there is signed: what
comes out is what the index describes, and no more is known of it.`
	c.Example += "\n  waxwing release extract --index image.caibx --store default.castr --seed old.img --seed-index old.caibx --out new.img"
	release := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if o.index == "" && o.store == "" && o.seedIndex == "" {
			return release(c, args)
		}
		for _, name := range []string{"repo", "release", "component", "seed-release", "root", "ca"} {
			if c.Flags().Changed(name) {
				return usage("--%s is of a release, --index of casync; give one", name)
			}
		}
		o.out, o.seed = c.Flag("out").Value.String(), c.Flag("seed").Value.String()
		return a.extractCasync(c.Context(), o)
	}
	return c
}

func (a *app) extractCasync(ctx context.Context, o casyncFlags) (err error) {
	if o.index == "" || o.store == "" || o.out == "" {
		return usage("--index, --store and --out must be given")
	}
	if (o.seed == "") != (o.seedIndex == "") {
		return usage("--seed and --seed-index belong together")
	}
	x, err := readCasyncIndex(o.index)
	if err != nil {
		return err
	}
	var seeds []firmware.Source
	if o.seed != "" {
		sx, err := readCasyncIndex(o.seedIndex)
		if err != nil {
			return err
		}
		f, err := os.Open(o.seed)
		if err != nil {
			return err
		}
		defer f.Close()
		seeds = append(seeds, firmware.NewSeed(sx, f))
	}
	a.say("warning: %s is not signed; nothing says who made it", o.index)
	out, err := os.OpenFile(o.out, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if info, err := out.Stat(); err != nil {
		return err
	} else if info.Mode().IsRegular() {
		if err := out.Truncate(x.Size()); err != nil {
			return err
		}
	}
	m := a.meter("extracting", x.Size())
	stats, err := assemble.New(assemble.Options{
		Index: x, Target: assemble.File{File: out}, Seeds: seeds, Progress: func(s assemble.Stats) { m.at(s.Done) },
	}).Run(ctx, casyncStore{o.store, x.Hash}.fetch)
	if err != nil {
		return err
	}
	m.end("%s is what %s describes", o.out, o.index)
	return a.print(map[string]any{
		"out": o.out, "size": stats.Total, "reused_bytes": stats.Reused, "fetched_bytes": stats.Fetched, "written_bytes": stats.Written,
	}, func(w io.Writer) {
		row(w, "SIZE", "REUSED", "FETCHED", "WRITTEN")
		row(w, size(stats.Total), size(stats.Reused), size(stats.Fetched), size(stats.Written))
	})
}

func readCasyncIndex(file string) (*firmware.Index, error) {
	b, err := readFile(file, firmware.MaxIndexSize)
	if err != nil {
		return nil, err
	}
	x, err := firmware.ParseCasyncIndex(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return x, nil
}

// casyncStore is a folder of chunks, whose ids are of hash.
type casyncStore struct {
	dir  string
	hash firmware.Hash
}

// fetch is an assemble.Fetch.
func (s casyncStore) fetch(ctx context.Context, missing []firmware.Chunk, deliver assemble.Deliver) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(pushers)
	for _, c := range missing {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			frame, err := readFile(filepath.Join(s.dir, firmware.ChunkPath(c.ID)), firmware.MaxFrameSize)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("the store lacks a chunk; is --store the one that the index was made with? %w", err)
			}
			if err != nil {
				return err
			}
			plain, err := s.hash.DecodeChunk(frame, c.ID, int(c.Size))
			if err != nil {
				return err
			}
			return deliver(plain, c.ID)
		})
	}
	return g.Wait()
}

// readFile reads a file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Size() > limit {
		err = fmt.Errorf("%s has %d bytes, over %d: %w", name, info.Size(), limit, firmware.ErrTooLarge)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, limit))
}
