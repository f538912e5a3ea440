package site

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"),
	)
}

// paper takes what is published.
type paper struct {
	mu     sync.Mutex
	topics map[string][]byte
	count  int
	fail   bool
}

func (p *paper) Publish(_ context.Context, topic string, payload []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail {
		return errors.New("no connection")
	}
	if p.topics == nil {
		p.topics = map[string][]byte{}
	}
	p.topics[topic] = payload
	p.count++
	return nil
}

// told returns whom a device was told.
func (p *paper) told(t testing.TB, device string) (peers []string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.topics[protocol.SiteTopic(device)]
	if len(b) == 0 {
		return nil
	}
	s, err := protocol.ParseSite(b, device)
	if err != nil {
		t.Fatal(err)
	}
	for _, peer := range s.Peers {
		peers = append(peers, fmt.Sprint(peer.Device, peer.Addresses))
	}
	return peers
}

// town is sites without a fleet: views are put in by hand.
type town struct {
	*Sites
	paper
	t   testing.TB
	now time.Time
}

func newTown(t testing.TB) *town {
	w := &town{t: t, now: time.Unix(1_800_000_000, 0)}
	w.Sites = New(Options{Now: func() time.Time { return w.now }})
	return w
}

// device puts in a device that listens at an address; change may be nil.
func (w *town) device(id, remote, listens string, change func(*fleet.View)) {
	v := fleet.View{
		Device:   fleet.Device{ID: id, Admission: fleet.Accepted},
		Presence: fleet.Presence{Online: true},
		State:    fleet.State{Report: protocol.Report{Mesh: &protocol.Mesh{Share: true, Addresses: []string{listens}}}},
	}
	if change != nil {
		change(&v)
	}
	w.Seen(id, remote, true)
	w.update(&v)
}

func (w *town) round(passed time.Duration) (later time.Duration) {
	w.now = w.now.Add(passed)
	later = w.prepare()
	w.send(context.Background(), &w.paper)
	return later
}

func (w *town) wants(device string, peers ...string) {
	w.t.Helper()
	if d := cmp.Diff(peers, w.told(w.t, device)); d != "" {
		w.t.Errorf("%s: %s", device, d)
	}
}

func offline(v *fleet.View) { v.Presence.Online = false }

func TestWhoIsTold(t *testing.T) {
	w := newTown(t)
	w.device("a", "203.0.113.7:1000", "10.0.0.1:7", nil)
	w.device("b", "203.0.113.7:1001", "10.0.0.2:7", nil)
	w.device("c", "203.0.113.7:1002", "8.8.8.8:53", nil) // no address of a LAN
	w.device("off", "203.0.113.7:1003", "10.0.0.4:7", offline)
	w.device("shy", "203.0.113.7:1004", "10.0.0.5:7", func(v *fleet.View) { v.State.Report.Mesh.Share = false })
	w.device("old", "203.0.113.7:1005", "10.0.0.6:7", func(v *fleet.View) { v.State.Report.Mesh = nil })
	w.device("out", "203.0.113.7:1006", "10.0.0.7:7", func(v *fleet.View) { v.Admission = fleet.Rejected })
	w.device("far", "198.51.100.1:1000", "10.0.0.8:7", nil)
	w.device("lost", "", "10.0.0.9:7", nil)
	w.device("named", "198.51.100.2:1000", "10.1.0.1:7", func(v *fleet.View) { v.Labels = map[string]string{LabelKey: "oslo"} })
	w.device("claims", "198.51.100.3:1000", "10.1.0.2:7", func(v *fleet.View) { v.State.Report.Mesh.Site = "oslo" })
	w.round(0)
	w.wants("a", "b[10.0.0.2:7]")
	w.wants("b", "a[10.0.0.1:7]")
	w.wants("c", "a[10.0.0.1:7]", "b[10.0.0.2:7]")
	w.wants("named", "claims[10.1.0.2:7]")
	w.wants("claims", "named[10.1.0.1:7]")
	if w.count != 5 {
		t.Errorf("%d messages", w.count)
	}
	w.round(time.Hour)
	if w.count != 5 {
		t.Errorf("%d messages, and nothing has changed", w.count)
	}
	w.device("b", "203.0.113.7:1001", "10.0.0.2:7", offline)
	if later := w.round(time.Minute); later != awayFor-time.Minute || w.count != 5 {
		t.Errorf("most come back: %d messages, the next look in %s", w.count, later)
	}
	if later := w.round(awayFor); later != 0 {
		t.Error("the next look in", later)
	}
	w.wants("a")
	w.wants("b", "a[10.0.0.1:7]")
	if w.Document("b") == nil || w.Document("far") != nil {
		t.Error("by HTTPS it is told the same")
	}
	w.device("a", "203.0.113.7:1000", "10.0.0.1:7", func(v *fleet.View) { v.State.Report.Mesh.Share = false })
	w.round(time.Minute)
	if got, ok := w.topics[protocol.SiteTopic("a")]; !ok || len(got) > 0 || w.Document("a") != nil {
		t.Errorf("who does not share any longer is still told %s", got)
	}
}

