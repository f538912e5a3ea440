package discovery

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/mdns"
	"github.com/miekg/dns"
)

const (
	service     = "_waxwing._tcp"
	serviceName = service + ".local."
	version     = "v=1"

	minMessage  = 12      // bytes: a header
	maxMessage  = 1500    // bytes; those of this package stay below
	maxRecords  = 64      // in one message
	maxKnown    = 32      // neighbours named in a question
	nameDigits  = 16      // of an instance
	cacheFlush  = 1 << 15 // top bit of the class: nobody else has this record
	wantUnicast = 1 << 15 // top bit of a question's class
)

// mark is in every message that concerns this service, as nothing before the service's name can compress it.
func mark() []byte { return []byte("\x08_waxwing\x04_tcp") }

// message is what matters of what was heard.
type message struct {
	question bool     // for this service
	asks     bool     // for this device, among others
	known    []string // instances that need not answer
	instance string   // of the device that announces itself; empty: none does
	port     uint16
	bye      bool // it leaves
}

// codec reads and writes the messages of one device on one link.
type codec struct {
	name, fleet string
	mark        []byte
	zone        mdns.Zone
}

// newCodec returns the codec of a device with these addresses. A name has nameDigits hexadecimal digits.
func newCodec(name, fleet string, n network, port int) (*codec, error) {
	zone, err := mdns.NewMDNSService(name, service, "local.", name+".local.", port, n.announced(), []string{version, "fleet=" + fleet})
	if err != nil {
		return nil, err
	}
	c := &codec{name: name, fleet: fleet, mark: mark(), zone: zone}
	if _, err := c.answer(false); err != nil {
		return nil, fmt.Errorf("what this device says of itself cannot be said (a fleet's tag has at most 249 bytes): %w", err)
	}
	return c, nil
}

// answer says who and where this device is, or that it leaves.
func (c *codec) answer(bye bool) ([]byte, error) {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Response: true, Authoritative: true}, Compress: true}
	m.Answer = c.zone.Records(dns.Question{Name: serviceName, Qtype: dns.TypePTR, Qclass: dns.ClassINET})
	for _, r := range m.Answer {
		h := r.Header()
		if h.Rrtype != dns.TypePTR {
			h.Class |= cacheFlush
		}
		if bye {
			h.Ttl = 0
		}
	}
	return m.Pack()
}

// question asks for all devices but those that are known.
func (c *codec) question(known []string) ([]byte, error) {
	m := &dns.Msg{Question: []dns.Question{{Name: serviceName, Qtype: dns.TypePTR, Qclass: dns.ClassINET}}, Compress: true}
	for _, name := range known[:min(len(known), maxKnown)] {
		m.Answer = append(m.Answer, &dns.PTR{
			Hdr: dns.RR_Header{Name: serviceName, Rrtype: dns.TypePTR, Class: dns.ClassINET, Ttl: 120}, Ptr: name + "." + serviceName,
		})
	}
	return m.Pack()
}

// concerns tells at little cost whether a message is worth decoding.
func (c *codec) concerns(b []byte) bool {
	if len(b) < minMessage || len(b) > maxMessage || !bytes.Contains(b, c.mark) {
		return false
	}
	records := 0
	for at := 4; at < minMessage; at += 2 {
		records += int(binary.BigEndian.Uint16(b[at:]))
	}
	return records <= maxRecords
}

// decode reads a message; false: it is none, or of no concern, such as this device's own or another fleet's.
func (c *codec) decode(b []byte) (message, bool) {
	var m dns.Msg
	if !c.concerns(b) || m.Unpack(b) != nil || m.Opcode != dns.OpcodeQuery || m.Rcode != dns.RcodeSuccess {
		return message{}, false
	}
	if m.Response {
		return c.announcement(&m)
	}
	var out message
	for _, q := range m.Question {
		q.Name, q.Qclass = strings.ToLower(q.Name), q.Qclass&^wantUnicast
		out.question = out.question || q.Name == serviceName && q.Qtype == dns.TypePTR
		out.asks = out.asks || (q.Qclass == dns.ClassINET || q.Qclass == dns.ClassANY) && len(c.zone.Records(q)) > 0
	}
	for _, r := range m.Answer {
		ptr, ok := r.(*dns.PTR)
		if !ok || ptr.Hdr.Ttl < 60 { // less than half of what was said: to be told anew
			continue
		}
		if name, ours := instanceOf(ptr.Ptr); ours {
			out.known = append(out.known, name)
		}
	}
	out.asks = out.asks && !slices.Contains(out.known, c.name)
	return out, out.question || out.asks
}

// instanceOf returns the instance that a name of the service begins with.
func instanceOf(name string) (string, bool) {
	instance, ours := strings.CutSuffix(name, "."+serviceName)
	_, err := strconv.ParseUint(instance, 16, 64)
	return instance, ours && err == nil && len(instance) == nameDigits
}

// announcement reads what the first device of a message says of itself; ours are alone in theirs. The addresses are not
// read: where a device is, its packets tell.
func (c *codec) announcement(m *dns.Msg) (message, bool) {
	var out message
	var same bool
	for _, r := range append(m.Answer, m.Extra...) {
		h := r.Header()
		instance, ours := instanceOf(h.Name)
		if !ours || out.instance != "" && instance != out.instance {
			continue
		}
		switch r := r.(type) {
		case *dns.SRV:
			out.instance, out.port, out.bye = instance, r.Port, h.Ttl == 0
		case *dns.TXT:
			same = len(r.Txt) <= maxRecords && slices.Contains(r.Txt, version) && slices.Contains(r.Txt, "fleet="+c.fleet)
		}
	}
	return out, same && out.instance != "" && out.port != 0
}
