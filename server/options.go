package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/dashboard"
	"github.com/waxwing-ota/waxwing/server/site"
)

// Options of New. Only Data must be given.
type Options struct {
	Data string // folder of everything that this server keeps

	OperatorListen string // "127.0.0.1:8080" when empty
	DeviceListen   string // ":8443"
	MQTTListen     string // ":8883"; of the embedded broker
	// Advertise is the host name or address by which devices reach this server. Empty: the address that it listens on, or
	// for all addresses, the first one that is not loopback.
	Advertise string

	OperatorCert, OperatorKey string // PEM files; with them the operator plane speaks TLS
	InsecureOperator          bool   // listen without TLS beyond loopback, behind a proxy that adds it

	OIDCCA string // PEM file with CAs of CI platforms' issuers, beside the system's; for a GitLab of one's own

	Etcd       []string // endpoints of a cluster; none: embedded
	MQTTBroker string   // tls://host:port of an external broker; empty: embedded
	MQTTCA     string   // PEM file with the CA of that broker; empty: the fleet's
	Blob       string   // folder of the blobs; empty: Data/blob
	OpenRepo   bool     // serve /repo to everybody, for a CDN in front of it
	// Sites says how devices of one site are told; empty: site.Auto. Behind a load balancer that hides their addresses it
	// must be site.ByLabel.
	Sites    site.Mode
	MaxImage int64 // bytes of an uploaded image; 0: 16 GiB

	PatchWorkers int // cores that make patches in the background; 0: half of them, four at most; less than 0: no patches are made

	Dashboard http.Handler // nil: the one that is built in
	Log       *slog.Logger
	Now       func() time.Time // nil: the clock of the machine
}

// ErrOptions says that the options contradict each other or cannot be met.
var ErrOptions = errors.New("cannot start like this")

// complete fills in defaults and refuses what would be unsafe or cannot work.
func (o Options) complete() (Options, error) {
	bad := func(format string, a ...any) (Options, error) {
		return o, fmt.Errorf("%w: %s", ErrOptions, fmt.Sprintf(format, a...))
	}
	if o.Data == "" {
		return bad("--data DIR must be given: everything that the server keeps lies there")
	}
	for _, d := range []struct {
		value *string
		or    string
	}{{&o.OperatorListen, "127.0.0.1:8080"}, {&o.DeviceListen, ":8443"}, {&o.MQTTListen, ":8883"}} {
		if *d.value == "" {
			*d.value = d.or
		}
		if _, _, err := net.SplitHostPort(*d.value); err != nil {
			return bad("%q is no address to listen on; write host:port or :port", *d.value)
		}
	}
	if (o.OperatorCert == "") != (o.OperatorKey == "") {
		return bad("--operator-tls-cert and --operator-tls-key belong together")
	}
	if o.OperatorCert == "" && !o.InsecureOperator && !loopback(o.OperatorListen) {
		return bad("operators would send their tokens to %s in the clear; give --operator-tls-cert and --operator-tls-key, "+
			"listen on 127.0.0.1, or say --insecure-operator when a proxy in front of it adds TLS", o.OperatorListen)
	}
	if scheme, _, ok := strings.Cut(o.Blob, "://"); ok {
		return bad("--blob %s://: buckets are not in this version; give a folder", scheme)
	}
	if o.MQTTBroker != "" {
		u, err := url.Parse(o.MQTTBroker)
		if err != nil || u.Host == "" || u.Scheme != "tls" && u.Scheme != "ssl" && u.Scheme != "mqtts" {
			return bad("--mqtt-broker %q: write tls://host:port", o.MQTTBroker)
		}
	}
	switch o.Sites {
	case "":
		o.Sites = site.Auto
	case site.Auto, site.ByLabel, site.Off:
	default:
		return bad("--sites %s: write auto, label or off", o.Sites)
	}
	if o.Blob == "" {
		o.Blob = filepath.Join(o.Data, "blob")
	}
	if o.Dashboard == nil {
		o.Dashboard = dashboard.Handler()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return o, fmt.Errorf("data folder: %w", err)
	}
	return o, nil
}

// loopback reports whether an address to listen on is reachable from this machine only.
func loopback(listen string) bool {
	host, _, _ := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// reachable returns a host that others can connect to: the given one, or for "all addresses" one of this machine.
func reachable(host string) string {
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		return host
	}
	if all := addresses(); len(all) > 0 {
		return all[0]
	}
	return "127.0.0.1"
}

// addresses returns the addresses of this machine that others can reach, IPv4 first.
func addresses() []string {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	var four, six []string
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		switch {
		case !ok || !n.IP.IsGlobalUnicast():
		case n.IP.To4() != nil:
			four = append(four, n.IP.String())
		default:
			six = append(six, n.IP.String())
		}
	}
	return append(four, six...)
}
