// Command waxwing-server is the server: it keeps releases and devices, walks rollouts, and shows them to people.
//
//	waxwing-server --data DIR
//
// Every flag can be given as an environment variable too: --operator-listen is WAXWING_SERVER_OPERATOR_LISTEN. A flag
// goes before a variable. See --help for all of them, and package server for what lies in DIR.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/waxwing-ota/waxwing/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(os.Stderr).ExecuteContext(ctx)
	stop()
	switch {
	case errors.Is(err, server.ErrOptions), errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "waxwing-server:", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "waxwing-server:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("see waxwing-server --help")

const manual = `The Waxwing server: releases, devices, rollouts and the dashboard in one process.

It serves three planes:
  operators  http://127.0.0.1:8080   dashboard, /api/v1, /metrics, /healthz
  devices    https://HOST:8443       enrolment, documents, reports and /repo, with client certificates
  MQTT       tls://HOST:8883         the embedded broker, with client certificates

Everything that it keeps lies in --data. The first start makes the fleet CA, the signing keys (a development trust: all
keys on this machine) and an admin token in DIR/admin.token. While it serves, DIR/server.json says where.

Every flag can also be given as an environment variable: --operator-listen is WAXWING_SERVER_OPERATOR_LISTEN.

Exit codes: 0 stopped by a signal, 1 a failure, 2 wrong flags.`

const example = `  waxwing-server --data /var/lib/waxwing-server
  waxwing-server --data d --advertise ota.example.org \
      --operator-listen :443 --operator-tls-cert cert.pem --operator-tls-key key.pem
  waxwing-server --data d --etcd https://10.0.0.1:2379,https://10.0.0.2:2379 --mqtt-broker tls://mqtt.example.org:8883`

func command(words io.Writer) *cobra.Command {
	var o server.Options
	level := new(slog.LevelVar)
	var levelName string
	c := &cobra.Command{
		Use: "waxwing-server --data DIR", Short: "Run a Waxwing server", Long: manual, Example: example,
		Args: cobra.NoArgs, Version: buildVersion(), SilenceUsage: true, SilenceErrors: true,
		PreRunE: func(c *cobra.Command, _ []string) error {
			if err := fromEnvironment(c.Flags(), os.LookupEnv); err != nil {
				return err
			}
			if err := level.UnmarshalText([]byte(levelName)); err != nil {
				return fmt.Errorf("--log-level %q is not debug, info, warn or error; %w", levelName, errUsage)
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error {
			o.Log = slog.New(slog.NewTextHandler(words, &slog.HandlerOptions{Level: level}))
			s, err := server.New(o)
			if err != nil {
				return err
			}
			return s.Run(c.Context())
		},
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w; %w", err, errUsage) })
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&o.Data, "data", "", "`DIR` of everything that the server keeps (required)")
	f.StringVar(&o.OperatorListen, "operator-listen", "127.0.0.1:8080", "`ADDRESS` of the operator plane; port 0 takes a free one")
	f.StringVar(&o.DeviceListen, "device-listen", ":8443", "`ADDRESS` of the device plane")
	f.StringVar(&o.MQTTListen, "mqtt-listen", ":8883", "`ADDRESS` of the embedded broker")
	f.StringVar(&o.Advertise, "advertise", "", "`HOST` by which devices reach this server (default: an address of this machine)")
	f.StringVar(&o.OperatorCert, "operator-tls-cert", "", "PEM `FILE` with the certificate of the operator plane")
	f.StringVar(&o.OperatorKey, "operator-tls-key", "", "PEM `FILE` with its key")
	f.BoolVar(&o.InsecureOperator, "insecure-operator", false, "let operators in without TLS beyond loopback, behind a proxy that adds it")
	f.StringVar(&o.OIDCCA, "oidc-ca", "", "PEM `FILE` with CAs that vouch for issuers of CI jobs' identities, beside the system's")
	f.StringSliceVar(&o.Etcd, "etcd", nil, "`URLS` of an etcd cluster (default: one inside this process)")
	f.StringVar(&o.MQTTBroker, "mqtt-broker", "", "`URL` of an external broker, tls://host:port (default: one inside this process)")
	f.StringVar(&o.MQTTCA, "mqtt-ca", "", "PEM `FILE` with the CA of that broker (default: the fleet CA)")
	f.StringVar(&o.Blob, "blob", "", "`URL` or folder of images and repository (default: DIR/blob)")
	f.BoolVar(&o.OpenRepo, "open-repo", false, "serve /repo without a certificate, for a CDN in front of it")
	f.StringVar((*string)(&o.Sites), "sites", "auto", "`MODE`: how devices of one site are told: auto (label site, else configuration, else public address), label, off")
	f.Int64Var(&o.MaxImage, "max-image", 0, "largest image in `BYTES` (default 16 GiB)")
	f.IntVar(&o.PatchWorkers, "patch-workers", 0, "`CORES` that make patches in the background, 200 MB each (default half of them, at most 4; -1: make none)")
	f.StringVar(&levelName, "log-level", "info", "`LEVEL`: debug, info, warn or error")
	return c
}

// fromEnvironment sets the flags that were not given from the environment.
func fromEnvironment(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "WAXWING_SERVER_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value, ok := lookup(name); ok && !f.Changed && f.Name != "help" && f.Name != "version" {
			if err := flags.Set(f.Name, value); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w; %w", name, err, errUsage))
			}
		}
	})
	return errors.Join(errs...)
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
