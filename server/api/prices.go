package api

import (
	"context"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/server/site"
)

// prices says what updates cost; it is a site.Releases.
type prices map[versionKey]price

type price struct {
	made    time.Time
	patches map[string]int64 // base → bytes, of those that are ready
}

var _ site.Releases = prices{}

// Patches implements site.Releases.
func (p prices) Patches(product, version, base string) (bytes int64, ok bool) {
	of := p[versionKey{product, version}].patches
	if base != "" {
		bytes, ok = of[base]
		return bytes, ok
	}
	for _, n := range of {
		if !ok || n < bytes {
			bytes, ok = n, true
		}
	}
	return bytes, ok
}

// Made implements site.Releases.
func (p prices) Made(product, version string) time.Time { return p[versionKey{product, version}].made }

func priceList(releases []release.Release) prices {
	all := prices{}
	for i := range releases {
		r := &releases[i]
		one := price{made: r.CreatedAt, patches: map[string]int64{}}
		for _, p := range r.Patches {
			if p.State == release.PatchesReady {
				one.patches[p.Base] = p.Bytes
			}
		}
		all[versionKey{r.Product, r.Version}] = one
	}
	return all
}

// pricer keeps prices for ten times as long as it took to make them, as a counter does.
type pricer struct {
	mu    sync.Mutex
	last  prices
	until time.Time
}

func (s *Server) prices(ctx context.Context) (prices, error) {
	s.pricer.mu.Lock()
	defer s.pricer.mu.Unlock()
	begun := time.Now()
	if begun.Before(s.pricer.until) {
		return s.pricer.last, ctx.Err()
	}
	all, err := s.Releases.List(ctx, "")
	if err != nil {
		return nil, err
	}
	s.pricer.last, s.pricer.until = priceList(all), time.Now().Add(10*time.Since(begun))
	return s.pricer.last, nil
}
