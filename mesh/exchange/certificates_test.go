package exchange_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/meshtest"
)

// answering starts a server and returns where.
func answering(t *testing.T, config *tls.Config) netip.AddrPort {
	t.Helper()
	l := listen(t)
	serve(t, exchange.NewServer(exchange.Options{TLS: config}), l)
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// TestCertificates lets a device with each kind of certificate ask an honest one, and be asked by it.
func TestCertificates(t *testing.T) {
	fleet, foreign := meshtest.NewFleet(t), meshtest.NewFleet(t)
	const client, server = x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth
	now := time.Now()
	honest := exchange.TLS(always(fleet.Device(t, "us")), fleet.Pool)
	for name, c := range map[string]struct {
		certificate tls.Certificate
		want        bool
	}{
		"good":                      {fleet.Device(t, "they"), true},
		"expired":                   {fleet.Until(t, "they", now.Add(-time.Second), client, server), false},
		"of another fleet":          {foreign.Device(t, "they"), false},
		"of a server, not a device": {fleet.Until(t, "they", now.Add(time.Hour), server), false},
		"none":                      {tls.Certificate{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			// The other believes in everybody, or it would hang up by itself.
			careless := exchange.TLS(always(c.certificate), fleet.Pool)
			careless.VerifyConnection = nil
			for who, o := range map[string]struct{ asks, answers *tls.Config }{
				"it asks": {careless, honest}, "it is asked": {honest, careless},
			} {
				ask := exchange.NewClient("me", o.asks)
				defer ask.Close()
				id, err := ask.Hello(t.Context(), answering(t, o.answers), 1)
				if (err == nil) != c.want {
					t.Errorf("%s: %q, %v", who, id, err)
				}
			}
		})
	}
}

// TestCertificateExpires holds that a session of before does not outlive the certificate, on neither side.
func TestCertificateExpires(t *testing.T) {
	fleet := meshtest.NewFleet(t)
	end := time.Now().Truncate(time.Second).Add(2 * time.Second)
	short := exchange.TLS(always(fleet.Until(t, "they", end, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth)), fleet.Pool)
	short.VerifyConnection = nil
	honest := exchange.TLS(always(fleet.Device(t, "us")), fleet.Pool)
	resumed := make(chan bool, 4)
	both := map[string]struct {
		at     netip.AddrPort
		client *http.Client
	}{}
	for who, o := range map[string]struct{ asks, answers *tls.Config }{"it asks": {short, honest}, "it is asked": {honest, short}} {
		config := o.asks.Clone()
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		verify := config.VerifyConnection
		config.VerifyConnection = func(s tls.ConnectionState) error {
			resumed <- s.DidResume
			if verify != nil {
				return verify(s)
			}
			return nil
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		both[who] = struct {
			at     netip.AddrPort
			client *http.Client
		}{answering(t, o.answers), client}
	}
	try := func(want, again bool) {
		t.Helper()
		for who, b := range both {
			r, err := b.client.Get("https://" + b.at.String() + "/mesh/v1/hello")
			if err == nil {
				r.Body.Close()
			}
			if (err == nil) != want {
				t.Errorf("%s: %v", who, err)
			}
			if got := <-resumed; want && got != again {
				t.Errorf("%s: a session of before: %v", who, got)
			}
		}
	}
	try(true, false)
	try(true, true)
	<-time.After(time.Until(end.Add(time.Second))) // a certificate is good for the whole of its last second
	try(false, false)                              // whether it is tried with the session is no matter
}
