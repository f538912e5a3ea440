package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/waxwing-ota/waxwing/agent/origin"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server"
	"github.com/waxwing-ota/waxwing/server/auth/oidc/oidctest"
	"github.com/waxwing-ota/waxwing/server/servertest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"waxwing": main})
}

// Each script talks to a server of its own; $TOKEN is its administrator's.
func TestScripts(t *testing.T) {
	issuer := oidctest.Start(t)
	ca := issuer.CA()
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			t := e.T().(testing.TB)
			s := servertest.Open(t, server.Options{Data: t.TempDir(), OIDCCA: ca})
			e.Setenv("ISSUER", issuer.URL)
			e.Setenv("ISSUERCA", ca)
			home := filepath.Join(e.WorkDir, "home")
			e.Setenv("HOME", home)
			e.Setenv("XDG_CONFIG_HOME", "")
			e.Setenv("TZ", "UTC")
			e.Setenv("SERVER", s.Operator)
			e.Setenv("TOKEN", s.Token)
			e.Setenv("DATA", s.Data)
			e.Setenv("DEVICES", s.Device)
			return os.MkdirAll(home, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"image": writeImage, "exits": exits, "splice": splice, "enrol": enrol, "idof": idOf, "damage": damage, "serve": serve, "eventually": eventually, "identity": identities(issuer)},
	})
}

// image FILE SIZE SEED writes bytes that compress, the same for the same seed.
func writeImage(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: image FILE SIZE SEED")
	}
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	seed, err := strconv.ParseUint(args[2], 10, 64)
	ts.Check(err)
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, size)
	for i := range b {
		b[i] = "abcdefgh"[r.IntN(8)]
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}

// splice OLD NEW writes OLD with a few bytes put into its middle.
func splice(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	half := len(b) / 2
	b = append(append(append([]byte{}, b[:half]...), "a small change"...), b[half:]...)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o644))
}

// damage FILE spoils a byte in every 64 KiB of its middle half.
func damage(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	b, err := os.ReadFile(file)
	ts.Check(err)
	for at := len(b) / 4; at < len(b)*3/4; at += 64 << 10 {
		b[at] ^= 1
	}
	ts.Check(os.WriteFile(file, b, 0o644))
}

// serve [-noranges|-nopatches] DIR serves a folder over HTTP until the script ends and sets $URL.
func serve(ts *testscript.TestScript, _ bool, args []string) {
	files := http.FileServer(http.Dir(ts.MkAbs(args[len(args)-1])))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case args[0] == "-noranges":
			r.Header.Del("Range")
		case args[0] == "-nopatches" && strings.HasPrefix(r.URL.Path, "/patches/"):
			http.NotFound(w, r)
			return
		}
		files.ServeHTTP(w, r)
	}))
	ts.Defer(s.Close)
	ts.Setenv("URL", s.URL)
}

// eventually PATTERN COMMAND… runs a command again and again until it writes what matches.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if want.MatchString(ts.ReadFile("stdout")) {
			return
		}
	}
	ts.Fatalf("%v never wrote %s", args[1:], args[0])
}

// enrol SERVER ID HARDWARE FILE enrols a device with the token in a file.
func enrol(ts *testscript.TestScript, _ bool, args []string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	ts.Check(err)
	csr, err := x509.CreateCertificateRequest(crand.Reader, &x509.CertificateRequest{}, key)
	ts.Check(err)
	_, err = origin.Enroll(context.Background(), args[0], protocol.EnrollRequest{
		Token: strings.TrimSpace(ts.ReadFile(args[3])), CSR: csr, ID: args[1], Hardware: args[2],
	})
	ts.Check(err)
}

// idof VARIABLE FILE sets a variable to the id in a JSON file.
func idOf(ts *testscript.TestScript, _ bool, args []string) {
	var v struct{ ID string }
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[1])), &v))
	ts.Setenv(args[0], v.ID)
}

// identity FILE AUDIENCE PROJECT REF writes the identity token of a job of GitLab.
func identities(i *oidctest.Issuer) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		claims := oidctest.GitLab(args[2], args[3])
		claims["aud"] = args[1]
		claims["ci_config_ref_uri"] = strings.TrimPrefix(i.URL, "https://") + "/" + args[2] + "//.gitlab-ci.yml@" + args[3]
		ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(i.Sign(claims)+"\n"), 0o600))
	}
}

// exits CODE COMMAND… runs a command that must end with an exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		code = -1
		if exit, ok := err.(interface{ ExitCode() int }); ok {
			code = exit.ExitCode()
		}
	}
	if code != want {
		ts.Fatalf("%v ended with %d, want %d", args[1:], code, want)
	}
}
