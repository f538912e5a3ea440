package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

// Result is how one release went.
type Result struct {
	Rollout *client.Rollout
	Devices []client.RolloutDevice
	Release *Release
}

// Release is a published release and what it costs a device that runs what the fleet runs now.
type Release struct {
	*client.Release
	From  []string // versions that devices run; empty: none that was installed
	Alone int64    // bytes that a device alone has to fetch: patches or chunks, and the index
	Whole int64    // the same without patches
}

// Release makes an image, publishes it, and waits until the server has made the patches from what devices run.
func (f *Fleet) Release(ctx context.Context, version string, healthy bool) (*Release, error) {
	fmt.Fprintf(f.o.Out, "\n# An image of %s from real files of this machine.\n", version)
	image, err := f.Image(ctx, version, healthy)
	if err != nil {
		return nil, err
	}
	defer os.Remove(image)
	if _, err := f.run(ctx, "release", "create", "--product", Product, "--version", version, "--hardware", Hardware,
		"--image", image); err != nil {
		return nil, fmt.Errorf("release create %s: %w", version, err)
	}
	r := &Release{}
	running, err := f.Running(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range running {
		if v != "" && !slices.Contains(r.From, v) {
			r.From = append(r.From, v)
		}
	}
	began := time.Now()
	if err := await(ctx, "patches to "+version, 90*time.Second, func() (bool, error) {
		got, err := f.API.GetReleaseWithResponse(ctx, Product, version)
		if err != nil {
			return false, err
		}
		if got.JSON200 == nil || got.JSON200.State != client.ReleaseStatePublished {
			return false, fmt.Errorf("release %s is not published: %s", version, got.Body)
		}
		r.Release = got.JSON200
		for _, from := range r.From {
			if p := r.patches(from); p == nil || p.State != client.PatchesStateReady {
				return false, nil
			}
		}
		return true, nil
	}); err != nil {
		return nil, err
	}
	return r, f.price(ctx, r, time.Since(began))
}

// patches returns the patches from a version, or nil.
func (r *Release) patches(from string) *client.Patches {
	if r.Patches == nil {
		return nil
	}
	i := slices.IndexFunc(*r.Patches, func(p client.Patches) bool { return p.Base == from })
	if i < 0 {
		return nil
	}
	return &(*r.Patches)[i]
}

// price asks the command line what a device has to fetch that runs what the fleet runs.
func (f *Fleet) price(ctx context.Context, r *Release, waited time.Duration) error {
	r.Whole = r.Size.NewChunks
	if r.Components != nil {
		for _, c := range *r.Components {
			r.Whole += c.IndexSize
		}
	}
	for _, from := range r.From {
		p := r.patches(from)
		fmt.Fprintf(f.o.Out, "\n# Patches from %s: %s (groups: %d) for %d chunks, which are %s; ready %.1f s after publication.\n",
			from, size(p.Bytes), p.Groups, p.Chunks, size(r.Size.NewChunks), waited.Seconds())
		out, err := f.run(ctx, "release", "cost", "--repo", filepath.Join(f.dir, "server/blob/repo"),
			"--release", Product+"@"+r.Version, "--from", from, "-o", "json")
		if err != nil {
			return fmt.Errorf("release cost: %w", err)
		}
		var cost struct {
			Patch int64 `json:"patch_bytes"`
			Total int64 `json:"total_bytes"`
		}
		if err := json.Unmarshal([]byte(out), &cost); err != nil {
			return fmt.Errorf("release cost -o json: %w: %s", err, out)
		}
		if cost.Patch == 0 || cost.Total >= r.Whole {
			return fmt.Errorf("patches from %s save nothing: %s", from, out)
		}
		r.Alone = max(r.Alone, cost.Total)
	}
	if len(r.From) == 0 {
		r.Alone = r.Whole
	}
	f.alone[r.Version] = r.Alone
	return nil
}

// RollOut starts a rollout, follows it to its end and returns where every device stands then. The end may be an abort;
// that is for the caller to judge.
func (f *Fleet) RollOut(ctx context.Context, version, stages string) (*Result, error) {
	if _, err := f.run(ctx, "rollout", "create", "--product", Product, "--version", version, "--stages", stages, "--deadline", "10s"); err != nil {
		return nil, fmt.Errorf("rollout create %s: %w", version, err)
	}
	list, err := f.API.ListRolloutsWithResponse(ctx, &client.ListRolloutsParams{})
	if err != nil {
		return nil, err
	}
	if list.JSON200 == nil || len(list.JSON200.Items) == 0 {
		return nil, fmt.Errorf("no rollouts: %s", list.Body)
	}
	id := list.JSON200.Items[0].Id
	fmt.Fprintln(f.o.Out)
	if err := f.watch(ctx, id); err != nil {
		return nil, err
	}
	result, err := f.Finish(ctx, id, time.Minute)
	if err != nil {
		return nil, err
	}
	p, err := f.look(ctx, id)
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(f.o.Out, p.summary())
	return result, nil
}

// Begin starts a rollout and returns its id.
func (f *Fleet) Begin(ctx context.Context, version, stages string, flags ...string) (string, error) {
	out, err := f.run(ctx, append([]string{
		"rollout", "create", "--product", Product, "--version", version, "--stages", stages, "--deadline", "10s", "-o", "json",
	}, flags...)...)
	if err != nil {
		return "", fmt.Errorf("rollout create %s: %w", version, err)
	}
	var r client.Rollout
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return "", fmt.Errorf("rollout create -o json: %w: %s", err, out)
	}
	return r.Id, nil
}

