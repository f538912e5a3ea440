package discovery

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"
)

const self, other = "00000000000000aa", "00000000000000bb"

// wired is a network as a device has it, with addresses whose last part is n.
func wired(n int) network {
	return network{
		Interface: net.Interface{Index: 2, Name: "eth0", Flags: net.FlagUp | net.FlagRunning | net.FlagMulticast},
		prefixes:  []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.0.0.%d/24", n)), netip.MustParsePrefix(fmt.Sprintf("fe80::%x/64", n))},
	}
}

func codecOf(t testing.TB, name, fleet string, port int) *codec {
	t.Helper()
	c, err := newCodec(name, fleet, wired(7), port)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// said returns the message that makes a codec say something.
func said(t testing.TB, make func() ([]byte, error)) []byte {
	t.Helper()
	b, err := make()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMessages(t *testing.T) {
	us, them, strangers := codecOf(t, self, "fleet", 1000), codecOf(t, other, "fleet", 2000), codecOf(t, other, "another", 2000)
	known := func(names ...string) []byte { return said(t, func() ([]byte, error) { return them.question(names) }) }
	announce := func(c *codec, bye bool) []byte {
		return said(t, func() ([]byte, error) { return c.answer(bye) })
	}
	var many []string
	for i := range 500 {
		many = append(many, fmt.Sprintf("%016x", i))
	}
	edited := func(b []byte, edit func(m *dns.Msg)) []byte {
		var m dns.Msg
		if err := m.Unpack(b); err != nil {
			t.Fatal(err)
		}
		edit(&m)
		return said(t, m.Pack)
	}
	for name, c := range map[string]struct {
		b    []byte
		want message
		ok   bool
	}{
		"announcement":           {announce(them, false), message{instance: other, port: 2000}, true},
		"goodbye":                {announce(them, true), message{instance: other, port: 2000, bye: true}, true},
		"own announcement":       {announce(us, false), message{instance: self, port: 1000}, true},
		"another fleet's":        {announce(strangers, false), message{}, false},
		"question to all":        {known(), message{question: true, asks: true}, true},
		"question by who knows":  {known(self), message{question: true, known: []string{self}}, true},
		"question by who lacks":  {known("00000000000000cc"), message{question: true, asks: true, known: []string{"00000000000000cc"}}, true},
		"question naming others": {known(many...), message{question: true, asks: true, known: many[:maxKnown]}, true},
		"capitals": {
			edited(known(), func(m *dns.Msg) { m.Question[0].Name = "_waxwing._tcp.LOCAL." }),
			message{question: true, asks: true},
			true,
		},
		"wants unicast": {edited(known(), func(m *dns.Msg) { m.Question[0].Qclass |= wantUnicast }), message{question: true, asks: true}, true},
		"for the instance": {edited(known(), func(m *dns.Msg) {
			m.Question[0] = dns.Question{Name: self + "." + serviceName, Qtype: dns.TypeSRV, Qclass: dns.ClassINET}
		}), message{asks: true}, true},
		"known, about to expire": {edited(known(self), func(m *dns.Msg) { m.Answer[0].Header().Ttl = 59 }), message{question: true, asks: true}, true},
		"another service":        {edited(known(), func(m *dns.Msg) { m.Question[0].Name = "_ipp._tcp.local." }), message{}, false},
		"another opcode":         {edited(known(), func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate }), message{}, false},
		"a failure":              {edited(announce(them, false), func(m *dns.Msg) { m.Rcode = dns.RcodeRefused }), message{}, false},
		"port 0":                 {edited(announce(them, false), func(m *dns.Msg) { m.Answer[1].(*dns.SRV).Port = 0 }), message{}, false},
		"another version":        {edited(announce(them, false), func(m *dns.Msg) { m.Answer[len(m.Answer)-1].(*dns.TXT).Txt[0] = "v=2" }), message{}, false},
		"a chosen name": {edited(announce(them, false), func(m *dns.Msg) {
			for _, r := range m.Answer[1:] {
				r.Header().Name = strings.Replace(r.Header().Name, other, "<script>alert(1)", 1)
			}
		}), message{}, false},
		"nothing":    {nil, message{}, false},
		"huge":       {slices.Concat(announce(them, false), make([]byte, maxMessage)), message{}, false},
		"truncated":  {announce(them, false)[:60], message{}, false},
		"overstated": {binary.BigEndian.AppendUint16(announce(them, false)[:6:6], 65535), message{}, false},
		"names itself": {slices.Concat([]byte{0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0}, mark(), []byte{0, 0, 12, 0, 1},
			[]byte{0xc0, 31, 0, 12, 0, 1}), message{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := us.decode(c.b)
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(message{})); ok != c.ok || (ok && diff != "") {
				t.Errorf("%v %s", ok, diff)
			}
		})
	}
	for _, b := range [][]byte{announce(them, false), known(many...)} {
		if len(b) > maxMessage {
			t.Errorf("a message of its own has %d bytes", len(b))
		}
	}
	if _, err := newCodec(self, strings.Repeat("x", 250), wired(7), 1000); err == nil {
		t.Error("a tag that no message holds is taken")
	}
}

