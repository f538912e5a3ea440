package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

// app is what all commands share: where words and data go, and how to reach the server.
type app struct {
	in         io.Reader
	out, words io.Writer
	getenv     func(string) string

	output string // table, json
	server string
}

const maxAnswer = 64 << 20 // bytes of one answer of the server

func (a *app) root() *cobra.Command {
	c := &cobra.Command{
		Use: "waxwing", Short: "Publish releases and roll them out to devices",
		Long: `Waxwing publishes releases, walks rollouts and looks after devices.

Data goes to standard output, as a table or with -o json; words go to standard error. Server and token come from
--server, from WAXWING_SERVER and WAXWING_TOKEN, or from the last login, in this order. In a CI job without a token the job's
OIDC identity is traded for one, when the server trusts its pipeline (waxwing ci trust).

Exit codes: 0 done, 1 failed, 2 wrong command line, 3 no such thing, 4 contradicts what is there,
5 not signed in or not allowed, 6 the rollout was aborted.`,
		SilenceUsage: true, SilenceErrors: true, Version: buildVersion(),
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != "table" && a.output != "json" {
				return usage("-o %s: write table or json", a.output)
			}
			return nil
		},
	}
	c.SetOut(a.out)
	c.SetErr(a.words)
	c.SetIn(a.in)
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%v", err) })
	c.PersistentFlags().StringVarP(&a.output, "output", "o", "table", "`FORMAT` of data: table or json")
	c.PersistentFlags().StringVar(&a.server, "server", "", "`URL` of the operator plane")
	c.AddCommand(a.login(), a.logout(), a.whoami(), a.keys(), a.product(), a.release(), a.rollout(), a.device(), a.site(), a.group(),
		a.token(), a.ci(), a.audit())
	strict(c)
	return c
}

// strict makes cobra's own complaints about arguments errors of usage, and unknown subcommands errors at all.
func strict(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage("%s: %v", c.CommandPath(), err)
			}
			return nil
		}
	}
	if c.HasSubCommands() {
		c.Args = cobra.ArbitraryArgs
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("%s has no command %q", c.CommandPath(), args[0])
			}
			return c.Help()
		}
	}
	for _, sub := range c.Commands() {
		strict(sub)
	}
}

// api returns a client of the server, signed in.
func (a *app) api() (*client.Client, error) {
	server, token, err := a.where()
	if err != nil {
		return nil, err
	}
	if token == "" && a.inJob() {
		return connect(server, "", client.WithRequestEditorFn(a.asJob(server)))
	}
	return connect(server, token)
}

func connect(server, token string, more ...client.ClientOption) (*client.Client, error) {
	return client.NewClient(strings.TrimSuffix(server, "/")+"/api/v1", append([]client.ClientOption{
		client.WithHTTPClient(&http.Client{}),
		client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			if token != "" {
				r.Header.Set("Authorization", "Bearer "+token)
			}
			r.Header.Set("User-Agent", "waxwing/"+buildVersion())
			return nil
		}),
	}, more...)...)
}

// none is the answer of operations that answer with nothing.
type none struct{}

// call reads an answer: the value, or the problem as an error.
func call[T any](r *http.Response, err error) (T, error) {
	var v T
	if err != nil {
		return v, fmt.Errorf("the server does not answer; is it running, and is --server right? %w", err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	if err != nil {
		return v, fmt.Errorf("the answer broke off: %w", err)
	}
	if r.StatusCode >= http.StatusBadRequest {
		p := &problemError{}
		if json.Unmarshal(body, &p.Problem) != nil || p.Title == "" {
			p.Title = fmt.Sprintf("%s answered %s; is this the operator plane of a Waxwing server?", r.Request.URL.Host, r.Status)
		}
		p.Status = r.StatusCode
		return v, p
	}
	if len(body) == 0 {
		return v, nil
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return v, fmt.Errorf("%s answered with something else than it should: %w", r.Request.URL, err)
	}
	return v, nil
}

// print writes data: v as JSON, or what table writes, one line a row with tabs between.
func (a *app) print(v any, table func(w io.Writer)) error {
	if a.output == "json" {
		e := json.NewEncoder(a.out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	w := tabwriter.NewWriter(a.out, 0, 8, 2, ' ', 0)
	table(w)
	return w.Flush()
}

// row writes a line of a table.
func row(w io.Writer, cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		fmt.Fprint(w, c)
	}
	fmt.Fprintln(w)
}

// say writes words for people.
func (a *app) say(format string, v ...any) { fmt.Fprintf(a.words, format+"\n", v...) }

// log returns a logger for what is worth knowing and stops nothing.
func (a *app) log() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.words, &slog.HandlerOptions{ReplaceAttr: func(_ []string, t slog.Attr) slog.Attr {
		if t.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return t
	}}))
}

// all reads every page of a list.
func all[T any](next func(token *string) (items []T, after *string, err error)) ([]T, error) {
	items := []T{}
	var token *string
	for {
		part, after, err := next(token)
		if err != nil {
			return nil, err
		}
		items = append(items, part...)
		if after == nil {
			return items, nil
		}
		token = after
	}
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// dash stands for what is not known.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// size writes bytes for people.
func size(n int64) string {
	switch {
	case n < 10_000:
		return fmt.Sprintf("%d B", n)
	case n < 10_000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 10_000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// version is set by the linker.
var version string

// buildVersion is what the linker set, or what Go knows of the build.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

var errNoServer = errors.New("no server is known; run `waxwing login --server URL` or set WAXWING_SERVER")
