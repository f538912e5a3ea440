package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/examples/bench/child"
	"github.com/waxwing-ota/waxwing/examples/bench/images"
)

// Images makes the pair of images of a case.
type Images interface {
	Build(ctx context.Context, name string) (images.Pair, error)
}

// Options say what to measure with.
type Options struct {
	Images   Images
	Bin      string        // folder of the program waxwing
	Dir      string        // for what is written; on the disk whose speed is meant
	Runs     int           // of each measurement of speed
	Speed    []string      // cases whose speed is measured
	TooMuch  int64         // bytes of memory that no tool may need
	Only     []string      // parts of the names of methods to measure; none: all
	Patience time.Duration // with one method for one case
	Log      *slog.Logger
}

// Bench measures.
type Bench struct{ o Options }

// New returns a bench.
func New(o Options) *Bench { return &Bench{o} }

// Case measures one case. It fails for broken surroundings only; what a tool cannot do is in the result.
func (b *Bench) Case(ctx context.Context, name string) (Result, error) {
	r := Result{Name: name}
	pair, err := b.o.Images.Build(ctx, name)
	if err != nil {
		r.Failed = err.Error()
		return r, ctx.Err()
	}
	r.Notes = pair.Notes
	u := update{Pair: pair, tooMuch: b.o.TooMuch, programs: b.o.Bin}
	for path, size := range map[string]*int64{pair.Old: &u.oldSize, pair.New: &u.newSize} {
		info, err := os.Stat(path)
		if err != nil {
			return r, err
		}
		*size = info.Size()
	}
	r.OldSize, r.NewSize = u.oldSize, u.newSize
	if slices.Contains(b.o.Speed, name) {
		if err := b.within(&u, func() error {
			r.Speed, err = b.speed(ctx, &u)
			return err
		}); err != nil {
			return r, err
		}
	}
	for _, w := range ways() {
		if len(b.o.Only) > 0 && !slices.ContainsFunc(b.o.Only, func(part string) bool { return strings.Contains(w.name, part) }) {
			continue
		}
		err := b.within(&u, func() error {
			b.o.Log.Info("measuring", "case", name, "method", w.name)
			m, err := b.patiently(ctx, &u, w.measure)
			if err != nil {
				m = reason(err)
			}
			m.Name = w.name
			r.Methods = append(r.Methods, m)
			return ctx.Err()
		})
		if err != nil {
			return r, err
		}
	}
	r.Bars = slices.DeleteFunc(bars(&r), func(bar Bar) bool { return bar.Missing != "" && !r.asked(bar.Missing) })
	return r, nil
}

// patiently measures a method, but not for ever: bsdiff of images that differ much takes hours.
func (b *Bench) patiently(ctx context.Context, u *update, measure func(context.Context, *update) (Method, error)) (Method, error) {
	limited, cancel := context.WithTimeout(ctx, b.o.Patience)
	defer cancel()
	m, err := measure(limited, u)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return m, leftOut(fmt.Sprintf("took longer than %v", b.o.Patience))
	}
	return m, err
}

// reason is the row of a method that could not be measured.
func reason(err error) Method {
	var left leftOut
	if errors.As(err, &left) || errors.Is(err, child.ErrMissing) {
		return Method{Left: err.Error()}
	}
	return Method{Failed: err.Error()}
}

// within gives the update an empty folder for a while.
func (b *Bench) within(u *update, do func() error) (err error) {
	if u.dir, err = os.MkdirTemp(b.o.Dir, "bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(u.dir)) }()
	if err := u.warm(); err != nil {
		return err
	}
	return do()
}
