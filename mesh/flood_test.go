package mesh

import (
	"crypto/tls"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFlood tells of a flood by the address alone, whoever asks for it: on which link it is heard says nothing to others.
func TestFlood(t *testing.T) {
	var at, later []Offence
	m, err := New(Options{
		Device: "d-1", Certificate: func() tls.Certificate { return tls.Certificate{} },
		Offended: func(o Offence) { at = append(at, o) },
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Watch(func(o Offence) { later = append(later, o) })
	m.flooded(netip.MustParseAddr("fe80::9%eth0"))
	m.flooded(netip.MustParseAddr("10.0.0.9"))
	want := []Offence{{"fe80::9", Flood}, {"10.0.0.9", Flood}}
	if d := cmp.Diff(want, at); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(want, later); d != "" {
		t.Error(d)
	}
}