// TestOthersUnderstand asks as a program that uses hashicorp/mdns does, on the loopback.
func TestOthersUnderstand(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	lo := networks([]string{"lo"})
	if len(lo) != 1 {
		t.Fatalf("networks: %v", lo)
	}
	for _, n := range lo {
		s, err := open(ctx, n, v4, func(netip.Addr) {})
		if err != nil {
			t.Fatal(err)
		}
		c, err := newCodec(self, "fleet", n, 1000)
		if err != nil {
			t.Fatal(err)
		}
		answered := make(chan struct{})
		go func() {
			defer close(answered)
			s.listen(ctx, c, func(_ netip.Addr, m message) {
				if b, err := c.answer(false); m.asks && err == nil {
					_ = s.send(b)
				}
			})
		}()
		entries := make(chan *mdns.ServiceEntry, 64)
		err = mdns.Query(&mdns.QueryParam{
			Service: service, Domain: "local", Timeout: time.Second, Interface: &n.Interface, Entries: entries, DisableIPv6: true,
			Logger: log.New(io.Discard, "", 0),
		})
		if err != nil {
			t.Skipf("that library cannot ask here: %v", err)
		}
		stop()
		s.close()
		<-answered
		close(entries)
		found := false
		for e := range entries {
			found = found || e.Name == self+"."+serviceName && e.Port == 1000 && e.AddrV4.IsLoopback() && slices.Contains(e.InfoFields, "fleet=fleet")
		}
		if !found {
			t.Error("it does not hear of this device")
		}
	}
}

func FuzzDecode(f *testing.F) {
	us, them := codecOf(f, self, "fleet", 1000), codecOf(f, other, "fleet", 2000)
	for _, c := range []*codec{us, them} {
		for _, bye := range []bool{false, true} {
			f.Add(said(f, func() ([]byte, error) { return c.answer(bye) }))
		}
		f.Add(said(f, func() ([]byte, error) { return c.question(nil) }))
		f.Add(said(f, func() ([]byte, error) { return c.question([]string{self, other}) }))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, ok := us.decode(b)
		if !ok {
			return
		}
		if len(b) > maxMessage || !bytes.Contains(b, mark()) {
			t.Fatal("decoded what is of no concern")
		}
		if (m.question || m.asks) == (m.instance != "") {
			t.Fatalf("%+v is both a question and an answer, or neither", m)
		}
		if _, err := hex.DecodeString(m.instance); err != nil || m.instance != "" && (len(m.instance) != nameDigits || m.port == 0) || len(m.known) > maxRecords {
			t.Fatalf("%+v was let through", m)
		}
	})
}
