package api

import (
	"context"
	"slices"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// ListProducts implements the operation.
func (s *Server) ListProducts(ctx context.Context, _ ListProductsRequestObject) (ListProductsResponseObject, error) {
	products, err := s.Releases.Products(ctx)
	if err != nil {
		return nil, err
	}
	list := ListProducts200JSONResponse{Items: make([]Product, 0, len(products))}
	who := callerOf(ctx)
	for _, p := range products {
		if who.Covers(p.Name) {
			list.Items = append(list.Items, productView(p))
		}
	}
	return list, nil
}

// CreateProduct implements the operation.
func (s *Server) CreateProduct(ctx context.Context, q CreateProductRequestObject) (CreateProductResponseObject, error) {
	var key *public.Key
	if k := q.Body.PublicKey; k != nil {
		key = &public.Key{Algorithm: public.Algorithm(k.Algorithm), Bytes: k.Public}
	}
	p, err := s.Releases.CreateProduct(ctx, q.Body.Name, key)
	if err != nil {
		return nil, err
	}
	return CreateProduct201JSONResponse(productView(p)), nil
}

// GetProductRole implements the operation.
func (s *Server) GetProductRole(ctx context.Context, q GetProductRoleRequestObject) (GetProductRoleResponseObject, error) {
	role, counter, err := s.Releases.Role(ctx, q.Product)
	if err != nil {
		return nil, err
	}
	return GetProductRole200JSONResponse{Metadata: append([]byte{}, role...), NextCounter: int64(counter)}, nil
}

// ListReleases implements the operation.
func (s *Server) ListReleases(ctx context.Context, q ListReleasesRequestObject) (ListReleasesResponseObject, error) {
	all, err := s.Releases.List(ctx, value(q.Params.Product))
	if err != nil {
		return nil, err
	}
	who := callerOf(ctx)
	all = slices.DeleteFunc(all, func(r release.Release) bool { return !who.Covers(r.Product) })
	part, next, err := page(all, q.Params.PageToken, q.Params.PageSize, func(r release.Release) string { return r.Name() })
	if err != nil {
		return nil, err
	}
	running, err := s.censusFor(ctx)
	if err != nil {
		return nil, err
	}
	list := ListReleases200JSONResponse{Items: make([]Release, 0, len(part)), NextPageToken: next}
	for i := range part {
		list.Items = append(list.Items, releaseView(&part[i], running.versions))
	}
	return list, nil
}

// CreateRelease implements the operation.
func (s *Server) CreateRelease(ctx context.Context, q CreateReleaseRequestObject) (CreateReleaseResponseObject, error) {
	if q.Body.Signed == nil {
		if err := s.mayCreate(ctx, q.Body.Product); err != nil {
			return nil, err
		}
	}
	want, err := releaseRequest(ctx, q.Body)
	if err != nil {
		return nil, err
	}
	r, err := s.Releases.Create(ctx, want, callerOf(ctx).Name)
	if err != nil {
		return nil, err
	}
	return CreateRelease201JSONResponse(releaseView(&r, nil)), nil
}

// SignRelease implements the operation.
func (s *Server) SignRelease(ctx context.Context, q SignReleaseRequestObject) (SignReleaseResponseObject, error) {
	want, err := releaseRequest(ctx, q.Body)
	if err != nil {
		return nil, err
	}
	signed, _, err := s.Releases.Sign(ctx, want)
	if err != nil {
		return nil, err
	}
	return SignRelease200JSONResponse{Manifest: signed.Manifest, Role: signed.Role}, nil
}

func releaseRequest(ctx context.Context, q *NewRelease) (release.Request, error) {
	want := release.Request{
		Job: callerOf(ctx).Job, Product: q.Product, Version: q.Version, Hardware: value(q.Hardware), Upload: value(q.Upload),
	}
	if q.Signed != nil {
		want.Signed = &release.Signed{Manifest: q.Signed.Manifest, Role: q.Signed.Role}
	}
	for _, c := range value(q.Components) {
		part, err := component(c)
		if err != nil {
			return want, err
		}
		want.Components = append(want.Components, part)
	}
	return want, nil
}

// GetRelease implements the operation.
func (s *Server) GetRelease(ctx context.Context, q GetReleaseRequestObject) (GetReleaseResponseObject, error) {
	r, err := s.Releases.Get(ctx, q.Product, q.Version)
	if err != nil {
		return nil, err
	}
	running, err := s.censusFor(ctx)
	if err != nil {
		return nil, err
	}
	return GetRelease200JSONResponse(releaseView(&r, running.versions)), nil
}

// YankRelease implements the operation.
func (s *Server) YankRelease(ctx context.Context, q YankReleaseRequestObject) (YankReleaseResponseObject, error) {
	r, err := s.Releases.Yank(ctx, q.Product, q.Version)
	if err != nil {
		return nil, err
	}
	return YankRelease200JSONResponse(releaseView(&r, nil)), nil
}

func productView(p release.Product) Product {
	return Product{Name: p.Name, Signing: ProductSigning(p.Signing), Keys: append([]string{}, p.Keys...), CreatedAt: p.CreatedAt}
}

// releaseView maps a release. running, when it is known, says how many devices run each version.
func releaseView(r *release.Release, running map[versionKey]int) Release {
	v := Release{
		Product: r.Product, Version: r.Version, State: ReleaseState(r.State), Error: optional(r.Error),
		Progress:  Progress{Done: r.Progress.Done, Total: r.Progress.Total},
		Size:      ReleaseSize{Payload: r.Size.Payload, Stored: r.Size.Stored, NewChunks: r.Size.NewChunks, Chunks: r.Size.Chunks},
		CreatedAt: r.CreatedAt, CreatedBy: r.CreatedBy, Job: jobView(r.Job),
	}
	counter := int64(r.Counter)
	v.Counter = optional(counter)
	if len(r.Hardware) > 0 {
		v.Hardware = &r.Hardware
	}
	if len(r.SignedBy) > 0 {
		v.SignedBy = &r.SignedBy
	}
	if running != nil {
		n := running[versionKey{r.Product, r.Version}]
		v.Devices = &n
	}
	if r.Manifest == nil {
		return v
	}
	v.Sha256 = optional(r.Digest.String())
	components := make([]Component, 0, len(r.Manifest.Components))
	for _, c := range r.Manifest.Components {
		components = append(components, Component{
			Name: c.Name, Handler: ComponentHandler(c.Handler), Size: c.Size, Sha256: c.SHA256.String(),
			IndexSize: c.Index.Size, IndexSha256: c.Index.SHA256.String(),
		})
	}
	v.Components = &components
	patches := make([]Patches, 0, len(r.Patches))
	for _, p := range r.Patches {
		one := Patches{
			Base: p.Base, State: PatchesState(p.State), Error: optional(p.Error),
			Progress: Progress{Done: p.Progress.Done, Total: p.Progress.Total},
			Bytes:    p.Bytes, IndexBytes: p.Index, Groups: p.Groups, Chunks: p.Chunks,
		}
		if running != nil {
			n := running[versionKey{r.Product, p.Base}]
			one.Devices = &n
		}
		patches = append(patches, one)
	}
	v.Patches = &patches
	return v
}

func component(c Component) (firmware.Component, error) {
	sum, err := firmware.ParseDigest(c.Sha256)
	if err != nil {
		return firmware.Component{}, err
	}
	index, err := firmware.ParseDigest(c.IndexSha256)
	return firmware.Component{
		Name: c.Name, Handler: string(c.Handler), Size: c.Size, SHA256: sum,
		Index: firmware.File{Size: c.IndexSize, SHA256: index},
	}, err
}
