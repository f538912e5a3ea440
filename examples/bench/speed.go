package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/waxwing-ota/waxwing/examples/bench/child"
)

// speed publishes and assembles the new image several times, the tools in turns, so that what else the machine does falls
// on all of them.
func (b *Bench) speed(ctx context.Context, u *update) (*Speed, error) {
	s := &Speed{Runs: b.o.Runs, Bytes: u.newSize}
	var publishCasync, publishWaxwing, assembleCasync, assembleWaxwing []child.Cost
	var copies []Copy
	left := func(what string, err error) error {
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if what += ": " + err.Error(); !slices.Contains(s.Left, what) {
			s.Left = append(s.Left, what)
		}
		return nil
	}
	// The repositories to assemble from know both versions.
	casyncErr := u.casyncStore(ctx)
	waxwingErr := u.waxwingRepo(ctx)
	for run := range b.o.Runs {
		b.o.Log.Info("speed", "run", run+1, "of", b.o.Runs)
		if err := u.warm(); err != nil {
			return nil, err
		}
		for _, step := range []struct {
			name string
			ran  *[]child.Cost
			run  func() (child.Cost, error)
			need error
		}{
			{"casync make", &publishCasync, func() (child.Cost, error) {
				store := u.path(fmt.Sprintf("fresh-%d", run))
				return child.Run(ctx, "casync", "make", "--digest=sha256", "--store="+store+".castr", store+".caibx", u.New)
			}, casyncErr},
			{"waxwing release build", &publishWaxwing, func() (child.Cost, error) {
				return u.publish(ctx, u.path(fmt.Sprintf("fresh-%d", run)), newVersion, u.New)
			}, waxwingErr},
			{"casync extract", &assembleCasync, func() (child.Cost, error) {
				return child.Run(ctx, "casync", "extract", "--digest=sha256", "--store="+u.path("store.castr"), "--seed="+u.Old,
					u.path("new.caibx"), u.path("fresh"))
			}, casyncErr},
			{"waxwing release extract", &assembleWaxwing, func() (child.Cost, error) {
				_, cost, err := u.extract(ctx, u.path("repo"), u.path("fresh"))
				return cost, err
			}, waxwingErr},
		} {
			cost, err := child.Cost{}, step.need
			if err == nil {
				unix.Sync() // or the disk would still be busy with the run before
				cost, err = step.run()
			}
			if err := left(step.name, err); err != nil {
				return nil, err
			}
			if err == nil {
				*step.ran = append(*step.ran, cost)
			}
			if err := os.RemoveAll(u.path("fresh")); err != nil {
				return nil, err
			}
		}
		unix.Sync()
		out, _, err := child.Self(ctx, wordCopy, u.New, u.path("fresh"))
		var c Copy
		if err == nil {
			err = json.Unmarshal(out, &c)
		}
		if err != nil {
			return nil, fmt.Errorf("copy: %w", err)
		}
		copies = append(copies, c)
		if err := os.Remove(u.path("fresh")); err != nil {
			return nil, err
		}
	}
	s.PublishCasync, s.PublishWaxwing = median(publishCasync), median(publishWaxwing)
	s.AssembleCasync, s.AssembleWaxwing = median(assembleCasync), median(assembleWaxwing)
	slices.SortFunc(copies, func(a, b Copy) int { return compare(a.Seconds(), b.Seconds()) })
	s.Copy = &copies[len(copies)/2]
	return s, nil
}

// median returns the run whose time is in the middle, with the highest peak of all; nil if there was none.
func median(runs []child.Cost) *child.Cost {
	if len(runs) == 0 {
		return nil
	}
	slices.SortFunc(runs, func(a, b child.Cost) int { return compare(a.Seconds, b.Seconds) })
	m := runs[len(runs)/2]
	for _, r := range runs {
		m.Peak = max(m.Peak, r.Peak)
	}
	return &m
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (u *update) casyncStore(ctx context.Context) error {
	for name, image := range map[string]string{"old": u.Old, "new": u.New} {
		if _, err := child.Run(ctx, "casync", "make", "--digest=sha256", "--store="+u.path("store.castr"), u.path(name+".caibx"), image); err != nil {
			return err
		}
	}
	return nil
}

func (u *update) waxwingRepo(ctx context.Context) error {
	if _, err := u.publish(ctx, u.path("repo"), oldVersion, u.Old); err != nil {
		return err
	}
	_, err := u.publish(ctx, u.path("repo"), newVersion, u.New, "--base", oldVersion)
	return err
}

// warm reads the images, so that the first tool does not pay for all.
func (u *update) warm() error {
	for _, image := range []string{u.Old, u.New} {
		if _, err := same(image, image); err != nil {
			return err
		}
	}
	return nil
}
