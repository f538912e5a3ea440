package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

func (a *app) site() *cobra.Command {
	c := &cobra.Command{Use: "site", Short: "Sites: devices that share an uplink"}
	list := &cobra.Command{
		Use: "list", Short: "Show sites, and where the bytes of their updates came from", Args: cobra.NoArgs,
		Long: `Show sites. A site is the devices with the same label site, else those whose configuration names the same site, else those
that the server sees behind one public address.`,
		RunE: a.with(func(ctx context.Context, api *client.Client, _ []string) error {
			most := 200
			sites, err := all(func(token *string) ([]client.Site, *string, error) {
				list, err := call[client.SiteList](api.ListSites(ctx, &client.ListSitesParams{PageSize: &most, PageToken: token}))
				return list.Items, list.NextPageToken, err
			})
			if err != nil {
				return err
			}
			return a.print(sites, func(w io.Writer) {
				row(w, "ID", "NAME", "DEVICES", "ONLINE", "SHARING", "ISOLATED", "FROM SERVER", "FROM NEIGHBOURS", "SAVED")
				for _, s := range sites {
					row(w, s.Id, s.Name, s.Devices, s.Online, s.Sharing, s.Isolated, size(s.Bytes.Origin), size(s.Bytes.Peers),
						saved(s.Saved, s.Measured))
				}
			})
		}),
	}
	show := &cobra.Command{
		Use: "show ID", Short: "Show a site and its devices", Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			d, err := call[client.SiteDetail](api.GetSite(ctx, args[0], &client.GetSiteParams{}))
			if err != nil {
				return err
			}
			return a.print(d, func(w io.Writer) { siteDetail(w, d) })
		}),
	}
	c.AddCommand(list, show)
	return c
}

func siteDetail(w io.Writer, d client.SiteDetail) {
	s := d.Site
	row(w, "id", s.Id)
	row(w, "name", s.Name)
	row(w, "devices", fmt.Sprintf("%d, %d online, %d sharing, %d isolated", s.Devices, s.Online, s.Sharing, s.Isolated))
	row(w, "bytes", siteBytes(s))
	for _, u := range s.Updates {
		row(w, "update", fmt.Sprintf("%s %s: %d devices, %d committed, %d under way; %s from the server, %s from neighbours%s",
			u.Product, u.Version, u.Devices, u.Committed, u.Moving, size(u.Bytes.Origin), size(u.Bytes.Peers), times(u.Alone, u.Bytes.Origin)))
	}
	siteSources(w, d.Exchange)
	for _, said := range d.Accusations {
		row(w, "accusation", fmt.Sprintf("%s %s, %d times, last %s; so %s", said.Neighbor, deed(said.Kind), said.Count, when(said.Last),
			says(said.By)))
	}
	row(w)
	siteExchange(w, d.Exchange)
	row(w, "DEVICE", "VERSION", "PHASE", "ONLINE", "SHARING", "LINK", "NEIGHBOURS", "FROM SERVER", "FROM NEIGHBOURS", "REUSED", "SERVED",
		"ISOLATED FROM", "APART")
	for _, v := range d.Devices {
		b := value(v.Bytes)
		row(w, v.Id, dash(value(v.Version)), v.Phase, yes(v.Online), yes(v.Sharing), dash(string(value(v.Link))), value(v.Neighbors),
			size(b.Origin), size(b.Peers), size(b.Reused), size(value(b.Served)), dash(strings.Join(value(v.IsolatedFrom), ",")), dash(value(v.Apart)))
	}
}

// deed says what a neighbour is said to have done. A kind of a newer server is shown as it is.
func deed(kind string) string {
	switch kind {
	case "wrong-bytes":
		return "gave wrong bytes, which were thrown away"
	case "no-deeds":
		return "said that it had chunks and did not give them"
	case "flood":
		return "sent more announcements than can be read"
	}
	return kind
}

// says names who says something: the more, the likelier it is.
func says(by []string) string {
	const shown = 5
	if len(by) == 1 {
		return "says " + by[0] + " alone"
	}
	text := "say " + strings.Join(by[:min(len(by), shown)], ", ")
	if more := len(by) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// siteBytes says in one sentence what crossed the uplink, and what would have.
func siteBytes(s client.Site) string {
	if s.Measured == 0 {
		return "none measured yet"
	}
	return fmt.Sprintf("%s from the server for %d devices, %s from neighbours; each alone would have fetched %s together%s",
		size(s.Bytes.Origin), s.Measured, size(s.Bytes.Peers), size(s.Alone), times(s.Alone, s.Bytes.Origin))
}

// times says how often the uplink would have carried its bytes without neighbours; nothing where that says nothing.
func times(alone, uplink int64) string {
	if uplink <= 0 || alone <= uplink {
		return ""
	}
	return fmt.Sprintf(" (%.1f times less)", float64(alone)/float64(uplink))
}

// saved is what neighbours saved the uplink; a dash where nothing was measured, a minus where more crossed it.
func saved(n int64, measured int) string {
	switch {
	case measured == 0:
		return "-"
	case n < 0:
		return "-" + size(-n)
	}
	return size(n)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
