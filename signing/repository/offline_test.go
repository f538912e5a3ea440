package repository_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// TestCeremony begins a repository with two of three holders, adds a product and replaces a lost key, all offline; a device
// follows.
func TestCeremony(t *testing.T) {
	c := begin(t)
	d := c.device(t.TempDir())
	c.follows(d)

	gw := key(t)
	drafts := c.drafts(c.repo.AddProduct(t.Context(), "gw", gw.Public()))
	if err := c.repo.Import(t.Context(), c.pass(drafts, c.targets[0])...); !errors.Is(err, repository.ErrInvalid) {
		t.Fatalf("one of two: %v", err)
	}
	good := c.pass(drafts, c.targets[0], c.targets[2])
	for range 2 {
		c.must(c.repo.Import(t.Context(), good...)) // the second time is no change
	}
	c.must(c.repo.AddProduct(t.Context(), "gw", gw.Public()))
	c.follows(d)

	c.now = c.now.Add(24 * time.Hour)
	lost := c.root[1]
	c.root[1] = key(t)
	drafts = c.drafts(c.repo.ChangeRoot(t.Context(), c.plan()))
	if len(drafts) != 1 {
		t.Fatalf("%d drafts for one of the root's keys", len(drafts))
	}
	if err := c.repo.Import(t.Context(), c.pass(drafts, c.root[1], c.root[0])...); !errors.Is(err, repository.ErrInvalid) {
		t.Fatalf("the old root's threshold is not reached: %v", err)
	}
	if err := c.repo.Import(t.Context(), c.pass(drafts, lost, c.root[0])...); !errors.Is(err, repository.ErrInvalid) {
		t.Fatalf("the new root's threshold is not reached: %v", err)
	}
	c.must(c.repo.Import(t.Context(), c.pass(drafts, c.root[0], c.root[2])...))
	c.follows(d)
	c.follows(c.device(t.TempDir())) // one that begins now, with the first root

	// Others sign targets and online roles from now on: the targets are signed again, the rest by the next keys.
	old := slices.Clone(c.targets)
	c.targets = []*keys.File{key(t), ecdsaKey(t)}
	next := key(t)
	p := c.plan()
	p.Timestamp, p.Snapshot = rule(1, next), rule(1, next)
	drafts = c.drafts(c.repo.ChangeRoot(t.Context(), p))
	if len(drafts) != 2 {
		t.Fatalf("%d drafts", len(drafts))
	}
	good = c.pass(drafts, c.root[0], c.root[1], c.targets[0], c.targets[1], old[0])
	if err := c.repo.Import(t.Context(), good...); !errors.Is(err, repository.ErrOffline) {
		t.Fatalf("a root that names online keys that are not here: %v", err)
	}
	if err := c.repo.Import(t.Context(), good[0]); !errors.Is(err, repository.ErrInvalid) {
		t.Fatalf("a root that makes the targets void: %v", err)
	}
	c.follows(d)
	o := c.options()
	o.Keys.Others = []keys.Signer{next}
	var err error
	c.repo, err = repository.Open(t.Context(), o)
	c.must(err)
	c.must(c.repo.Import(t.Context(), good...))
	c.follows(d)
	c.follows(c.device(t.TempDir()))
	c.snapshot, c.timestamp = next, next
	c.repo, err = repository.Open(t.Context(), c.options()) // the old online keys are gone
	c.must(err)
	c.now = c.now.Add(10 * 24 * time.Hour)
	c.must(c.repo.Refresh(t.Context()))
	c.follows(d)
}

// TestImportCutAnywhere fails each write of an import in turn; importing again finishes it, also after a restart.
func TestImportCutAnywhere(t *testing.T) {
	for cut := 1; ; cut++ {
		c := begin(t)
		d := c.device(t.TempDir())
		c.follows(d)
		c.targets = []*keys.File{key(t), key(t)}
		good := c.pass(c.drafts(c.repo.ChangeRoot(t.Context(), c.plan())), c.root[0], c.root[1], c.targets[0], c.targets[1])
		c.disk.fail = cut
		err := c.repo.Import(t.Context(), good...)
		if err == nil {
			if cut < 5 {
				t.Fatalf("an import of %d writes", cut-1)
			}
			return
		}
		if !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		if cut%2 == 0 {
			c.repo, err = repository.Open(t.Context(), c.options())
			c.must(err)
		}
		c.must(c.repo.Import(t.Context(), good...))
		c.follows(d)
	}
}

