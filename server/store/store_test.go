package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/server/store/storetest"
)

func contextWithTimeout(t *testing.T, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), d)
}

func TestCollection(t *testing.T) {
	ctx := t.Context()
	docs := store.NewCollection[doc](storetest.New(t), "docs")
	if _, err := docs.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("get of nothing: %v", err)
	}
	first, err := docs.Create(ctx, "a", doc{N: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := docs.Create(ctx, "a", doc{N: 2}); !errors.Is(err, store.ErrExists) {
		t.Fatalf("second create: %v", err)
	}
	second, err := docs.Replace(ctx, "a", doc{N: 2}, first.Revision)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := docs.Replace(ctx, "a", doc{N: 3}, first.Revision); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("replace of an old revision: %v", err)
	}
	got, err := docs.Get(ctx, "a")
	if err != nil || cmp.Diff(second, got) != "" {
		t.Fatalf("%v %s", err, cmp.Diff(second, got))
	}
	refuse := errors.New("no")
	if _, err := docs.Update(ctx, "a", func(d *doc) error { d.N = 9; return refuse }); !errors.Is(err, refuse) {
		t.Fatalf("a refused change: %v", err)
	}
	if got, _ := docs.Get(ctx, "a"); got.Value.N != 2 {
		t.Fatalf("a refused change was written: %+v", got)
	}
	if err := docs.Delete(ctx, "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := docs.Update(ctx, "a", func(*doc) error { return nil }); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("update of nothing: %v", err)
	}
}

func TestUpdateUnderContention(t *testing.T) {
	docs := store.NewCollection[doc](storetest.New(t), "docs")
	g, ctx := errgroup.WithContext(t.Context())
	const writers, times = 8, 25
	for range writers {
		g.Go(func() error {
			for range times {
				if _, err := docs.Upsert(ctx, "sum", func(d *doc) error { d.N++; return nil }); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if e, err := docs.Get(t.Context(), "sum"); err != nil || e.Value.N != writers*times {
		t.Fatalf("got %+v, %v, want %d", e, err, writers*times)
	}
}

func TestBatchAndPages(t *testing.T) {
	ctx := t.Context()
	s := storetest.New(t)
	docs := store.NewCollection[doc](s, "docs")
	others := store.NewCollection[doc](s, "docs-of-others")
	if err := others.Put(ctx, "x", doc{}); err != nil {
		t.Fatal(err)
	}
	const n = 2_300 // several transactions, and more than one answer of etcd
	b := store.NewBatch(s)
	for i := range n {
		if err := docs.PutIn(b, fmt.Sprintf("k%05d", i), doc{N: i}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	all, revision, err := docs.List(ctx, store.Page{})
	if err != nil || len(all) != n || revision == 0 {
		t.Fatalf("listed %d at %d: %v", len(all), revision, err)
	}
	var paged []store.Entry[doc]
	for after := ""; ; {
		page, _, err := docs.List(ctx, store.Page{After: after, Limit: 700})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
		after = page[len(page)-1].Key
	}
	if d := cmp.Diff(all, paged); d != "" {
		t.Fatal("pages differ from the whole:", d[:min(len(d), 500)])
	}
	some, _, err := docs.List(ctx, store.Page{Prefix: "k0001", After: "k00014", Limit: 3})
	if err != nil || len(some) != 3 || some[0].Key != "k00015" {
		t.Fatalf("%+v %v", some, err)
	}
}

func TestBatchSplitsBySize(t *testing.T) {
	s := storetest.New(t)
	docs := store.NewCollection[doc](s, "docs")
	b := store.NewBatch(s)
	for i := range 100 {
		if err := docs.PutIn(b, fmt.Sprint(i), doc{Text: strings.Repeat("x", 60<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestGuardedBatchIsAllOrNothing(t *testing.T) {
	ctx := t.Context()
	s := storetest.New(t)
	docs := store.NewCollection[doc](s, "docs")
	e, err := docs.Create(ctx, "a", doc{N: 1})
	if err != nil {
		t.Fatal(err)
	}
	write := func(revision int64) error {
		b := store.NewBatch(s)
		docs.UnchangedIn(b, "a", revision)
		docs.UnchangedIn(b, "new", 0)
		docs.DeleteIn(b, "a")
		if err := docs.PutIn(b, "new", doc{N: 2}); err != nil {
			t.Fatal(err)
		}
		return b.Commit(ctx)
	}
	if err := write(e.Revision + 1); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("got %v", err)
	}
	if _, err := docs.Get(ctx, "new"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("a failed batch wrote: %v", err)
	}
	if err := write(e.Revision); err != nil {
		t.Fatal(err)
	}
	if _, err := docs.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("got %v", err)
	}
}

func TestWatch(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := storetest.New(t)
	docs := store.NewCollection[doc](s, "docs")
	e, err := docs.Create(ctx, "a", doc{N: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := docs.Create(ctx, "b", doc{N: 2}); err != nil {
		t.Fatal(err)
	}
	if err := docs.Delete(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	var seen []string
	err = docs.Watch(ctx, e.Revision, func(changes []store.Change[doc]) {
		for _, c := range changes {
			seen = append(seen, fmt.Sprintf("%s %d %t", c.Key, c.Value.N, c.Deleted))
		}
		if len(seen) == 2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"b 2 false", "b 0 true"}, seen); d != "" {
		t.Fatal(d)
	}
}

func TestFollowSurvivesCompaction(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := storetest.New(t)
	docs := store.NewCollection[doc](s, "docs")
	old, err := docs.Create(ctx, "a", doc{N: 1})
	if err != nil {
		t.Fatal(err)
	}
	newer, err := docs.Replace(ctx, "a", doc{N: 2}, old.Revision)
	if err != nil {
		t.Fatal(err)
	}
	newer, err = docs.Replace(ctx, "a", doc{N: 3}, newer.Revision)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Client().Compact(ctx, newer.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if err := docs.Watch(ctx, old.Revision, func([]store.Change[doc]) {}); !errors.Is(err, store.ErrCompacted) {
		t.Fatalf("got %v, want ErrCompacted", err)
	}
	resets := 0
	err = docs.Follow(ctx, old.Revision, func(all []store.Entry[doc], _ int64) {
		resets++
		if len(all) != 1 || all[0].Value.N != 3 {
			t.Errorf("reset with %+v", all)
		}
		if err := docs.Put(ctx, "b", doc{N: 4}); err != nil {
			t.Error(err)
		}
	}, func(changes []store.Change[doc]) {
		if changes[0].Key != "b" || changes[0].Value.N != 4 {
			t.Errorf("changes %+v", changes)
		}
		cancel()
	})
	if !errors.Is(err, context.Canceled) || resets != 1 {
		t.Fatalf("%v after %d resets", err, resets)
	}
}
