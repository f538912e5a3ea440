package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

func (a *app) rollout() *cobra.Command {
	c := &cobra.Command{Use: "rollout", Short: "Walk a release through a group, stage by stage"}
	show := &cobra.Command{
		Use: "show [ID]", Short: "Show a rollout, without an id the newest", Args: cobra.MaximumNArgs(1),
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			id, err := newest(ctx, api, args)
			if err != nil {
				return err
			}
			return a.printRollout(call[client.Rollout](api.GetRollout(ctx, id)))
		}),
	}
	list := &cobra.Command{
		Use: "list", Short: "Show rollouts, newest first", Args: cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, api *client.Client, _ []string) error {
			size := 200
			rollouts, err := all(func(token *string) ([]client.Rollout, *string, error) {
				list, err := call[client.RolloutList](api.ListRollouts(ctx, &client.ListRolloutsParams{PageSize: &size, PageToken: token}))
				return list.Items, list.NextPageToken, err
			})
			if err != nil {
				return err
			}
			return a.print(rollouts, func(w io.Writer) {
				row(w, "ID", "RELEASE", "GROUP", "STATE", "STAGE", "DONE", "FAILED", "CREATED")
				for _, r := range rollouts {
					row(w, r.Id, r.Product+" "+r.Version, r.Group, r.State, fmt.Sprintf("%d/%d", r.Stage+1, len(r.Stages)),
						fmt.Sprintf("%d/%d", r.Counts.Succeeded, r.Counts.Total-r.Counts.Excluded), r.Counts.Failed, when(r.CreatedAt))
				}
			})
		}),
	}
	watch := &cobra.Command{
		Use: "watch [ID]", Short: "Follow a rollout, without an id the newest, to its end: exit code 0 when completed, 6 when aborted",
		Args: cobra.MaximumNArgs(1),
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			id, err := newest(ctx, api, args)
			if err != nil {
				return err
			}
			return a.watch(ctx, api, id)
		}),
	}
	c.AddCommand(a.rolloutCreate(), list, show, watch)
	for _, act := range []struct{ name, short string }{
		{"pause", "Let nobody begin; who has begun goes on"},
		{"resume", "Go on after a pause"},
		{"promote", "Open the next stage without waiting for the gate"},
		{"abort", "End it; nobody begins any more"},
	} {
		var reason string
		sub := &cobra.Command{
			Use: act.name + " ID", Short: act.short, Args: cobra.ExactArgs(1),
			RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
				return a.printRollout(call[client.Rollout](api.ActOnRollout(ctx, args[0],
					client.ActOnRolloutParamsAction(act.name), client.ActOnRolloutJSONRequestBody{Reason: optional(reason)})))
			}),
		}
		sub.Flags().StringVar(&reason, "reason", "", "`TEXT` for the audit trail")
		c.AddCommand(sub)
	}
	return c
}

// rolloutFlags are what a person says of a new rollout.
type rolloutFlags struct {
	product, version, group, stages string
	soak, deadline                  time.Duration
	success, abortPercent, abort    int
	approve, dryRun, watch          bool
	probes                          []string
}

// newest returns the id that was given, or the newest rollout's.
func newest(ctx context.Context, api *client.Client, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	one := 1
	list, err := call[client.RolloutList](api.ListRollouts(ctx, &client.ListRolloutsParams{PageSize: &one}))
	if err == nil && len(list.Items) == 0 {
		err = errors.New("there is no rollout yet; start one with `waxwing rollout create`")
	}
	if err != nil {
		return "", err
	}
	return list.Items[0].Id, nil
}