// The broker's connection says where a device is; requests count while there is none.
func TestTheConnectionThatLastsCounts(t *testing.T) {
	w := newTown(t)
	w.Seen("a", "198.51.100.1:9", false)
	v := fleet.View{Device: fleet.Device{ID: "a", Admission: fleet.Accepted}}
	if got := w.Of(&v); got != "at-198.51.100.1" {
		t.Error(got)
	}
	w.Seen("a", "203.0.113.7:9", true)
	w.Seen("a", "198.51.100.2:9", false)
	w.Seen("a", "pipe", true)
	if got := w.Of(&v); got != "at-203.0.113.7" {
		t.Error(got)
	}
	v = fleet.View{Device: fleet.Device{ID: "b", Admission: fleet.Accepted}, State: fleet.State{Address: "192.0.2.1:55"}}
	if got := w.Of(&v); got != "at-192.0.2.1" {
		t.Error(got)
	}
}

// A thousand devices of one site that come one by one cost a few messages each, not a thousand.
func TestMessagesAreBounded(t *testing.T) {
	const n = 1000
	w := newTown(t)
	for i := range n {
		w.device(fmt.Sprintf("d-%d", i), "203.0.113.7:1", fmt.Sprintf("10.0.%d.%d:7", i/250, 1+i%250), nil)
		if i%10 == 9 {
			w.round(time.Second) // a minute and a half in all
		}
	}
	for w.round(time.Second) > 0 { //nolint:revive // until all is told
	}
	t.Logf("%.1f messages a device", float64(w.count)/n)
	if w.count > 10*n {
		t.Errorf("%d messages for %d devices", w.count, n)
	}
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("d-%d", i))
	}
	r := newRing(all)
	for _, d := range all {
		var peers []string
		for _, p := range w.told(t, d) {
			peers = append(peers, p[:slices.Index([]byte(p), '[')])
		}
		if diff := cmp.Diff(r.choose(d, nil), peers); diff != "" {
			t.Fatal(d, diff)
		}
	}
}

