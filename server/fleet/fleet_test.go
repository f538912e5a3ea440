package fleet_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/identity"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/server/store/storetest"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"),
	)
}

type signer struct{ key ed25519.PrivateKey }

func (s signer) KeyID() string { return policy.KeyID(s.key.Public().(ed25519.PublicKey)) }

func (s signer) Sign(m []byte) ([]byte, error) { return ed25519.Sign(s.key, m), nil }

// world is a running fleet on a real store, with a clock of its own.
type world struct {
	*fleet.Fleet
	t        *testing.T
	store    *store.Store
	identity *identity.Authority
	signer   signer

	mu     sync.Mutex
	offset time.Duration
	stop   func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: storetest.New(t), signer: signer{key}}
	if w.identity, err = identity.Open(identity.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.offset)
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offset += d
}

func (w *world) start() {
	w.t.Helper()
	f, err := fleet.New(w.t.Context(), fleet.Options{
		Store: w.store, Identity: w.identity, Signer: w.signer, Now: w.now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	w.Fleet = f
	w.stop = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("run: %v", err)
		}
	}
}

func (w *world) restart() { w.t.Helper(); w.stop(); w.start() }

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func csr(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (w *world) token(spec fleet.TokenSpec) string {
	w.t.Helper()
	_, secret, err := w.CreateToken(w.t.Context(), spec, "test")
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

func (w *world) enroll(id string, labels map[string]string) fleet.Device {
	w.t.Helper()
	e, err := w.Enroll(w.t.Context(), protocol.EnrollRequest{
		Token: w.token(fleet.TokenSpec{}), CSR: csr(w.t, newKey(w.t)), ID: id, Hardware: "hw", Labels: labels,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return e.Device
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

func (w *world) membership(device string) *policy.Membership {
	w.t.Helper()
	d, err := w.Documents(w.t.Context(), device)
	if err != nil {
		w.t.Fatal(err)
	}
	if d.Membership == nil {
		return nil
	}
	public := w.signer.key.Public().(ed25519.PublicKey)
	doc, err := policy.Open(d.Membership, &policy.Keys{Schema: 1, Keys: []policy.Key{{ID: policy.KeyID(public), Public: public}}})
	if err != nil {
		w.t.Fatal(err)
	}
	return doc.(*policy.Membership)
}

func TestEnrol(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	key := newKey(t)
	token := w.token(fleet.TokenSpec{Uses: 2, Labels: map[string]string{"site": "oslo"}})
	r := protocol.EnrollRequest{Token: token, CSR: csr(t, key), Hardware: "hw", Labels: map[string]string{"site": "rome", "floor": "2"}}
	e, err := w.Enroll(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	if d := e.Device; !strings.HasPrefix(d.ID, "d-") || d.Admission != fleet.Accepted ||
		cmp.Diff(map[string]string{"site": "oslo", "floor": "2"}, d.Labels) != "" {
		t.Fatalf("%+v", d)
	}
	block, _ := pem.Decode(e.Certificate)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil || c.Subject.CommonName != e.Device.ID {
		t.Fatal(c, err)
	}
	if a, err := w.Authenticate(e.Device.ID, identity.KeyID(c)); err != nil || a != fleet.Accepted {
		t.Fatal(a, err)
	}
	uses := func() int {
		tokens, err := w.Tokens(ctx)
		if err != nil || len(tokens) != 1 {
			t.Fatal(tokens, err)
		}
		return tokens[0].Uses
	}
	w.advance(9 * time.Minute)
	again, err := w.Enroll(ctx, r)
	if err != nil || again.Device.ID != e.Device.ID || uses() != 1 {
		t.Fatalf("%v, %d uses left", err, uses())
	}
	w.advance(2 * time.Minute)
	if _, err := w.Enroll(ctx, r); !errors.Is(err, fleet.ErrExists) || uses() != 1 {
		t.Fatalf("%v, %d uses left", err, uses())
	}
	stranger := r
	stranger.ID, stranger.CSR = e.Device.ID, csr(t, newKey(t))
	if _, err := w.Enroll(ctx, stranger); !errors.Is(err, fleet.ErrExists) || !strings.Contains(err.Error(), "another id") || uses() != 1 {
		t.Fatalf("%v, %d uses left", err, uses())
	}
	stranger.ID = ""
	if _, err := w.Enroll(ctx, stranger); err != nil || uses() != 0 {
		t.Fatalf("%v, %d uses left", err, uses())
	}
	if _, err := w.Enroll(ctx, stranger); err != nil {
		t.Fatalf("the last one's answer was lost: %v", err)
	}
	stranger.CSR = csr(t, newKey(t))
	if _, err := w.Enroll(ctx, stranger); !errors.Is(err, fleet.ErrToken) || !errors.Is(err, fleet.ErrTokenUsed) {
		t.Fatal(err)
	}
	if _, total, _ := w.Views(ctx, fleet.Query{}); total != 2 {
		t.Fatalf("%d devices", total)
	}
}

func TestEnrolRefusals(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	good := protocol.EnrollRequest{Token: w.token(fleet.TokenSpec{Life: time.Hour}), CSR: csr(t, newKey(t)), Hardware: "hw"}
	parts := strings.Split(good.Token, "_")
	with := func(change func(*protocol.EnrollRequest)) protocol.EnrollRequest { r := good; change(&r); return r }
	token := func(s string) protocol.EnrollRequest {
		return with(func(r *protocol.EnrollRequest) { r.Token = s })
	}
	for name, c := range map[string]struct {
		r    protocol.EnrollRequest
		want error
	}{
		"no token":        {token(""), fleet.ErrTokenUnknown},
		"unknown token":   {token("wxe_aaaaaaaa_" + parts[2] + "_" + parts[3]), fleet.ErrTokenUnknown},
		"bad id":          {token("wxe_../../x_" + parts[2] + "_" + parts[3]), fleet.ErrTokenUnknown},
		"wrong secret":    {token("wxe_" + parts[1] + "_" + parts[2] + "x_" + parts[3]), fleet.ErrTokenUnknown},
		"empty secret":    {token("wxe_" + parts[1] + "__" + parts[3]), fleet.ErrTokenUnknown},
		"another server":  {token("wxe_" + parts[1] + "_" + parts[2] + "_" + strings.Repeat("0", 64)), fleet.ErrTokenUnknown},
		"long token":      {token(good.Token + strings.Repeat("x", 1000)), fleet.ErrTokenUnknown},
		"no request":      {with(func(r *protocol.EnrollRequest) { r.CSR = nil }), identity.ErrRequest},
		"id":              {with(func(r *protocol.EnrollRequest) { r.ID = "../x" }), fleet.ErrInvalid},
		"the server's id": {with(func(r *protocol.EnrollRequest) { r.ID = identity.ServerName }), fleet.ErrInvalid},
		"hardware":        {with(func(r *protocol.EnrollRequest) { r.Hardware = "" }), fleet.ErrInvalid},
		"label":           {with(func(r *protocol.EnrollRequest) { r.Labels = map[string]string{"online": "true"} }), fleet.ErrInvalid},
		"label value":     {with(func(r *protocol.EnrollRequest) { r.Labels = map[string]string{"a": "b\nc"} }), fleet.ErrInvalid},
	} {
		if _, err := w.Enroll(ctx, c.r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	w.advance(2 * time.Hour)
	if _, err := w.Enroll(ctx, good); !errors.Is(err, fleet.ErrTokenExpired) || !strings.Contains(err.Error(), "token create") {
		t.Error(err)
	}
	if _, total, _ := w.Views(ctx, fleet.Query{}); total != 0 {
		t.Errorf("%d devices came in", total)
	}
	revoked := w.token(fleet.TokenSpec{})
	if err := w.RevokeToken(ctx, strings.Split(revoked, "_")[1]); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Enroll(ctx, token(revoked)); !errors.Is(err, fleet.ErrTokenUnknown) {
		t.Error(err)
	}
}

func TestManyEnrolWithFewUses(t *testing.T) {
	w := newWorld(t)
	token := w.token(fleet.TokenSpec{Uses: 5})
	var mu sync.Mutex
	in, used := 0, 0
	g, ctx := errgroup.WithContext(t.Context())
	for range 12 {
		r := protocol.EnrollRequest{Token: token, CSR: csr(t, newKey(t)), Hardware: "hw"}
		g.Go(func() error {
			_, err := w.Enroll(ctx, r)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				in++
			case errors.Is(err, fleet.ErrTokenUsed):
				used++
			default:
				return err
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil || in != 5 || used != 7 {
		t.Fatalf("%v: %d in, %d refused", err, in, used)
	}
}

func TestAdmission(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	key := newKey(t)
	r := protocol.EnrollRequest{Token: w.token(fleet.TokenSpec{Approve: true}), CSR: csr(t, key), ID: "d-1", Hardware: "hw"}
	e, err := w.Enroll(ctx, r)
	if err != nil || e.Device.Admission != fleet.Pending {
		t.Fatal(e, err)
	}
	v, err := w.View(ctx, "d-1")
	if err != nil || len(v.Groups) != 0 {
		t.Fatal(v.Groups, err)
	}
	if _, err := w.Accept(ctx, "d-1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the device is told its group", func() bool {
		m := w.membership("d-1")
		return m != nil && slices.Equal(m.Groups, []string{fleet.AllGroup})
	})
	if _, err := w.Renew(ctx, "d-1", csr(t, key)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Renew(ctx, "d-1", csr(t, newKey(t))); !errors.Is(err, fleet.ErrKey) {
		t.Fatal(err)
	}
	before := w.membership("d-1").Seq
	if _, err := w.Reject(ctx, "d-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Authenticate("d-1", e.Device.Key); !errors.Is(err, fleet.ErrRejected) {
		t.Fatal(err)
	}
	if _, err := w.Renew(ctx, "d-1", csr(t, key)); !errors.Is(err, fleet.ErrRejected) {
		t.Fatal(err)
	}
	if _, err := w.Enroll(ctx, r); !errors.Is(err, fleet.ErrRejected) {
		t.Fatal(err)
	}
	if err := w.Ingest(ctx, "d-1", report(t, "d-1", 1, nil), ""); !errors.Is(err, fleet.ErrRejected) {
		t.Fatal(err)
	}
	eventually(t, "the device is told that it is out", func() bool {
		m := w.membership("d-1")
		return len(m.Groups) == 0 && m.Seq > before
	})
	for _, act := range []func(context.Context, string) (fleet.View, error){w.Accept, w.Reject, w.View} {
		if _, err := act(ctx, "nobody"); !errors.Is(err, fleet.ErrUnknown) {
			t.Error(err)
		}
	}
}

func TestGroupsAndMemberships(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.enroll("d-1", map[string]string{"site": "oslo"})
	w.enroll("d-2", map[string]string{"site": "rome"})
	if _, err := w.PutGroup(ctx, fleet.Group{Name: "north", Selector: "sight=oslo"}, false); !errors.Is(err, fleet.ErrLabelUnknown) ||
		!strings.Contains(err.Error(), "site") {
		t.Fatal(err)
	}
	for _, bad := range []fleet.Group{
		{Name: "North"},
		{Name: fleet.AllGroup, Selector: "site=oslo"},
		{Name: "x", Selector: "site="},
		{Name: "x", Selector: "online=true"},
		{Name: "x", Priority: 1001},
		{Name: "x", Selector: "group=all"},
	} {
		if _, err := w.PutGroup(ctx, bad, true); !errors.Is(err, fleet.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	g, err := w.PutGroup(ctx, fleet.Group{Name: "north", Selector: "site=oslo", Priority: 5}, false)
	if err != nil || g.Devices != 1 {
		t.Fatal(g, err)
	}
	told := func(device string, groups ...string) {
		t.Helper()
		eventually(t, fmt.Sprint(device, " is told ", groups), func() bool {
			m := w.membership(device)
			return m != nil && slices.Equal(m.Groups, groups)
		})
	}
	told("d-1", "all", "north")
	told("d-2", "all")
	if !w.Member("d-1", "north") || w.Member("d-2", "north") || w.Member("nobody", "all") {
		t.Fatal("Member")
	}
	first := w.membership("d-1").Seq
	rome := "rome"
	if _, err := w.Label(ctx, "d-1", map[string]*string{"site": &rome, "floor": &rome}); err != nil {
		t.Fatal(err)
	}
	told("d-1", "all")
	if second := w.membership("d-1").Seq; second <= first {
		t.Fatalf("seq %d after %d", second, first)
	}
	if v, err := w.Label(ctx, "d-1", map[string]*string{"floor": nil}); err != nil || cmp.Diff(map[string]string{"site": "rome"}, v.Labels) != "" {
		t.Fatal(v.Labels, err)
	}
	if _, err := w.PutGroup(ctx, fleet.Group{Name: "south", Selector: "site=rome"}, false); err != nil {
		t.Fatal(err)
	}
	views, err := w.Candidates(ctx, "south")
	if err != nil || len(views) != 2 || views[0].ID != "d-1" {
		t.Fatal(views, err)
	}
	told("d-2", "all", "south")
	policies := store.NewCollection[fleet.PolicyRecord](w.store, fleet.PoliciesName)
	if err := policies.Put(ctx, "south", fleet.PolicyRecord{Seq: 1, Envelope: []byte(`{"p":1}`)}); err != nil {
		t.Fatal(err)
	}
	if err := policies.Put(ctx, "north", fleet.PolicyRecord{Seq: 1, Envelope: []byte(`{"p":2}`)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the policy of the group, and of no other, is served", func() bool {
		d, err := w.Documents(ctx, "d-2")
		return err == nil && len(d.Policies) == 1 && string(d.Policies[0]) == `{"p":1}`
	})
	if err := w.DeleteGroup(ctx, "south"); err != nil {
		t.Fatal(err)
	}
	told("d-2", "all")
	if _, err := w.Candidates(ctx, "south"); !errors.Is(err, fleet.ErrGroup) {
		t.Fatal(err)
	}
	if err := w.DeleteGroup(ctx, "south"); !errors.Is(err, fleet.ErrGroup) {
		t.Fatal(err)
	}
	if err := w.DeleteGroup(ctx, fleet.AllGroup); !errors.Is(err, fleet.ErrInvalid) {
		t.Fatal(err)
	}
}

func TestMembershipsAreRenewedInTime(t *testing.T) {
	w := newWorld(t)
	w.enroll("d-1", nil)
	eventually(t, "first membership", func() bool { return w.membership("d-1") != nil })
	first := w.membership("d-1")
	w.advance(9 * 24 * time.Hour)
	w.restart() // looks at all devices
	again := w.enroll("d-2", nil)
	eventually(t, "membership of the second", func() bool { return w.membership(again.ID) != nil })
	if m := w.membership("d-1"); m.Seq != first.Seq {
		t.Fatal("renewed in its first third")
	}
	w.advance(6*24*time.Hour + time.Minute)
	w.restart()
	eventually(t, "renewed before half its life is over", func() bool { return w.membership("d-1").Seq > first.Seq })
	if m := w.membership("d-1"); m.ExpiresAt.Sub(m.IssuedAt) != fleet.MembershipLife {
		t.Fatal(m)
	}
}

func report(t testing.TB, device string, seq uint64, update *protocol.Update) []byte {
	t.Helper()
	b, err := json.Marshal(protocol.Report{
		Schema: 1, Device: device, Seq: seq, Time: time.Now(), Agent: "1.0", Hardware: "hw", Update: update,
		Running: protocol.Running{Slot: "a", Product: "gw", Version: "1.0.0", Counter: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestReports(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.enroll("d-1", nil)
	feed := w.Subscribe()
	defer feed.Close()
	at := func(seq uint64, phase protocol.Phase) []byte {
		return report(t, "d-1", seq, &protocol.Update{Product: "gw", Version: "1.1.0", Phase: phase})
	}
	phase := func() protocol.Phase {
		v, err := w.View(ctx, "d-1")
		if err != nil {
			t.Fatal(err)
		}
		return v.State.Report.Update.Phase
	}
	states := store.NewCollection[fleet.State](w.store, fleet.StatesName)
	for _, c := range []struct {
		report []byte
		want   protocol.Phase
	}{
		{at(5, protocol.Downloading), protocol.Downloading},
		{at(4, protocol.Checking), protocol.Downloading},  // late
		{at(5, protocol.Rebooting), protocol.Downloading}, // doubled
		{at(7, protocol.Proving), protocol.Proving},
		{at(6, protocol.Rebooting), protocol.Proving},
	} {
		if err := w.Ingest(ctx, "d-1", c.report, "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
		if got := phase(); got != c.want {
			t.Fatalf("%s, want %s", got, c.want)
		}
		if e, err := states.Get(ctx, "d-1"); err != nil || e.Value.Report.Update.Phase != c.want {
			t.Fatalf("stored %+v, %v", e, err)
		}
	}
	if ids, err := feed.Next(ctx); err != nil || !slices.Equal(ids, []string{"d-1"}) {
		t.Fatal(ids, err)
	}
	// A report that only says that time has passed costs no write, and still makes older ones stale.
	before, err := states.Get(ctx, "d-1")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{at(20, protocol.Proving), at(19, protocol.Rebooting)} {
		if err := w.Ingest(ctx, "d-1", b, ""); err != nil {
			t.Fatal(err)
		}
	}
	if after, err := states.Get(ctx, "d-1"); err != nil || after.Revision != before.Revision {
		t.Fatal(after, err)
	}
	for name, b := range map[string][]byte{
		"another's": report(t, "d-2", 30, nil), "no JSON": []byte("{"), "long": make([]byte, fleet.MaxReport+1),
		"schema": []byte(`{"schema":2,"device":"d-1"}`),
	} {
		if err := w.Ingest(ctx, "d-1", b, ""); !errors.Is(err, fleet.ErrReport) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.Ingest(ctx, "nobody", report(t, "nobody", 1, nil), ""); !errors.Is(err, fleet.ErrUnknown) {
		t.Error(err)
	}
	w.restart()
	if got := phase(); got != protocol.Proving {
		t.Fatalf("%s after a restart", got)
	}
	if err := w.Ingest(ctx, "d-1", at(6, protocol.Failed), ""); err != nil || phase() != protocol.Proving {
		t.Fatalf("an old report after a restart: %v", err)
	}
	w.stop()
	if err := w.Ingest(ctx, "d-1", at(100, protocol.Committed), ""); !errors.Is(err, fleet.ErrEnded) {
		t.Fatalf("a report to an ended fleet: %v", err)
	}
	w.start()
}

func TestPresence(t *testing.T) {
	w := newWorld(t)
	w.enroll("d-1", nil)
	feed := w.SubscribePresence()
	defer feed.Close()
	online := func() fleet.Presence {
		v, err := w.View(t.Context(), "d-1")
		if err != nil {
			t.Fatal(err)
		}
		return v.Presence
	}
	if p := online(); p.Online || !p.LastSeen.IsZero() {
		t.Fatal(p)
	}
	w.Presence("d-1", true)
	if p := online(); !p.Online || p.LastSeen.IsZero() {
		t.Fatal(p)
	}
	if ids, err := feed.Next(t.Context()); err != nil || len(ids) != 1 {
		t.Fatal(ids, err)
	}
	w.Presence("nobody", true)
	w.Presence("d-1", false)
	if p := online(); p.Online {
		t.Fatal(p)
	}
}

func TestViews(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for i := range 9 {
		w.enroll(fmt.Sprintf("d-%d", i), map[string]string{"site": []string{"Oslo", "rome", "paris"}[i%3]})
	}
	w.Presence("d-4", true)
	if err := w.Ingest(ctx, "d-4", report(t, "d-4", 1, &protocol.Update{Phase: protocol.Failed}), ""); err != nil {
		t.Fatal(err)
	}
	ask := func(selector, search, after string, limit int) (ids []string, total int) {
		t.Helper()
		s, err := fleet.ParseSelector(selector)
		if err != nil {
			t.Fatal(err)
		}
		views, total, revision := w.Views(ctx, fleet.Query{Selector: s, Search: search, After: after, Limit: limit})
		if revision == 0 {
			t.Error("no revision")
		}
		for _, v := range views {
			ids = append(ids, v.ID)
		}
		return ids, total
	}
	for _, c := range []struct {
		selector, search, after string
		limit                   int
		want                    []string
		total                   int
	}{
		{"", "", "", 2, []string{"d-0", "d-1"}, 9},
		{"", "", "d-7", 5, []string{"d-8"}, 9},
		{"site=Oslo", "", "d-0", 0, []string{"d-3", "d-6"}, 3},
		{"", "oSL", "", 0, []string{"d-0", "d-3", "d-6"}, 3},
		{"", "d-5", "", 0, []string{"d-5"}, 1},
		{"online=true", "", "", 0, []string{"d-4"}, 1},
		{"online=false", "", "", 1, []string{"d-0"}, 8},
		{"phase=failed, product=gw, version=1.0.0, hardware=hw, admission=accepted, group=all", "", "", 0, []string{"d-4"}, 1},
		{"!product, phase=idle", "", "d-7", 0, []string{"d-8"}, 8},
		{"version!=1.0.0,id in (d-3,d-4)", "", "", 0, []string{"d-3"}, 1},
	} {
		if ids, total := ask(c.selector, c.search, c.after, c.limit); !slices.Equal(ids, c.want) || total != c.total {
			t.Errorf("%+v: %v of %d", c, ids, total)
		}
	}
}

// Two servers on one store see each other's writes.
func TestSecondServerFollows(t *testing.T) {
	w := newWorld(t)
	other := &world{t: t, store: w.store, identity: w.identity, signer: w.signer}
	other.start()
	defer other.stop()
	w.enroll("d-1", map[string]string{"site": "oslo"})
	if _, err := other.PutGroup(t.Context(), fleet.Group{Name: "north", Selector: "site=oslo"}, true); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*world{w, other} {
		eventually(t, "both know the device and its group", func() bool { return f.Member("d-1", "north") })
		eventually(t, "and what it was told", func() bool {
			m := f.membership("d-1")
			return m != nil && len(m.Groups) == 2
		})
	}
	if err := other.DeleteGroup(t.Context(), "north"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the group is gone", func() bool { return !w.Member("d-1", "north") })
}

func BenchmarkIngest(b *testing.B) {
	s, closer, err := store.Open(b.Context(), store.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer closer.Close()
	devices := store.NewCollection[fleet.Device](s, fleet.DevicesName)
	const n = 2000
	batch := store.NewBatch(s)
	for i := range n {
		id := fmt.Sprintf("d-%d", i)
		if err := devices.PutIn(batch, id, fleet.Device{ID: id, Admission: fleet.Accepted}); err != nil {
			b.Fatal(err)
		}
	}
	if err := batch.Commit(b.Context()); err != nil {
		b.Fatal(err)
	}
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	f, err := fleet.New(b.Context(), fleet.Options{Store: s, Signer: signer{key}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	defer func() { cancel(); <-done }()
	var mu sync.Mutex
	seq := uint64(0)
	b.SetParallelism(500)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			mu.Lock()
			seq++
			i := seq
			mu.Unlock()
			id := fmt.Sprintf("d-%d", i%n)
			if err := f.Ingest(ctx, id, report(b, id, i, &protocol.Update{Policy: i}), ""); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "reports/s")
}