// Finish waits until a rollout has ended and every device is at rest: an abort ends the rollout while the failed device is
// still on its way back.
func (f *Fleet) Finish(ctx context.Context, id string, most time.Duration) (*Result, error) {
	result := &Result{}
	err := await(ctx, "every device at rest", most, func() (ok bool, err error) {
		if result.Rollout, err = f.Rollout(ctx, id); err != nil {
			return false, err
		}
		c := result.Rollout.Counts
		if result.Rollout.State == client.RolloutStateRunning || c.Downloading+c.Installing+c.Rebooting+c.Proving > 0 {
			return false, nil
		}
		devices, err := f.devices(ctx)
		return err == nil && !slices.ContainsFunc(devices, func(d client.Device) bool { return d.Phase == client.PhaseReverting }), err
	})
	if err != nil {
		return nil, err
	}
	devices, err := f.API.ListRolloutDevicesWithResponse(ctx, id, &client.ListRolloutDevicesParams{})
	if err != nil {
		return nil, err
	}
	if devices.JSON200 == nil {
		return nil, fmt.Errorf("devices of %s: %s", id, devices.Body)
	}
	result.Devices = devices.JSON200.Items
	return result, nil
}

// Rollout reads one rollout.
func (f *Fleet) Rollout(ctx context.Context, id string) (*client.Rollout, error) {
	r, err := f.API.GetRolloutWithResponse(ctx, id)
	if err != nil {
		return nil, err
	}
	if r.StatusCode() != http.StatusOK {
		return nil, fmt.Errorf("rollout %s: %s", id, r.Body)
	}
	return r.JSON200, nil
}

// Running returns which version each device says that it runs.
func (f *Fleet) Running(ctx context.Context) (map[string]string, error) {
	devices, err := f.devices(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, d := range devices {
		if d.Running.Version != nil {
			out[d.Id] = *d.Running.Version
		} else {
			out[d.Id] = ""
		}
	}
	return out, nil
}

func (f *Fleet) devices(ctx context.Context) ([]client.Device, error) {
	size := 200
	r, err := f.API.ListDevicesWithResponse(ctx, &client.ListDevicesParams{PageSize: &size})
	if err != nil {
		return nil, err
	}
	if r.JSON200 == nil {
		return nil, fmt.Errorf("devices: %s", r.Body)
	}
	return r.JSON200.Items, nil
}

// Play tells the whole story and returns an error that says what did not hold.
func (f *Fleet) Play(ctx context.Context) error {
	for _, chapter := range []struct {
		version, stages string
		healthy         bool
		title           string
	}{
		{First, "100%", true, "The first release, to every device at once"},
		{"1.1.0", "1,50%,100%", true, "An upgrade, in stages"},
		{"1.2.0", "1,50%,100%", false, "A broken release"},
	} {
		fmt.Fprintf(f.o.Out, "\n━━ %s: %s\n", chapter.version, chapter.title)
		release, err := f.Release(ctx, chapter.version, chapter.healthy)
		if err != nil {
			return err
		}
		result, err := f.RollOut(ctx, chapter.version, chapter.stages)
		if err != nil {
			return err
		}
		result.Release = release
		result.Print(f.o.Out)
		if err := f.judge(ctx, result, chapter.healthy); err != nil {
			return fmt.Errorf("%s: %w", chapter.version, err)
		}
	}
	return nil
}

// The uplink of a site may carry maxCopies of what one device alone has to fetch, and for each device what it proves
// freshness with.
const (
	maxCopies = 1.03
	perDevice = 32 << 10
)

func (f *Fleet) judge(ctx context.Context, r *Result, healthy bool) error {
	all := len(f.Agents)
	running, err := f.Running(ctx)
	if err != nil {
		return err
	}
	at := map[string]int{}
	for _, v := range running {
		at[v]++
	}
	c := r.Rollout.Counts
	if !healthy {
		if r.Rollout.State != client.RolloutStateAborted || c.Failed != 1 || c.Succeeded != 0 || c.Pending != all-1 {
			return fmt.Errorf("the rollout is %s with %d failed, %d untouched; want aborted, 1 and %d", r.Rollout.State, c.Failed, c.Pending, all-1)
		}
		if at["1.1.0"] != all {
			return fmt.Errorf("devices run %v; want all back on 1.1.0", at)
		}
		return nil
	}
	if r.Rollout.State != client.RolloutStateCompleted || c.Succeeded != all || c.Total != all {
		return fmt.Errorf("the rollout is %s with %d of %d succeeded: %s", r.Rollout.State, c.Succeeded, all, r.Rollout.Why)
	}
	if at[r.Rollout.Version] != all {
		return fmt.Errorf("devices run %v; want all on %s", at, r.Rollout.Version)
	}
	origin, one := r.Uplink()
	if limit := int64(maxCopies*float64(one)) + int64(all*perDevice); origin > limit {
		return fmt.Errorf("%s crossed the uplink for %d devices; one alone needs %s, so %s is the limit",
			size(origin), all, size(one), size(limit))
	}
	return nil
}