func TestHintsSurviveTheBroker(t *testing.T) {
	w := newTown(t)
	w.fail = true
	w.device("a", "203.0.113.7:1000", "10.0.0.1:7", nil)
	w.device("b", "203.0.113.7:1001", "10.0.0.2:7", nil)
	w.prepare()
	if !w.send(t.Context(), &w.paper) {
		t.Error("nothing is left over")
	}
	w.fail = false
	if w.send(t.Context(), &w.paper) || w.count != 2 {
		t.Error("what is left over is not sent", w.count)
	}
	clear(w.moved) // there is no fleet to ask
	w.Republish()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.publish(ctx, &w.paper) }()
	for end := time.After(10 * time.Second); ; {
		w.paper.mu.Lock()
		n := w.count
		w.paper.mu.Unlock()
		if n == 4 {
			break
		}
		select {
		case <-end:
			t.Fatal("not published anew")
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel()
	<-done
}

func TestLeasesAreForSites(t *testing.T) {
	w := newTown(t)
	q := Request{Path: "chunks/1", Last: 9}
	w.device("a", "203.0.113.7:1000", "10.0.0.1:7", nil)
	if l, err := w.Lease("a", q); l != nil || err != nil {
		t.Error("a device alone takes part", l, err)
	}
	w.device("b", "203.0.113.7:1001", "10.0.0.2:7", nil)
	w.device("far", "198.51.100.1:1000", "10.0.0.8:7", nil)
	a, err := w.Lease("a", q)
	if a == nil || err != nil {
		t.Fatal(a, err)
	}
	if l, err := w.Lease("far", q); l != nil || err != nil {
		t.Error(l, err)
	}
	if l, err := w.Lease("stranger", q); l != nil || err != nil {
		t.Error(l, err)
	}
	var held *HeldError
	if _, err := w.Lease("b", q); !errors.As(err, &held) || held.Holder != "a" {
		t.Fatal(err)
	}
	if w.Held() != 1 {
		t.Error(w.Held())
	}
	if got := w.Holder("a", "b").String(); got != "a 10.0.0.1:7" {
		t.Error(got)
	}
	w.device("c", "203.0.113.7:1002", "10.0.0.3:7", nil)
	w.device("a", "203.0.113.7:1000", "10.0.0.1:7", offline)
	w.device("a", "203.0.113.7:1000", "10.0.0.1:7", nil)
	l, err := w.Lease("b", q)
	if err != nil {
		t.Error("a device that went holds still", err)
	}
	l.End(true, w.now)
	a.End(true, w.now) // too late
	if _, err := w.Lease("c", q); !errors.As(err, &held) || held.Holder != "b" {
		t.Error(err)
	}
	var none *Lease
	none.Moved(w.now)
	none.End(true, w.now)
}

func TestOffMeansOff(t *testing.T) {
	s := New(Options{Mode: Off})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Run(ctx, nil); err != nil {
		t.Error(err)
	}
	s.Seen("a", "203.0.113.7:1", true)
	v := fleet.View{Device: fleet.Device{ID: "a", Admission: fleet.Accepted, Labels: map[string]string{LabelKey: "oslo"}}}
	if got := s.Of(&v); got != "" {
		t.Error(got)
	}
	if l, err := s.Lease("a", Request{}); l != nil || err != nil {
		t.Error(l, err)
	}
}

func TestDocumentIsOneThatDevicesRead(t *testing.T) {
	w := newTown(t)
	for i := range 40 {
		w.device(fmt.Sprintf("d-%d", i), "[2001:db8:1:2::1]:9", fmt.Sprintf("[2001:db8:1:2::%x]:7", i+16), nil)
	}
	w.round(0)
	var s protocol.Site
	if err := json.Unmarshal(w.Document("d-7"), &s); err != nil {
		t.Fatal(err)
	}
	if s.Schema != 1 || s.Device != "d-7" || s.Site != "at-2001-0db8-0001-0002" || len(s.Epoch) != 16 || len(s.Peers) != protocol.MaxPeers {
		t.Errorf("%+v", s)
	}
}

// Behind a load balancer that hides addresses nobody is introduced to the whole fleet, and nobody waits for it.
func TestTooManyForOnePlace(t *testing.T) {
	w := newTown(t)
	for i := range maxDevices + 1 {
		w.device(fmt.Sprintf("d-%d", i), "192.0.2.1:1", fmt.Sprintf("10.0.%d.%d:7", i/250, 1+i%250), nil)
	}
	if later := w.round(0); later != 0 || w.count != 0 {
		t.Errorf("%d messages, more in %s", w.count, later)
	}
	for _, d := range []string{"d-1", "d-2"} {
		if l, err := w.Lease(d, Request{Path: "chunks/1"}); l != nil || err != nil {
			t.Error(l, err)
		}
	}
	w.device("d-0", "192.0.2.1:1", "10.0.0.1:7", func(v *fleet.View) { v.Labels = map[string]string{LabelKey: "oslo"} })
	if w.round(0); w.count != maxDevices {
		t.Errorf("%d messages for those that are few enough", w.count)
	}
}
