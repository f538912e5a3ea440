package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

func (a *app) device() *cobra.Command {
	c := &cobra.Command{Use: "device", Short: "Devices"}
	var filter, search string
	list := &cobra.Command{
		Use: "list", Short: "Show devices", Args: cobra.NoArgs,
		Example: "  waxwing device list --filter 'site=oslo, version!=1.1.0'",
		RunE: a.with(func(ctx context.Context, api *client.Client, _ []string) error {
			size := 200
			devices, err := all(func(token *string) ([]client.Device, *string, error) {
				list, err := call[client.DeviceList](api.ListDevices(ctx, &client.ListDevicesParams{
					PageSize: &size, PageToken: token, Filter: optional(filter), Search: optional(search),
				}))
				return list.Items, list.NextPageToken, err
			})
			if err != nil {
				return err
			}
			return a.print(devices, func(w io.Writer) {
				row(w, "ID", "HARDWARE", "VERSION", "PHASE", "ONLINE", "LAST SEEN", "ADMISSION", "GROUPS", "LABELS")
				for _, d := range devices {
					row(w, d.Id, d.Hardware, dash(value(d.Running.Version)), d.Phase, yes(d.Online), when(value(d.LastSeen)), d.Admission,
						dash(strings.Join(d.Groups, ",")), labels(d.Labels))
				}
			})
		}),
	}
	list.Flags().StringVar(&filter, "filter", "", "`SELECTOR` over labels and id, hardware, product, version, phase, admission, online, group")
	list.Flags().StringVar(&search, "search", "", "`TEXT` in the id or a label")
	show := &cobra.Command{
		Use: "show ID", Short: "Show a device, and why it does or does not update", Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			return a.printDevice(call[client.Device](api.GetDevice(ctx, args[0])))
		}),
	}
	accept := &cobra.Command{
		Use: "accept ID", Short: "Let a waiting or rejected device in", Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			return a.printDevice(call[client.Device](api.AcceptDevice(ctx, args[0])))
		}),
	}
	reject := &cobra.Command{
		Use: "reject ID", Short: "Shut a device out; its certificate is refused at once", Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			return a.printDevice(call[client.Device](api.RejectDevice(ctx, args[0])))
		}),
	}
	label := &cobra.Command{
		Use: "label ID KEY=VALUE… KEY-…", Short: "Set labels; KEY- removes one", Args: cobra.MinimumNArgs(2),
		Example: "  waxwing device label d-1 site=oslo camera-",
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			body := client.LabelDeviceJSONRequestBody{Labels: map[string]*string{}}
			for _, arg := range args[1:] {
				if key, v, ok := strings.Cut(arg, "="); ok {
					body.Labels[key] = &v
				} else if key, ok := strings.CutSuffix(arg, "-"); ok {
					body.Labels[key] = nil
				} else {
					return usage("%q: write KEY=VALUE, or KEY- to remove", arg)
				}
			}
			return a.printDevice(call[client.Device](api.LabelDevice(ctx, args[0], body)))
		}),
	}
	c.AddCommand(list, show, accept, reject, label)
	return c
}

func (a *app) printDevice(d client.Device, err error) error {
	if err != nil {
		return err
	}
	return a.print(d, func(w io.Writer) {
		row(w, "id", d.Id)
		row(w, "why", d.Why)
		row(w, "hardware", d.Hardware)
		row(w, "admission", d.Admission)
		row(w, "online", d.Online)
		row(w, "last seen", when(value(d.LastSeen)))
		row(w, "running", strings.TrimSpace(value(d.Running.Product)+" "+value(d.Running.Version)+" (slot "+dash(d.Running.Slot)+")"))
		row(w, "phase", d.Phase)
		row(w, "groups", dash(strings.Join(d.Groups, ",")))
		row(w, "labels", labels(d.Labels))
		row(w, "address", dash(value(d.Address)))
		row(w, "site", dash(value(d.Site)))
		row(w, "link", dash(string(value(d.Link))))
		for _, l := range value(d.Limits) {
			row(w, "limit", fmt.Sprintf("of %s, until %s: %s", l.Of, when(l.Until), l.Detail))
		}
		if lost := value(d.IsolatedFrom); len(lost) > 0 {
			row(w, "isolated", fmt.Sprintf("from %s, whose bytes came from the server", strings.Join(lost, ", ")))
		}
		if why := value(d.Apart); why != "" {
			row(w, "apart", why)
		}
		for _, o := range value(d.Offences) {
			row(w, "accusation", fmt.Sprintf("it says that %s %s, %d times, last %s", o.Neighbor, deed(o.Kind), o.Count, when(o.Last)))
		}
		row(w, "agent", dash(value(d.Agent)))
		if u := d.Update; u != nil {
			row(w, "update", fmt.Sprintf("%s %s: %s %s %s", u.Product, u.Version, u.Phase, value(u.Reason), value(u.Detail)))
			row(w, "bytes", fmt.Sprintf("%s reused, %s from neighbours, %s from the server; %s given to neighbours",
				size(u.Bytes.Reused), size(u.Bytes.Peers), size(u.Bytes.Origin), size(value(u.Bytes.Served))))
			updateSources(w, u)
		}
	})
}

func labels(m map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+"="+m[k])
	}
	return dash(strings.Join(parts, ","))
}

func (a *app) group() *cobra.Command {
	c := &cobra.Command{Use: "group", Short: "Groups: selectors over labels, with a name"}
	list := &cobra.Command{
		Use: "list", Short: "Show groups with their size", Args: cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, api *client.Client, _ []string) error {
			list, err := call[struct {
				Items []client.Group `json:"items"`
			}](api.ListGroups(ctx))
			if err != nil {
				return err
			}
			return a.print(list.Items, func(w io.Writer) { groups(w, list.Items) })
		}),
	}
	var priority int
	var force bool
	set := &cobra.Command{
		Use: "set NAME SELECTOR", Short: "Make or change a group", Args: cobra.ExactArgs(2),
		Example: "  waxwing group set oslo 'site=oslo' --priority 10",
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			g, err := call[client.Group](api.PutGroup(ctx, args[0], &client.PutGroupParams{Force: &force},
				client.PutGroupJSONRequestBody{Selector: args[1], Priority: &priority}))
			if err != nil {
				return err
			}
			return a.print(g, func(w io.Writer) { groups(w, []client.Group{g}) })
		}),
	}
	set.Flags().IntVar(&priority, "priority", 0, "`N`: among the groups of a device the policy of the highest counts, 0..1000")
	set.Flags().BoolVar(&force, "force", false, "also when no device carries a label that the selector names")
	remove := &cobra.Command{
		Use: "delete NAME", Short: "Remove a group that no running rollout uses", Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			if _, err := call[none](api.DeleteGroup(ctx, args[0])); err != nil {
				return err
			}
			a.say("group %s is gone", args[0])
			return nil
		}),
	}
	c.AddCommand(list, set, remove)
	return c
}

func groups(w io.Writer, all []client.Group) {
	row(w, "NAME", "DEVICES", "PRIORITY", "SELECTOR")
	for _, g := range all {
		row(w, g.Name, g.Devices, g.Priority, dash(g.Selector))
	}
}
