// Package storetest gives tests a store: a real etcd inside the test's process, over a unix socket, without fsync, gone
// with the test.
package storetest

import (
	"testing"

	"github.com/waxwing-ota/waxwing/server/store"
)

// New starts an empty store.
func New(t testing.TB) *store.Store {
	t.Helper()
	return Open(t, t.TempDir())
}

// Open starts a store on what dir holds, as a restarted server does.
func Open(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, closer, err := store.Open(t.Context(), store.Options{Dir: dir, Unsynced: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closer.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	return s
}
