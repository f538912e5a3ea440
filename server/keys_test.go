package server_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/server"
	"github.com/waxwing-ota/waxwing/server/blob"
	"github.com/waxwing-ota/waxwing/server/blob/dir"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/servertest"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// repo reads the repository of a server that has stopped, with the keys that are given.
func repo(t *testing.T, data string, with ...keys.Signer) *repository.Repository {
	t.Helper()
	b, err := dir.Open(filepath.Join(data, "blob"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := repository.Open(t.Context(), repository.Options{
		Files: blob.Files{Store: b, Prefix: "repo/"}, Keys: repository.Keys{Others: with},
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func load(t *testing.T, file string) *keys.File {
	t.Helper()
	k, err := keys.LoadOrGenerate(file)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// A server runs without the keys of root and targets, and with the next key of a role in the place of the first.
func TestKeysOfHolders(t *testing.T) {
	data := t.TempDir()
	servertest.Open(t, server.Options{Data: data}).Stop()
	file := func(name string) string { return filepath.Join(data, "keys", name) }
	next := load(t, file("timestamp-2.pem"))
	r := repo(t, data, load(t, file("root.pem")), load(t, file("snapshot.pem")), next)
	p, err := r.Plan()
	if err != nil {
		t.Fatal(err)
	}
	p.Timestamp = public.Any(next.Public())
	if err := r.ChangeRoot(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"root.pem", "targets.pem", "timestamp.pem"} {
		if err := os.Remove(file(name)); err != nil {
			t.Fatal(err)
		}
	}
	servertest.Open(t, server.Options{Data: data}).Stop()
	for _, name := range []string{"root.pem", "targets.pem", "timestamp.pem"} {
		if _, err := os.Stat(file(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was made anew: %v", name, err)
		}
	}
}

// A repository that was restored from an older backup than the store goes on above what devices were told to demand
// (security case 77).
func TestRestoredRepository(t *testing.T) {
	data := t.TempDir()
	servertest.Open(t, server.Options{Data: data}).Stop()
	s, closer, err := store.Open(t.Context(), store.Options{Dir: filepath.Join(data, "etcd"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	envelope, err := policy.Seal(&policy.Policy{
		Schema: 1, Audience: policy.Audience{Kind: policy.ForGroup, Name: "all"}, Seq: 3, IssuedAt: now, ExpiresAt: now.Add(time.Hour),
		Action: policy.None, SnapshotFloor: 50,
	}, load(t, filepath.Join(data, "keys", "policy.pem")))
	if err != nil {
		t.Fatal(err)
	}
	policies := store.NewCollection[fleet.PolicyRecord](s, fleet.PoliciesName)
	if err := errors.Join(policies.Put(t.Context(), "all", fleet.PolicyRecord{Seq: 3, Envelope: envelope}), closer.Close()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second start changes nothing
		servertest.Open(t, server.Options{Data: data}).Stop()
		if got := repo(t, data).SnapshotVersion(); got != 51 {
			t.Fatalf("snapshot %d where policies demand 50", got)
		}
	}
}
