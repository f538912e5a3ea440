package fleet_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/identity"
)

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
