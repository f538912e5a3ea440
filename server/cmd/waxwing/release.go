package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/api/client"
)

func (a *app) release() *cobra.Command {
	c := &cobra.Command{
		Use: "release", Short: "Build, sign, publish and look at releases",
		Long: `A release is made in one step by "create", or in four: "build" cuts an image into a static repository in a folder,
"sign" signs it with a product key, "push" sends what the server lacks, "publish" makes it visible. A folder that "build"
made can also be served as it is, by any web server: "cost" and "extract" work on it at once.`,
	}
	var product string
	list := &cobra.Command{
		Use: "list", Short: "Show releases, newest first", Args: cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, api *client.Client, _ []string) error {
			size := 200
			releases, err := all(func(token *string) ([]client.Release, *string, error) {
				list, err := call[client.ReleaseList](api.ListReleases(ctx, &client.ListReleasesParams{
					PageSize: &size, PageToken: token, Product: optional(product),
				}))
				return list.Items, list.NextPageToken, err
			})
			if err != nil {
				return err
			}
			return a.print(releases, func(w io.Writer) { releaseTable(w, releases) })
		}),
	}
	list.Flags().StringVar(&product, "product", "", "only releases of this `PRODUCT`")
	show := &cobra.Command{
		Use: "show PRODUCT@VERSION", Short: "Show a release, who made it, and the patches that bring devices to it", Args: cobra.ExactArgs(1),
		Long: `Show a release, the CI job that made it, what its pipeline says about it, and the earlier versions from which the server has or makes patches. It makes them by itself after
publication, from the versions that most devices run; a rollout need not wait for them, because a device fetches whole
chunks where there is no patch.`,
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			product, version, err := parseRelease(args[0])
			if err != nil {
				return err
			}
			r, err := call[client.Release](api.GetRelease(ctx, product, version))
			if err != nil {
				return err
			}
			said, err := attestations(ctx, api, product, version)
			if err != nil {
				return err
			}
			return a.print(shownRelease{r, said}, func(w io.Writer) {
				releaseTable(w, []client.Release{r})
				jobTable(w, r.Job)
				attestationTable(w, said)
				patchTable(w, value(r.Patches))
			})
		}),
	}
	yank := &cobra.Command{
		Use: "yank PRODUCT@VERSION", Short: "Let no new rollout use a release", Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			product, version, err := parseRelease(args[0])
			if err != nil {
				return err
			}
			return a.printRelease(call[client.Release](api.YankRelease(ctx, product, version)))
		}),
	}
	c.AddCommand(a.releaseCreate(), a.releaseBuild(), a.releaseSign(), a.releasePush(), a.releasePublish(), a.releaseAttest(), list, show, yank,
		a.releaseCost(), a.withCasync(a.releaseExtract()))
	return c
}

// shownRelease is a release with what was said about it.
type shownRelease struct {
	client.Release
	Attestations []client.Attestation `json:"attestations"`
}

// parseRelease reads "edge-gw@1.1.0".
func parseRelease(text string) (product, version string, err error) {
	product, version, ok := strings.Cut(text, "@")
	if !ok || firmware.CheckName("product", product) != nil || firmware.CheckName("version", version) != nil {
		return "", "", usage("%q: write PRODUCT@VERSION", text)
	}
	return product, version, nil
}

func (a *app) printRelease(r client.Release, err error) error {
	if err != nil {
		return err
	}
	return a.print(r, func(w io.Writer) { releaseTable(w, []client.Release{r}) })
}

func releaseTable(w io.Writer, all []client.Release) {
	row(w, "PRODUCT", "VERSION", "STATE", "COUNTER", "SIZE", "STORED", "NEW", "HARDWARE", "DEVICES", "CREATED")
	for _, r := range all {
		state := string(r.State)
		if r.State == client.ReleaseStateBuilding && r.Progress.Total > 0 {
			state = fmt.Sprintf("building %d %%", 100*r.Progress.Done/r.Progress.Total)
		}
		if r.Error != nil {
			state += ": " + *r.Error
		}
		row(w, r.Product, r.Version, state, value(r.Counter), size(r.Size.Payload), size(r.Size.Stored), size(r.Size.NewChunks),
			dash(strings.Join(value(r.Hardware), ",")), value(r.Devices), when(r.CreatedAt))
	}
}

func patchTable(w io.Writer, all []client.Patches) {
	if len(all) == 0 {
		return
	}
	row(w)
	row(w, "PATCHES FROM", "STATE", "SIZE", "OF WHICH INDEX", "CHUNKS", "DEVICES")
	for _, p := range all {
		state := string(p.State)
		if p.State == client.PatchesStateBuilding && p.Progress.Total > 0 {
			state = fmt.Sprintf("building %d %%", 100*p.Progress.Done/p.Progress.Total)
		}
		if p.Error != nil {
			state += ": " + *p.Error
		}
		row(w, p.Base, state, size(p.Bytes), size(p.IndexBytes), p.Chunks, value(p.Devices))
	}
}
