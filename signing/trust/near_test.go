package trust_test

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

// beside opens a device that asks others first, and keeps what it asks the repository and them for.
type beside struct {
	*trust.Trust
	site  *site
	asked []string // of the repository
	near  int      // how often others were asked
}

func (b *beside) Fetch(ctx context.Context, path string, limit int64) ([]byte, error) {
	b.asked = append(b.asked, path)
	return b.site.Fetch(ctx, path, limit)
}

func (s *site) beside(near func(firmware.Digest) []byte) *beside {
	s.t.Helper()
	b := &beside{site: s}
	var err error
	b.Trust, err = trust.Open(trust.Options{
		Dir: s.t.TempDir(), Root: s.files["metadata/1.root.json"], Device: "d-2", Hardware: "arm64", Fetch: b,
		Now: func() time.Time { return s.now },
		Near: func(_ context.Context, sum firmware.Digest, _ int64) ([]byte, error) {
			b.near++
			if d := near(sum); d != nil {
				return d, nil
			}
			return nil, firmware.ErrNotFound
		},
	})
	s.must(err)
	return b
}

// follows refreshes, takes a manifest, and returns what metadata the repository was asked for.
func (b *beside) follows(version string) (asked []string) {
	b.site.t.Helper()
	b.asked = nil
	b.site.must(b.Refresh(b.site.t.Context()))
	_, _, err := b.Find(b.site.t.Context(), "gw", version)
	b.site.must(err)
	for _, path := range b.asked {
		if m := regexp.MustCompile(`^metadata/(.*)$`).FindStringSubmatch(path); m != nil {
			asked = append(asked, m[1])
		}
	}
	return asked
}

// TestMetadataOfOthers lets one device have from another what the timestamp and the snapshot name, and nothing else; what is
// wrong comes from the repository after all.
func TestMetadataOfOthers(t *testing.T) {
	s := newSite(t)
	s.release("1.0", 1)
	nobody := func(firmware.Digest) []byte { return nil }
	first := s.beside(nobody)
	alone := []string{"2.root.json", "timestamp.json", "3.snapshot.json", "1.targets.json", "1.gw.json"}
	got := first.follows("1.0")
	if len(got) != len(alone) || !slices.Contains(got, "timestamp.json") || first.near != 3 {
		t.Fatalf("alone it asks for %v, and others %d times", got, first.near)
	}
	fresh := []string{"2.root.json", "timestamp.json"}
	second := s.beside(first.Object)
	if diff := cmp.Diff(fresh, second.follows("1.0")); diff != "" {
		t.Error(diff)
	}
	third := s.beside(second.Object) // what came from others is passed on
	if diff := cmp.Diff(fresh, third.follows("1.0")); diff != "" {
		t.Error(diff)
	}
	for name, lie := range map[string]func(firmware.Digest) []byte{
		"wrong": func(firmware.Digest) []byte { return []byte("{}") },
		"older": func(firmware.Digest) []byte { return s.files["metadata/1.root.json"] },
	} {
		if diff := cmp.Diff(got, s.beside(lie).follows("1.0")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}

	// The next release: only what is new, and it is not to be had from those who have not heard of it.
	s.release("1.1", 2)
	if asked := second.follows("1.1"); len(asked) != 4 || slices.Contains(asked, "1.targets.json") {
		t.Errorf("it asks for %v", asked)
	}
	if diff := cmp.Diff(fresh, s.beside(second.Object).follows("1.1")); diff != "" {
		t.Error(diff)
	}
	old := firmware.Sum(s.files["metadata/"+got[2]])
	if second.Object(old) != nil || first.Object(old) == nil {
		t.Error("a snapshot that was replaced is given on, or one that is in force is not")
	}
	// After a restart it has them still.
	again, err := trust.Open(trust.Options{Dir: s.dir, Root: s.files["metadata/1.root.json"], Device: "d-1", Fetch: s, Now: func() time.Time { return s.now }})
	s.must(err)
	s.must(again.Refresh(t.Context()))
	d := s.device()
	for _, path := range []string{got[3]} {
		if d.Object(firmware.Sum(s.files["metadata/"+path])) == nil {
			t.Errorf("%s is lost", path)
		}
	}
}

// TestOfferedBeforeItIsStored lets others have a snapshot as soon as it is proven, also while the rest is not to be had.
func TestOfferedBeforeItIsStored(t *testing.T) {
	s := newSite(t)
	s.release("1.0", 1)
	b := s.beside(func(firmware.Digest) []byte { return nil })
	var snapshot []byte
	for path, content := range s.files {
		if regexp.MustCompile(`^metadata/\d+\.targets\.json$`).MatchString(path) {
			delete(s.files, path)
		}
		if regexp.MustCompile(`^metadata/\d+\.snapshot\.json$`).MatchString(path) && len(content) > len(snapshot) {
			snapshot = content // the newest names most
		}
	}
	if err := b.Refresh(t.Context()); !errors.Is(err, trust.ErrNotFound) {
		t.Fatal(err)
	}
	if b.Object(firmware.Sum(snapshot)) == nil {
		t.Error("it keeps the snapshot to itself")
	}
}
