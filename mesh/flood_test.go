package mesh

import (
	"crypto/tls"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFlood tells of a flood by the address alone: on which link it is heard says nothing to others.
func TestFlood(t *testing.T) {
	var at []Offence
	m, err := New(Options{
		Device: "d-1", Certificate: func() tls.Certificate { return tls.Certificate{} },
		Offended: func(o Offence) { at = append(at, o) },
	})
	if err != nil {
		t.Fatal(err)
	}
	m.flooded(netip.MustParseAddr("fe80::9%eth0"))
	m.flooded(netip.MustParseAddr("10.0.0.9"))
	want := []Offence{{"fe80::9", Flood}, {"10.0.0.9", Flood}}
	if d := cmp.Diff(want, at); d != "" {
		t.Error(d)
	}
}