// TestDraftsThatAreRefused refuses what is no draft, what a holder has changed, and who is no holder.
func TestDraftsThatAreRefused(t *testing.T) {
	c := begin(t)
	drafts := c.drafts(c.repo.AddProduct(t.Context(), "gw", key(t).Public()))
	other := c.drafts(c.repo.AddProduct(t.Context(), "router", key(t).Public()))
	if err := drafts[0].Sign(key(t)); !errors.Is(err, repository.ErrInvalid) {
		t.Errorf("a stranger signs: %v", err)
	}
	if _, err := repository.Combine(drafts[0], other[0]); !errors.Is(err, repository.ErrInvalid) {
		t.Errorf("two documents combined: %v", err)
	}
	if a, _ := drafts[0].Digest(); a == func() firmware.Digest { b, _ := other[0].Digest(); return b }() {
		t.Error("two documents of one digest")
	}
	good := c.pass(other, c.targets[0], c.targets[1])
	late := c.pass(drafts, c.targets[0], c.targets[1])
	b, err := good[0].Encode()
	c.must(err)
	changed, err := repository.ParseDraft([]byte(strings.ReplaceAll(string(b), "router", "robber")))
	c.must(err)
	if s, err := changed.State(); err != nil || s.Complete() {
		t.Errorf("changed after it was signed: %v, %v", s, err)
	}
	c.must(c.repo.Import(t.Context(), good...))
	if err := c.repo.Import(t.Context(), late...); !errors.Is(err, repository.ErrInvalid) && !errors.Is(err, repository.ErrExists) {
		t.Errorf("a draft from before: %v", err)
	}
	for _, text := range []string{
		"", "{}", `{"schema":1,"role":"snapshot","document":{}}`, `{"schema":1,"role":"root","document":{"signed":{},"signatures":[]}}`,
		`{"schema":1,"role":"targets","document":null,"root":null}`, strings.Replace(string(b), `"schema": 1`, `"schema": 2`, 1),
	} {
		if _, err := repository.ParseDraft([]byte(text)); !errors.Is(err, repository.ErrInvalid) {
			t.Errorf("%.60s: %v", text, err)
		}
	}
	shared := c.plan()
	shared.Timestamp = rule(1, c.root[0])
	if err := c.repo.ChangeRoot(t.Context(), shared); !errors.Is(err, repository.ErrInvalid) {
		t.Errorf("a holder's key on the server: %v", err)
	}
}

// TestHandover hands the development trust, every key on one machine, over to holders; devices follow and need nothing.
func TestHandover(t *testing.T) {
	f := setUp(t)
	role, targets := f.sign(t, "1", "one")
	if err := f.repo.Publish(t.Context(), "gw", role, targets); err != nil {
		t.Fatal(err)
	}
	c := &trusted{
		t: t, disk: f.disk, now: f.now, repo: f.repo, root: []*keys.File{key(t), key(t), key(t)}, targets: []*keys.File{key(t), key(t), key(t)},
		snapshot: f.o.Keys.Snapshot.(*keys.File), timestamp: f.o.Keys.Timestamp.(*keys.File),
	}
	d := c.device(t.TempDir())
	c.follows(d)
	drafts := c.drafts(c.repo.ChangeRoot(t.Context(), c.plan())) // signed by the old root already
	c.must(c.repo.Import(t.Context(), c.pass(drafts, c.root[0], c.root[1], c.targets[0], c.targets[1])...))
	c.follows(d)

	// The development keys of root and targets may be thrown away; releases go on, and products need holders.
	var err error
	c.repo, err = repository.Open(t.Context(), c.options())
	c.must(err)
	f.repo = c.repo
	role, targets = f.sign(t, "2", "two")
	c.must(c.repo.Publish(t.Context(), "gw", role, targets))
	c.follows(d)
	if err := f.repo.AddProduct(t.Context(), "more", f.gw.Public()); !errors.Is(err, repository.ErrOffline) {
		t.Fatalf("a product without the holders: %v", err)
	}
	o := f.o
	o.Files = f.disk
	if dev, err := repository.Open(t.Context(), o); err != nil || !errors.Is(dev.AddProduct(t.Context(), "more", f.gw.Public()), repository.ErrOffline) {
		t.Fatal("the old keys still add products")
	}
}