func (a *app) rolloutCreate() *cobra.Command {
	var o rolloutFlags
	c := &cobra.Command{
		Use: "create", Short: "Start a rollout", Args: cobra.NoArgs,
		Long: `Start a rollout of a published release to a group. Each stage holds the devices of the ones before it; the next one opens
when enough of the open ones succeeded, the soak time is over and, with --approve, a person promoted it.`,
		Example: "  waxwing rollout create --product edge-gw --version 1.1.0 --stages 1,50%,100% --soak 10m --watch",
		RunE: func(c *cobra.Command, _ []string) error {
			body, err := o.body(c)
			if err != nil {
				return err
			}
			api, err := a.api()
			if err != nil {
				return err
			}
			r, err := call[client.Rollout](api.CreateRollout(c.Context(), &client.CreateRolloutParams{DryRun: &o.dryRun}, body))
			if err != nil {
				return err
			}
			if o.watch && !o.dryRun {
				a.say("started %s", r.Id)
				return a.watch(c.Context(), api, r.Id)
			}
			return a.printRollout(r, nil)
		},
	}
	f := c.Flags()
	f.StringVar(&o.product, "product", "", "`NAME` of the product (required)")
	f.StringVar(&o.version, "version", "", "`VERSION` of the release (required)")
	f.StringVar(&o.group, "group", "all", "`GROUP` of devices")
	f.StringVar(&o.stages, "stages", "1,50%,100%", "`STAGES`: counts, percentages, or device ids joined by +")
	f.DurationVar(&o.soak, "soak", 0, "`TIME` that a stage is watched after its successes")
	f.IntVar(&o.success, "success", 90, "`PERCENT` of the open stages that must succeed")
	f.BoolVar(&o.approve, "approve", false, "wait for `waxwing rollout promote` after each stage")
	f.IntVar(&o.abortPercent, "abort-percent", 10, "stop when this `PERCENT` of the open stages failed")
	f.IntVar(&o.abort, "abort-failures", 1, "… and at least `N` devices")
	f.DurationVar(&o.deadline, "deadline", 5*time.Minute, "`TIME` that a device has from its restart to prove itself")
	f.StringSliceVar(&o.probes, "probe", nil, "`NAMES` of health probes that must pass (default: all that a device has)")
	f.BoolVar(&o.dryRun, "dry-run", false, "only say who would be in which stage and who would be left out")
	f.BoolVar(&o.watch, "watch", false, "follow it to its end")
	return c
}

func (o *rolloutFlags) body(c *cobra.Command) (client.NewRollout, error) {
	var body client.NewRollout
	if o.product == "" || o.version == "" {
		return body, usage("--product and --version must be given")
	}
	stages, err := parseStages(o.stages)
	if err != nil {
		return body, err
	}
	soak, deadline := int(o.soak/time.Second), int(o.deadline/time.Second)
	for i := range stages {
		stages[i].Gate = &client.Gate{SuccessPercent: &o.success, SoakSeconds: &soak}
		if o.approve && i < len(stages)-1 { // after the last one there is nothing to promote to
			stages[i].Gate.Approval = &o.approve
		}
	}
	body = client.NewRollout{
		Product: o.product, Version: o.version, Group: &o.group, Stages: &stages,
		Abort:  &client.Abort{Failures: &o.abort, FailurePercent: &o.abortPercent},
		Health: &client.Health{DeadlineSeconds: &deadline},
	}
	if len(o.probes) > 0 {
		body.Health.Probes = &o.probes
	}
	return body, nil
}

// parseStages reads "1,50%,100%": counts, percentages, or device ids joined by "+".
func parseStages(text string) ([]client.Stage, error) {
	var stages []client.Stage
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		digits, percent := strings.CutSuffix(part, "%")
		n, err := strconv.Atoi(strings.TrimSpace(digits))
		switch {
		case err == nil && n < 1, percent && (err != nil || n > 100), part == "":
			return nil, usage("--stages: %q is no count, percentage from 1 to 100, or device id", part)
		case percent:
			stages = append(stages, client.Stage{Percent: &n})
		case err == nil:
			stages = append(stages, client.Stage{Count: &n})
		default:
			ids := strings.Split(part, "+")
			stages = append(stages, client.Stage{Devices: &ids})
		}
	}
	return stages, nil
}

func (a *app) printRollout(r client.Rollout, err error) error {
	if err != nil {
		return err
	}
	return a.print(r, func(w io.Writer) { rolloutTable(w, r) })
}

func rolloutTable(w io.Writer, r client.Rollout) {
	row(w, fmt.Sprintf("%s  %s %s to %s  %s", dash(r.Id), r.Product, r.Version, r.Group, r.State))
	row(w, r.Why)
	row(w, "STAGE", "WANT", "PENDING", "BUSY", "PROVING", "DONE", "FAILED", "")
	for i, s := range r.Stages {
		mark := ""
		switch {
		case s.PassedAt != nil:
			mark = "passed"
		case s.Open && i == r.Stage:
			mark = "open"
			if r.WaitingFor != nil {
				mark += ", waits for " + string(*r.WaitingFor)
			}
		}
		c := s.Counts
		row(w, s.Name, s.Want, c.Pending, c.Waiting+c.Downloading+c.Installing+c.Rebooting, c.Proving, c.Succeeded, c.Failed, mark)
	}
	c := r.Counts
	row(w, "all", c.Total-c.Excluded, c.Pending, c.Waiting+c.Downloading+c.Installing+c.Rebooting, c.Proving, c.Succeeded, c.Failed, "")
	for _, f := range r.Failures {
		row(w, fmt.Sprintf("failed: %d by %s %s", f.Devices, f.Reason, value(f.Example)))
	}
	for _, e := range value(r.Exclusions) {
		row(w, fmt.Sprintf("left out: %d, %s", e.Devices, e.Reason))
	}
}
