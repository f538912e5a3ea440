// Package keystest is what every keys.Signer must do, wherever its key lives.
package keystest

import (
	"bytes"
	"sync"
	"testing"

	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// Run tests a signer, and another one that was opened for the same key.
func Run(t *testing.T, s, again keys.Signer) {
	t.Helper()
	k := s.Public()
	if err := k.Check(); err != nil {
		t.Fatal(err)
	}
	if again.Public().ID() != k.ID() {
		t.Errorf("the same key is %s and then %s", k.ID(), again.Public().ID())
	}
	pem, err := keys.EncodePublic(k)
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err := keys.ParsePublic(pem); err != nil || parsed.ID() != k.ID() {
		t.Errorf("the public key is another after it was written down: %v", err)
	}
	listed, _, err := keys.TUF(k)
	if err != nil {
		t.Fatal(err)
	}
	back, err := keys.OfTUF(listed)
	if err != nil || back.ID() != k.ID() {
		t.Errorf("TUF lists another key: %v", err)
	}
	messages := [][]byte{[]byte("m"), bytes.Repeat([]byte{0, '\n', 0xff}, 100_000)}
	for _, m := range messages {
		sig, err := s.Sign(m)
		if err != nil {
			t.Fatal(err)
		}
		if !k.Verify(m, sig) {
			t.Errorf("a message of %d bytes: the signature does not verify", len(m))
		}
		if k.Verify(append(bytes.Clone(m), 'x'), sig) {
			t.Error("a signature of every message")
		}
		if err := public.Any(k).Verify(m, []public.Signature{{KeyID: k.ID(), Algorithm: k.Algorithm, Sig: sig}}); err != nil {
			t.Error(err)
		}
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if sig, err := again.Sign(messages[0]); err != nil || !k.Verify(messages[0], sig) {
				t.Errorf("many at once: %v", err)
			}
		})
	}
	all.Wait()
}
