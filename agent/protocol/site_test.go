package protocol_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

var byText = cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })

func TestHolder(t *testing.T) {
	at := func(s ...string) (out []netip.AddrPort) {
		for _, a := range s {
			out = append(out, netip.MustParseAddrPort(a))
		}
		return out
	}
	for _, c := range []struct {
		text string
		want protocol.Holder
		bad  bool
	}{
		{text: "d-1", want: protocol.Holder{Device: "d-1"}},
		{text: "d-1 10.0.0.5:41234 [fd00::5]:41234", want: protocol.Holder{Device: "d-1", Addresses: at("10.0.0.5:41234", "[fd00::5]:41234")}},
		{text: "d-1 printer:80 10.0.0.5 10.0.0.5:x [::ffff:10.0.0.6]:7", want: protocol.Holder{Device: "d-1", Addresses: at("10.0.0.6:7")}},
		{text: "d-1" + strings.Repeat(" 10.0.0.5:1", 20), want: protocol.Holder{Device: "d-1", Addresses: at(strings.Fields(strings.Repeat("10.0.0.5:1 ", 8))...)}},
		{text: "", bad: true},
		{text: "../etc 10.0.0.5:1", bad: true},
		{text: strings.Repeat("a ", 2000), bad: true},
	} {
		got, err := protocol.ParseHolder(c.text)
		if d := cmp.Diff(c.want, got, byText); d != "" || (err != nil) != c.bad {
			t.Errorf("%.40q: %v %s", c.text, err, d)
		}
	}
}

func TestReportBoundsWhatItSaysOfTheSite(t *testing.T) {
	report := func(change string) string {
		return `{"schema":1,"device":"d-1","seq":1,"time":"2026-01-01T00:00:00Z","running":{"slot":"a","sha256":"` + strings.Repeat("0", 64) + `"},` + change + `}`
	}
	r, err := protocol.ParseReport([]byte(report(`"mesh":{"addresses":["1","2","3","4","5","6","7","8","9"],"share":true,"link":"carrier pigeon","site":"oslo"},
		"isolated":["a","b","c","d","e","f","g","h","i"]`)))
	if err != nil {
		t.Fatal(err)
	}
	want := &protocol.Mesh{Addresses: strings.Split("12345678", ""), Share: true, Site: "oslo"}
	if d := cmp.Diff(want, r.Mesh); d != "" || len(r.Isolated) != protocol.MaxIsolated {
		t.Error(r.Isolated, d)
	}
	for _, bad := range []string{`"mesh":{"site":"a b"}`, `"isolated":["../x"]`} {
		if _, err := protocol.ParseReport([]byte(report(bad))); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

func TestIsolated(t *testing.T) {
	got := protocol.ParseIsolated(" d-1, d-2,,../x,a b,d-3")
	if d := cmp.Diff([]string{"d-1", "d-2", "d-3"}, got); d != "" {
		t.Error(d)
	}
	if got := protocol.ParseIsolated(strings.Repeat("d-1,", 5000)); len(got) != protocol.MaxIsolated {
		t.Error(len(got))
	}
}

// FuzzSite holds that what is read is bounded and for this device, whatever comes.
func FuzzSite(f *testing.F) {
	f.Add(`{"schema":1,"device":"d-1","site":"oslo","epoch":"00ff","peers":[{"device":"d-2","addresses":["10.0.0.2:7"]}]}`)
	f.Add(`{"schema":1,"device":"d-2"}`)
	f.Add(`{"schema":1,"device":"d-1","peers":[` + strings.Repeat(`{"device":"d-2"},`, 40) + `{"device":"d-3"}]}`)
	f.Add("d-1 10.0.0.1:1 [fe80::1%eth0]:2")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := protocol.ParseSite([]byte(text), "d-1"); err == nil {
			if s.Device != "d-1" || len(s.Peers) > protocol.MaxPeers {
				t.Errorf("%+v", s)
			}
			for _, p := range s.Peers {
				if len(p.Addresses) > protocol.MaxAddresses || len(protocol.ParseAddresses(p.Addresses)) > protocol.MaxAddresses {
					t.Errorf("%+v", p)
				}
			}
			if _, err := json.Marshal(s); err != nil {
				t.Error(err)
			}
		}
		h, err := protocol.ParseHolder(text)
		if err != nil {
			return
		}
		again, err := protocol.ParseHolder(h.String())
		if d := cmp.Diff(h, again, byText); err != nil || d != "" {
			t.Error(err, d)
		}
	})
}