// TestProductOfTwo publishes what both of two keys signed.
func TestProductOfTwo(t *testing.T) {
	f := setUp(t)
	server := ecdsaKey(t)
	if err := f.repo.Delegate(t.Context(), "pair", rule(2, f.gw, server)); err != nil {
		t.Fatal(err)
	}
	targets := map[string][]byte{"pair/1/release.json": []byte("one")}
	role, err := repository.SignRelease(nil, "pair", targets, f.gw, f.now)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.repo.Publish(t.Context(), "pair", role, targets); !errors.Is(err, repository.ErrInvalid) {
		t.Fatalf("signed by one: %v", err)
	}
	if role, err = repository.Cosign(role, server); err != nil {
		t.Fatal(err)
	}
	if err := f.repo.Publish(t.Context(), "pair", role, targets); err != nil {
		t.Fatal(err)
	}
}

// TestStatus says what is due first, and the holders of each role.
func TestStatus(t *testing.T) {
	c := begin(t)
	c.must(c.repo.Import(t.Context(), c.pass(c.drafts(c.repo.AddProduct(t.Context(), "gw", key(t).Public())), c.targets[0], c.targets[1])...))
	all, err := c.repo.Status(t.Context())
	c.must(err)
	var roles []string
	for _, s := range all {
		roles = append(roles, s.Role)
		if s.Role == "targets" && (s.Version != 2 || s.Rule.Threshold != 2 || len(s.Rule.Keys) != 3 || s.Online) {
			t.Errorf("%+v", s)
		}
		if !s.Due.IsZero() && (!s.Due.After(c.now) || !s.Due.Before(s.Expires)) {
			t.Errorf("%s is due at %s", s.Role, s.Due)
		}
	}
	if want := []string{"timestamp", "snapshot", "root", "targets", "product gw", "policies"}; !slices.Equal(roles, want) {
		t.Errorf("%v, want %v", roles, want)
	}
	c.now = c.now.Add(300 * 24 * time.Hour)
	c.must(c.repo.Refresh(t.Context()))
	drafts := c.drafts(c.repo.Renew(t.Context()))
	c.must(c.repo.Import(t.Context(), c.pass(drafts, c.root[0], c.root[1], c.targets[0], c.targets[1])...))
	c.now = c.now.Add(100 * 24 * time.Hour)
	c.must(c.repo.Refresh(t.Context()))
	c.follows(c.device(t.TempDir()))
}

// TestRenewRoot keeps the root of a development trust alive, and leaves that of holders alone.
func TestRenewRoot(t *testing.T) {
	f := setUp(t)
	version := func() string {
		b, err := f.repo.Root(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	first := version()
	if err := f.repo.RenewRoot(t.Context()); err != nil || version() != first {
		t.Fatalf("too early: %v", err)
	}
	f.now = f.now.Add(200 * 24 * time.Hour)
	if err := f.repo.RenewRoot(t.Context()); err != nil || version() == first {
		t.Fatalf("not renewed: %v", err)
	}
	c := begin(t)
	c.now = c.now.Add(200 * 24 * time.Hour)
	c.must(c.repo.RenewRoot(t.Context()))
	if _, ok := c.disk.files["metadata/2.root.json"]; ok {
		t.Fatal("a root that holders sign")
	}
}

// FuzzParseDraft holds that what is read as a draft can be written, read again, and says the same.
func FuzzParseDraft(f *testing.F) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	of := func(b byte) public.Rule {
		ed[40] ^= b
		k, err := public.Of(ed.Public())
		if err != nil {
			f.Fatal(err)
		}
		return public.Any(k)
	}
	holder, server := of(1), of(2)
	drafts, err := repository.Begin(repository.Plan{Root: holder, Targets: holder, Snapshot: server, Timestamp: server},
		policy.Keys{Schema: 1, Policy: server}, time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		f.Fatal(err)
	}
	for _, d := range drafts {
		b, err := d.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"schema":1,"role":"root","document":{"signed":null,"signatures":null}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := repository.ParseDraft(b)
		if err != nil {
			return
		}
		sum, err := d.Digest()
		if err != nil {
			t.Fatal(err)
		}
		again, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if d, err = repository.ParseDraft(again); err != nil {
			t.Fatal(err)
		}
		if other, err := d.Digest(); err != nil || other != sum {
			t.Fatalf("%s is %s after it was written down: %v", sum, other, err)
		}
		if one, err := repository.Combine(d, d); err == nil {
			if other, err := one.Digest(); err != nil || other != sum {
				t.Fatalf("%s is %s after it was combined: %v", sum, other, err)
			}
		}
	})
}
