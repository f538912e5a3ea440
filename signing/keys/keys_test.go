package keys_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
)

func TestGenerateAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gw.pem")
	made, err := keys.Generate(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info.Mode(), err)
	}
	loaded, err := keys.LoadOrGenerate(path)
	if err != nil || loaded.Public().ID() != made.Public().ID() {
		t.Fatalf("%v", err)
	}
	sig, err := loaded.Sign([]byte("message"))
	if err != nil || !made.Public().Verify([]byte("message"), sig) {
		t.Fatalf("%v", err)
	}
	if _, err := keys.Generate(path); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("a key was replaced: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".key-*")); len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
	if _, _, err := keys.TUF(public.Key{Algorithm: public.Ed25519, Bytes: []byte{1, 2, 3}}); err == nil {
		t.Fatal("a key of three bytes")
	}
}

func TestLoadRefuses(t *testing.T) {
	for name, content := range map[string]string{
		"empty":        "",
		"no PEM":       "hello",
		"another type": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"damaged":      "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"huge":         strings.Repeat("x", 1<<20),
	} {
		path := filepath.Join(t.TempDir(), "key.pem")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.LoadOrGenerate(path); err == nil {
			t.Errorf("%s: loaded", name)
		}
		if now, _ := os.ReadFile(path); string(now) != content {
			t.Errorf("%s: the file was changed", name)
		}
	}
}
