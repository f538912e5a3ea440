package keys_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/waxwing-ota/waxwing/cross/needs"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/keys/keystest"
	"github.com/waxwing-ota/waxwing/signing/public"
)

var algorithms = []public.Algorithm{public.Ed25519, public.ECDSA}

func says(passphrase string) keys.Options {
	return keys.Options{Passphrase: func(string) (string, error) { return passphrase, nil }}
}

func open(t *testing.T, ref string, o keys.Options) keys.Signer {
	t.Helper()
	s, err := keys.Open(ref, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func made(t *testing.T, n keys.New) (string, keys.Signer) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.pem")
	s, err := keys.Make(path, n)
	if err != nil {
		t.Fatal(err)
	}
	return path, s
}

func TestFiles(t *testing.T) {
	for _, a := range algorithms {
		t.Run(string(a), func(t *testing.T) {
			path, s := made(t, keys.New{Algorithm: a})
			keystest.Run(t, s, open(t, path, keys.Options{}))
			path, s = made(t, keys.New{Algorithm: a, Passphrase: "correct horse", Cost: 4})
			keystest.Run(t, s, open(t, path, says("correct horse")))
		})
	}
	if _, err := keys.Make(filepath.Join(t.TempDir(), "key"), keys.New{Algorithm: "rsa"}); !errors.Is(err, public.ErrKey) {
		t.Errorf("an RSA key: %v", err)
	}
}

// TestEncrypted holds that an encrypted file gives nothing away, and that it does not open with anything else.
func TestEncrypted(t *testing.T) {
	path, _ := made(t, keys.New{Passphrase: "correct horse", Cost: 4})
	whole, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(whole), "-----BEGIN AGE ENCRYPTED FILE-----\n") || strings.Contains(string(whole), "PRIVATE") {
		t.Fatalf("%v\n%s", err, whole)
	}
	for name, o := range map[string]keys.Options{"another": says("wrong"), "an empty one": says(""), "none": {}} {
		if _, err := keys.Open(path, o); !errors.Is(err, keys.ErrPassphrase) {
			t.Errorf("%s: %v", name, err)
		}
	}
	away := errors.New("nobody is at the terminal")
	if _, err := keys.Open(path, keys.Options{Passphrase: func(string) (string, error) { return "", away }}); !errors.Is(err, away) {
		t.Errorf("nobody asked: %v", err)
	}
	whole[len(whole)/2] ^= 1
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Open(path, says("correct horse")); err == nil {
		t.Error("a damaged file opens")
	}
}

func TestCommand(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		needs.Lack(t, "openssl")
	}
	for _, a := range algorithms {
		t.Run(string(a), func(t *testing.T) {
			path, _ := made(t, keys.New{Algorithm: a})
			ref := "exec:testdata/openssl " + path
			keystest.Run(t, open(t, ref, keys.Options{}), open(t, path, keys.Options{}))
		})
	}
}

// TestToken signs with a key that never leaves a token.
func TestToken(t *testing.T) {
	const module = "/usr/lib/softhsm/libsofthsm2.so"
	for _, tool := range []string{"softhsm2-util", "pkcs11-tool", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			needs.Lack(t, "install softhsm2, opensc and openssl: ", err)
		}
	}
	if _, err := os.Stat(module); err != nil {
		needs.Lack(t, err)
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+dir+"\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	t.Setenv("MODULE", module)
	t.Setenv("PIN", "1234")
	for _, args := range [][]string{
		{"softhsm2-util", "--init-token", "--free", "--label", "waxwing", "--pin", "1234", "--so-pin", "1234"},
		{"pkcs11-tool", "--module", module, "--login", "--pin", "1234", "--keypairgen", "--key-type", "EC:prime256v1", "--label", "root"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	s := open(t, "exec:testdata/pkcs11 root", keys.Options{})
	if s.Public().Algorithm != public.ECDSA {
		t.Fatal(s.Public().Algorithm)
	}
	keystest.Run(t, s, open(t, "exec:testdata/pkcs11 root", keys.Options{}))
	if _, err := keys.Open("exec:testdata/pkcs11 another", keys.Options{}); !errors.Is(err, keys.ErrSigner) {
		t.Errorf("a key that the token has not: %v", err)
	}
}

// TestCommandsThatDoNotSign holds that nothing is taken on trust from a program, however it fails.
func TestCommandsThatDoNotSign(t *testing.T) {
	path, s := made(t, keys.New{})
	pub, err := keys.EncodePublic(s.Public())
	if err != nil {
		t.Fatal(err)
	}
	pubFile := filepath.Join(filepath.Dir(path), "pub")
	if err := os.WriteFile(pubFile, pub, 0o600); err != nil {
		t.Fatal(err)
	}
	script := func(public, sign string) string {
		name := filepath.Join(t.TempDir(), "signer")
		body := "#!/bin/sh\ncase $1 in\npublic) " + public + ";;\nsign) " + sign + ";;\nesac\n"
		if err := os.WriteFile(name, []byte(body), 0o700); err != nil {
			t.Fatal(err)
		}
		return "exec:" + name
	}
	for name, tc := range map[string]struct{ sign, want string }{
		"garbage":             {"echo signature", "no signature by key"},
		"nothing":             {"true", "no signature by key"},
		"a failure":           {"echo the token is locked >&2; exit 1", "the token is locked"},
		"endless":             {"exec cat /dev/zero", "over"},
		"silence":             {"exec sleep 60", "no answer within"},
		"a child that stays":  {"sleep 60 & exit 3", "exit status 3"},
		"endless complaining": {"head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1", "xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, script("cat "+pubFile, tc.sign), keys.Options{Timeout: 2 * time.Second})
			_, err := s.Sign([]byte("message"))
			if !errors.Is(err, keys.ErrSigner) || !strings.Contains(err.Error(), tc.want) || len(err.Error()) > 4096 {
				t.Errorf("%v", err)
			}
		})
	}
	for name, ref := range map[string]string{
		"no public key": script("echo hello", "true"), "no program": "exec:/nowhere/signer", "no command": "exec: ",
		"no agent": "ssh-agent:SHA256:x", "no file": filepath.Join(t.TempDir(), "none"), "a folder": t.TempDir(),
	} {
		if s, err := keys.Open(ref, keys.Options{}); err == nil || s != nil {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

func TestAgent(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, c) }()
		}
	}()
	o := keys.Options{Agent: socket}
	for _, key := range []crypto.Signer{ed, ec} {
		var private any = key
		if e, ok := key.(ed25519.PrivateKey); ok {
			private = &e
		}
		if err := ring.Add(agent.AddedKey{PrivateKey: private}); err != nil {
			t.Fatal(err)
		}
		p, err := ssh.NewPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		ref := "ssh-agent:" + ssh.FingerprintSHA256(p)
		s := open(t, ref, o)
		keystest.Run(t, s, open(t, ref, o))
		if err := ring.RemoveAll(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Sign(nil); !errors.Is(err, keys.ErrSigner) {
			t.Errorf("a key that was taken out: %v", err)
		}
		if _, err := keys.Open(ref, o); !errors.Is(err, keys.ErrSigner) {
			t.Errorf("a key that is not held: %v", err)
		}
	}
}

func FuzzParsePublic(f *testing.F) {
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := keys.ParsePublic(b)
		if err != nil {
			return
		}
		pem, err := keys.EncodePublic(k)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := keys.ParsePublic(pem); err != nil || again.ID() != k.ID() {
			t.Fatalf("%v is another key after it was written down: %v", k, err)
		}
	})
}
