package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/release/packs"
	"github.com/waxwing-ota/waxwing/server/store"
)

// Patches says how far patches from one earlier release are. It is there to be looked at: what is to be done follows from
// the releases, the fleet and the packs that exist.
type Patches struct {
	Base     string     `json:"base"` // version
	State    PatchState `json:"state"`
	Error    string     `json:"error,omitempty"`
	Progress Progress   `json:"progress"`              // of building, in bytes of work
	Bytes    int64      `json:"bytes,omitempty"`       // of the packs
	Index    int64      `json:"index_bytes,omitempty"` // of the index differences in them
	Groups   int        `json:"groups,omitempty"`
	Chunks   int        `json:"chunks,omitempty"` // that they carry
}

// PatchState is where patches stand.
type PatchState string

// The states there are. Devices use what is ready and fetch whole chunks otherwise.
const (
	PatchesWaiting  PatchState = "waiting"
	PatchesBuilding PatchState = "building"
	PatchesReady    PatchState = "ready"
	PatchesFailed   PatchState = "failed" // Error says why; it is tried again after the next publication or start
)

const (
	patchProgressEvery = time.Second
	patchesPrefix      = RepoPrefix + "patches/"
)

// patchAll keeps the packs there should be: it looks at start, after each publication and yank, and as the fleet changes.
func (r *Releases) patchAll(ctx context.Context) error {
	tick := time.NewTicker(r.PatchEvery)
	defer tick.Stop()
	for {
		more, err := r.patchNext(ctx)
		if err != nil && ctx.Err() == nil {
			r.Log.Warn("looking after patches failed; it is tried again", "error", err, "in", r.PatchEvery)
		}
		if more && err == nil || errors.Is(err, errRebuild) {
			continue
		}
		select {
		case <-r.patch:
			clear(r.broken) // what failed may work now
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// rousePatches tells that releases have changed.
func (r *Releases) rousePatches() {
	select {
	case r.patch <- struct{}{}:
	default: // it is awake
	}
}

// patchNext removes the packs that are of no use, tells how things stand, and makes the first pack that is missing. more
// says that there may be another one.
func (r *Releases) patchNext(ctx context.Context) (more bool, err error) {
	entries, _, err := r.releases.List(ctx, store.Page{})
	if err != nil {
		return false, err
	}
	all := make([]Release, 0, len(entries))
	for _, e := range entries {
		all = append(all, e.Value)
	}
	var running []Running
	if r.Running != nil {
		if running, err = r.Running(ctx); err != nil {
			return false, err
		}
	}
	there, err := r.dropPacks(ctx, all, running)
	if err != nil {
		return false, err
	}
	want := wanted(all, running)
	if err := r.tellPatches(ctx, all, want, there); err != nil {
		return false, err
	}
	for _, p := range want {
		if r.broken[p.name()] == nil && !there.has(p) {
			r.patchOne(ctx, p, there)
			return ctx.Err() == nil, nil
		}
	}
	return false, nil
}

// name is a pair for messages and maps.
func (p pair) name() string { return p.target.Name() + " from " + p.base.Version }

// pack is the payloads that a pack brings from one to the other.
type pack struct{ base, target firmware.Digest }

// packSet is the packs that exist.
type packSet map[pack]bool

func (s packSet) has(p pair) bool {
	for _, part := range p.parts() {
		if !s[pack{part.base.SHA256, part.target.SHA256}] {
			return false
		}
	}
	return true
}

// dropPacks removes packs that no device will ask for, and returns those that stay.
func (r *Releases) dropPacks(ctx context.Context, all []Release, running []Running) (packSet, error) {
	there, drop := packSet{}, map[pack]string{}
	err := r.Blob.List(ctx, patchesPrefix, func(key string, _ int64) error {
		p, ok := parsePack(key)
		switch {
		case !ok: // not ours
		case useless(p.target, all, running) || useless(p.base, all, running):
			drop[p] = key
		default:
			there[p] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list packs: %w", err)
	}
	for p, key := range drop {
		if err := r.Blob.Delete(ctx, key); err != nil {
			return nil, fmt.Errorf("remove a pack of a yanked release: %w", err)
		}
		r.Log.Info("removed patches of a yanked release", "base", p.base, "target", p.target)
	}
	return there, nil
}

// parsePack is the inverse of packs.Key.
func parsePack(key string) (pack, bool) {
	target, file, _ := strings.Cut(strings.TrimPrefix(key, patchesPrefix), "/")
	base, ok := strings.CutSuffix(file, ".pack")
	var p pack
	return p, ok && p.base.UnmarshalText([]byte(base)) == nil && p.target.UnmarshalText([]byte(target)) == nil &&
		path.Clean(key) == key
}

// tellPatches writes into the releases how their patches stand, where that has changed.
func (r *Releases) tellPatches(ctx context.Context, all []Release, want []pair, there packSet) error {
	for i := range all {
		target := &all[i]
		var now []Patches
		if target.Manifest != nil {
			var err error
			if now, err = r.standing(ctx, target, all, want, there); err != nil {
				return err
			}
		}
		if slices.Equal(now, target.Patches) {
			continue
		}
		if _, err := r.releases.Update(ctx, target.Name(), func(d *Release) error { d.Patches = now; return nil }); err != nil {
			return fmt.Errorf("tell of patches: %w", err)
		}
		target.Patches = now
	}
	return nil
}

// standing returns how the patches of a release stand: the wanted ones in their order, then others that exist, newest base
// first.
func (r *Releases) standing(ctx context.Context, target *Release, all []Release, want []pair, there packSet) (now []Patches, err error) {
	pairs := slices.DeleteFunc(slices.Clone(want), func(p pair) bool { return p.target.Name() != target.Name() })
	wanted := len(pairs)
	for i := range all {
		p := pair{target, &all[i]}
		if p.base.Product == target.Product && p.base.Manifest != nil && len(p.parts()) > 0 && there.has(p) &&
			!slices.ContainsFunc(pairs, func(q pair) bool { return q.base.Version == p.base.Version }) {
			pairs = append(pairs, p)
		}
	}
	slices.SortStableFunc(pairs[wanted:], func(a, b pair) int { return cmp.Compare(b.base.Counter, a.base.Counter) })
	for _, p := range pairs {
		one := Patches{Base: p.base.Version, State: PatchesWaiting}
		i := slices.IndexFunc(target.Patches, func(old Patches) bool { return old.Base == p.base.Version && old.State == PatchesReady })
		switch cause := r.broken[p.name()]; {
		case there.has(p) && i >= 0 && r.looked[p.name()]:
			one = target.Patches[i]
		case there.has(p): // once in each life of a server: a pack may be of an earlier format
			if one, err = r.look(ctx, p); err != nil {
				return nil, err
			}
			r.looked[p.name()] = true
		case cause != nil:
			one.State, one.Error = PatchesFailed, cause.Error()
		}
		now = append(now, one)
	}
	return now, nil
}

// look describes the packs of a pair that are there.
func (r *Releases) look(ctx context.Context, p pair) (Patches, error) {
	one := Patches{Base: p.base.Version, State: PatchesReady}
	for _, part := range p.parts() {
		info, err := packs.Look(ctx, r.chunks, part.base.SHA256, part.target.SHA256)
		if errors.Is(err, firmware.ErrCorrupt) || errors.Is(err, firmware.ErrMalformed) {
			// Not what this program writes: out of the way, and the next look builds it.
			r.Log.Warn("a pack of patches cannot be read and is built anew", "patches", p.name(), "error", err)
			err = errors.Join(r.Blob.Delete(ctx, packs.Key(r.chunks, part.base.SHA256, part.target.SHA256)), errRebuild)
		}
		if err != nil {
			return one, err
		}
		one.add(info)
	}
	return one, nil
}

var errRebuild = errors.New("a pack has to be built anew")

func (p *Patches) add(i packs.Info) {
	p.Bytes += i.Bytes
	p.Index += i.IndexBytes
	p.Groups += i.Groups
	p.Chunks += i.Chunks
}

// patchOne makes the packs of a pair. When the server is stopping nothing is left of them, and the next start makes them.
func (r *Releases) patchOne(ctx context.Context, p pair, there packSet) {
	begun := r.Now()
	r.Log.Info("making patches", "patches", p.name())
	done, err := r.makePacks(ctx, p, there)
	debug.FreeOSMemory() // it took hundreds of megabytes, and may not need them again for weeks
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("a chunk is missing from the repository: %w", err)
		fallthrough
	case err != nil:
		r.broken[p.name()] = err
		done = Patches{Base: p.base.Version, State: PatchesFailed, Error: err.Error()}
		r.Log.Warn("patches failed; devices fetch whole chunks", "patches", p.name(), "error", err)
	default:
		r.Log.Info("patches are ready", "patches", p.name(), "bytes", done.Bytes, "groups", done.Groups, "took", r.Now().Sub(begun))
	}
	if err := r.tellOne(ctx, p, done); err != nil && ctx.Err() == nil {
		r.Log.Warn("could not tell how patches stand", "patches", p.name(), "error", err)
	}
}

// tellOne writes how the patches of one pair stand.
func (r *Releases) tellOne(ctx context.Context, p pair, now Patches) error {
	_, err := r.releases.Update(ctx, p.target.Name(), func(d *Release) error {
		d.Patches = slices.Clone(d.Patches)
		i := slices.IndexFunc(d.Patches, func(old Patches) bool { return old.Base == now.Base })
		if i < 0 {
			d.Patches = append(d.Patches, now)
		} else {
			d.Patches[i] = now
		}
		return nil
	})
	return err
}
