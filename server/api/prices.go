package api

import (
	"context"

	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/server/site"
)

// prices says what updates cost; it is a site.Releases.
type prices map[versionKey]site.Release

// Release implements site.Releases.
func (p prices) Release(product, version string) (site.Release, bool) {
	r, ok := p[versionKey{product, version}]
	return r, ok
}

func priceList(releases []release.Release) prices {
	all := prices{}
	for i := range releases {
		r := &releases[i]
		one := site.Release{Made: r.CreatedAt, Whole: r.Size.Stored, Plain: r.Size.Distinct, Patches: map[string]int64{}}
		if one.Plain == 0 { // its zeros and repetitions count then, which makes the rest seem to compress better
			one.Plain = r.Size.Payload
		}
		if r.Manifest != nil {
			for _, c := range r.Manifest.Components {
				one.Whole += c.Index.Size
			}
		}
		for _, p := range r.Patches {
			if p.State == release.PatchesReady {
				one.Patches[p.Base] = p.Bytes
			}
		}
		all[versionKey{r.Product, r.Version}] = one
	}
	return all
}

func (s *Server) prices(ctx context.Context) (prices, error) {
	return s.priced.get(func() (prices, error) {
		all, err := s.Releases.List(ctx, "")
		return priceList(all), err
	})
}
