package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/api/client"
	"github.com/waxwing-ota/waxwing/server/release/build"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

func (a *app) releaseCreate() *cobra.Command {
	var o imageFlags
	var e evidence
	c := &cobra.Command{
		Use: "create", Short: "Build, push, sign and publish a release in one step", Args: cobra.NoArgs,
		Long: `Cut an image here, push the chunks that the server lacks, and publish the release. The server signs it, or with --key this
command does, and the key stays here. Doing it again with the same image changes nothing.`,
		Example: "  waxwing release create --product edge-gw --version 1.0.0 --hardware qemu-arm64 --image rootfs.ext4",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if err := e.check(); err != nil {
				return err
			}
			api, err := a.api()
			if err != nil {
				return err
			}
			r, err := a.create(c.Context(), api, o)
			if err == nil {
				e.key = o.key
				_, err = a.attest(c.Context(), api, &r, e)
			}
			return a.printRelease(r, err)
		},
	}
	o.add(c)
	e.add(c)
	return c
}

func (a *app) create(ctx context.Context, api *client.Client, o imageFlags) (client.Release, error) {
	var none client.Release
	var key keys.Signer
	var err error
	if o.key != "" {
		if key, err = keys.Open(o.key, a.keyOptions()); err != nil {
			return none, err
		}
	}
	// Whatever cannot work is found before the work.
	if _, err := call[client.Session](api.GetSession(ctx)); err != nil { //nolint:bodyclose // call does
		return none, err
	}
	f, total, err := o.open()
	if err != nil {
		return none, err
	}
	defer f.Close()
	m := a.meter("cutting", total)
	cut, err := build.Payload(ctx, f, build.Options{Chunks: listed{}, Progress: m.at})
	if err != nil {
		return none, err
	}
	m.end("cut %s into %d chunks", size(cut.Size), cut.Chunks)
	if _, err := a.push(ctx, api, cut.Index, fromImage(f, cut.Index)); err != nil {
		return none, err
	}
	part := component(cut)
	if key == nil {
		return a.publish(ctx, api, unsigned(o.product, o.version, o.hardware, part))
	}
	role, counter, err := productRole(ctx, api, o.product)
	if err != nil {
		return none, err
	}
	old, err := call[client.Release](api.GetRelease(ctx, o.product, o.version)) //nolint:bodyclose // call does
	if err == nil && old.Counter != nil && old.State != client.ReleaseStateFailed {
		counter = uint64(*old.Counter) // the same release again is signed as it was
		role = nil
	}
	manifest := &firmware.Manifest{
		Schema: 1, Product: o.product, Version: o.version, Counter: counter, Hardware: o.hardware,
		Components: []firmware.Component{part},
	}
	signed, err := sign(role, manifest, map[string][]byte{rootfs: cut.Index.Encode()}, key, time.Now())
	if err != nil {
		return none, err
	}
	return a.publish(ctx, api, client.NewRelease{Product: o.product, Version: o.version, Signed: signed})
}

// fromImage returns chunks out of the image that was cut, compressed.
func fromImage(f *os.File, x *firmware.Index) func(context.Context, int) ([]byte, error) {
	return func(_ context.Context, i int) ([]byte, error) {
		span := x.Span(i)
		plain := make([]byte, span.Size)
		if _, err := f.ReadAt(plain, span.Offset); err != nil {
			return nil, err
		}
		if firmware.Sum(plain) != x.Chunks[i].ID {
			return nil, fmt.Errorf("%s changed while it was read; try again when nothing writes to it", f.Name())
		}
		return firmware.EncodeChunk(plain), nil
	}
}

func unsigned(product, version string, hardware []string, parts ...firmware.Component) client.NewRelease {
	components := make([]client.Component, len(parts))
	for i, c := range parts {
		components[i] = client.Component{
			Name: c.Name, Handler: client.ComponentHandler(c.Handler), Size: c.Size, Sha256: c.SHA256.String(),
			IndexSize: c.Index.Size, IndexSha256: c.Index.SHA256.String(),
		}
	}
	return client.NewRelease{Product: product, Version: version, Hardware: &hardware, Components: &components}
}

func (a *app) publish(ctx context.Context, api *client.Client, body client.NewRelease) (client.Release, error) {
	r, err := call[client.Release](api.CreateRelease(ctx, body)) //nolint:bodyclose // call does
	if err != nil {
		return r, err
	}
	if r, err = a.settled(ctx, api, r); err == nil {
		a.say("%s %s is %s", r.Product, r.Version, r.State)
	}
	return r, err
}

// productRole returns what signing needs to know of the server.
func productRole(ctx context.Context, api *client.Client, product string) (role []byte, counter uint64, err error) {
	answer, err := call[client.ProductRole](api.GetProductRole(ctx, product))
	var problem *problemError
	if errors.As(err, &problem) && problem.Status == http.StatusNotFound {
		return nil, 0, fmt.Errorf("%w; for releases signed here: waxwing product create %s --key FILE", err, product)
	}
	if len(answer.Metadata) > 0 {
		role = answer.Metadata
	}
	return role, uint64(answer.NextCounter), err
}

// sign returns a release signed with a product key.
func sign(role []byte, m *firmware.Manifest, indexes map[string][]byte, key keys.Signer, now time.Time) (*client.SignedRelease, error) {
	manifest, err := m.Encode()
	if err != nil {
		return nil, err
	}
	targets := map[string][]byte{firmware.ManifestTarget(m.Product, m.Version): manifest}
	for name, index := range indexes {
		targets[firmware.IndexTarget(m.Product, m.Version, name)] = index
	}
	next, err := repository.SignRelease(role, m.Product, targets, key, now)
	if err != nil {
		return nil, err
	}
	return &client.SignedRelease{Manifest: manifest, Role: next}, nil
}

func isProblem(err error) bool {
	var p *problemError
	return errors.As(err, &p)
}
