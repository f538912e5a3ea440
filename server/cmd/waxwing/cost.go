package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/remote"
)

// cost is what one device fetches for an update, in bytes.
type cost struct {
	Index int64 `json:"index_bytes"`
	Patch int64 `json:"patch_bytes"`
	Chunk int64 `json:"chunk_bytes"`
	Total int64 `json:"total_bytes"`
	Full  int64 `json:"full_bytes"` // what a device without the base fetches
}

func (a *app) releaseCost() *cobra.Command {
	var o stepFlags
	var from string
	c := &cobra.Command{
		Use: "cost", Short: "Say what one device fetches to come from one version to another", Args: cobra.NoArgs,
		Long: `Count the bytes that one device fetches from the server for an update from the version --from. The device decides as it
would in the field: where the repository has a pack of patches for the two versions, made by "waxwing release build --base"
or by the server, chunks come from it, and others come whole.

  index_bytes   the list of chunks: as a difference where a pack has one, else the index itself
  patch_bytes   the front of the pack and the groups of patches that are needed
  chunk_bytes   chunks that come whole, compressed
  total_bytes   the three together
  full_bytes    what a device fetches that holds nothing: the index and every chunk

Metadata of a few kilobytes and what neighbours give are not in it.`,
		Example: "  waxwing release cost --repo r --release edge-gw@1.1.0 --from 1.0.0 -o json",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := o.open(c.Context())
			if err != nil {
				return err
			}
			defer r.close()
			if from == "" {
				return usage("--from must be given")
			}
			total, err := a.cost(c.Context(), r, strings.TrimPrefix(from, r.manifest.Product+"@"))
			if err != nil {
				return err
			}
			return a.print(total, func(w io.Writer) {
				row(w, "INDEX", "PATCHES", "CHUNKS", "TOTAL", "FULL")
				row(w, size(total.Index), size(total.Patch), size(total.Chunk), size(total.Total), size(total.Full))
			})
		},
	}
	o.add(c)
	c.Flags().StringVar(&from, "from", "", "`VERSION` that the device runs (required)")
	return c
}

func (a *app) cost(ctx context.Context, f *found, from string) (cost, error) {
	var sum cost
	base, err := f.look(ctx, f.manifest.Product, from)
	if err != nil {
		return sum, fmt.Errorf("--from %s: %w", from, err)
	}
	have := map[firmware.ChunkID]bool{}
	bases := map[string]*remote.Base{}
	for _, c := range base.Components {
		x, err := f.trust.Index(ctx, base, c.Name)
		if err != nil {
			return sum, err
		}
		bases[c.Name] = &remote.Base{SHA256: c.SHA256, Index: x}
		for _, chunk := range x.Chunks {
			have[chunk.ID] = true
		}
	}
	frames := map[firmware.ChunkID]int64{} // as they are stored
	for _, part := range f.manifest.Components {
		w, err := f.way(ctx, part, remote.Options{Base: bases[part.Name], Log: a.log()})
		if err != nil {
			return sum, err
		}
		var missing []firmware.Chunk
		for _, chunk := range w.index.Distinct() {
			if _, repeated := frames[chunk.ID]; repeated {
				continue
			}
			frame, err := f.frame(ctx, chunk.ID)
			if err != nil {
				return sum, err
			}
			frames[chunk.ID] = int64(len(frame))
			sum.Full += int64(len(frame))
			if !have[chunk.ID] {
				missing = append(missing, chunk)
			}
		}
		patches, whole := w.Plan(missing)
		traffic := w.Traffic()
		sum.Index += w.whole + traffic.Index
		sum.Patch += patches + traffic.Patch
		sum.Full += part.Index.Size
		for _, chunk := range whole {
			sum.Chunk += frames[chunk.ID]
		}
	}
	sum.Total = sum.Index + sum.Patch + sum.Chunk
	return sum, nil
}
