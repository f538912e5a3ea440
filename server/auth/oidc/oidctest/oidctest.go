// Package oidctest is an OpenID Connect issuer for tests: it signs real tokens with real keys and tells its keys over real
// TLS, as the issuers of GitHub and GitLab do.
package oidctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// Issuer is a running issuer.
type Issuer struct {
	URL  string
	RSA  *rsa.PrivateKey   // kid "rsa"
	EC   *ecdsa.PrivateKey // kid "ec"
	Cert *x509.Certificate // that vouches for its server
	Asks atomic.Int64      // how often its keys were read

	t testing.TB
}

// Start starts an issuer that ends with the test.
func Start(t testing.TB) *Issuer {
	t.Helper()
	i := &Issuer{t: t}
	var err error
	if i.RSA, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if i.EC, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	s := httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	i.URL, i.Cert = s.URL, s.Certificate()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.answer(w, map[string]any{
			"issuer": s.URL, "jwks_uri": s.URL + "/keys", "authorization_endpoint": s.URL + "/none", "response_types_supported": []string{"id_token"},
			"subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256", "ES256", "HS256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		i.Asks.Add(1)
		i.answer(w, i.keys())
	})
	// The request that a job of GitHub Actions makes for its token. Everything else than the audience is the job's.
	mux.HandleFunc("GET /github", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "bearer job" {
			http.Error(w, "not this job", http.StatusForbidden)
			return
		}
		claims := GitHub("acme/gateway", "refs/tags/v1.0.0")
		claims["aud"] = r.URL.Query().Get("audience")
		i.answer(w, map[string]any{"value": i.Sign(claims)})
	})
	return i
}

func (i *Issuer) keys() map[string]any {
	point, err := i.EC.PublicKey.Bytes() // 4, x, y
	if err != nil {
		i.t.Error(err)
		return nil
	}
	return map[string]any{"keys": []any{
		map[string]any{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "rsa", "n": encode(i.RSA.N.Bytes()), "e": "AQAB"},
		map[string]any{"kty": "EC", "alg": "ES256", "use": "sig", "kid": "ec", "crv": "P-256", "x": encode(point[1:33]), "y": encode(point[33:])},
	}}
}

func (i *Issuer) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		i.t.Log(err)
	}
}

// CA writes the certificate that vouches for the issuer to a file and returns its name.
func (i *Issuer) CA() string {
	i.t.Helper()
	file := filepath.Join(i.t.TempDir(), "issuer.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Cert.Raw}), 0o600); err != nil {
		i.t.Fatal(err)
	}
	return file
}

// Roots returns a pool with that certificate.
func (i *Issuer) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(i.Cert)
	return pool
}

// Sign returns a token, RS256, with these claims over those that every token has.
func (i *Issuer) Sign(claims map[string]any) string {
	return i.SignAs(map[string]any{"alg": "RS256", "kid": "rsa"}, claims)
}

// SignAs is Sign with a header of one's own. alg none leaves the signature out, HS256 misuses the public RSA key as a
// secret.
func (i *Issuer) SignAs(header, claims map[string]any) string {
	i.t.Helper()
	all := map[string]any{
		"iss": i.URL, "sub": "job", "aud": "waxwing", "iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(),
	}
	maps.Copy(all, claims)
	signed := i.part(header) + "." + i.part(all)
	sum := sha256.Sum256([]byte(signed))
	var sig []byte
	var err error
	switch header["alg"] {
	case "RS256":
		sig, err = rsa.SignPKCS1v15(rand.Reader, i.RSA, crypto.SHA256, sum[:])
	case "ES256":
		r, s, e := ecdsa.Sign(rand.Reader, i.EC, sum[:])
		err = e
		sig = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	case "HS256":
		der, e := x509.MarshalPKIXPublicKey(&i.RSA.PublicKey)
		err = e
		mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
		mac.Write([]byte(signed))
		sig = mac.Sum(nil)
	}
	if err != nil {
		i.t.Fatal(err)
	}
	return signed + "." + encode(sig)
}

func (i *Issuer) part(v map[string]any) string {
	b, err := json.Marshal(v)
	if err != nil {
		i.t.Fatal(err)
	}
	return encode(b)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// GitHub returns the claims of a job of GitHub Actions that a push to a ref began, in the environment "production".
func GitHub(repository, ref string) map[string]any {
	return map[string]any{
		"sub": "repo:" + repository + ":environment:production", "repository": repository, "repository_id": "4711", "repository_owner_id": "42",
		"ref": ref, "ref_protected": "true", "sha": "59b1a4c0ffee59b1a4c0ffee59b1a4c0ffee59b1", "event_name": "push", "environment": "production",
		"workflow_ref": repository + "/.github/workflows/release.yml@" + ref, "run_id": "99", "actor": "jane",
	}
}

// GitLab returns the claims of a job of GitLab CI that a push to a ref began, in the environment "production".
func GitLab(project, ref string) map[string]any {
	return map[string]any{
		"sub": "project_path:" + project, "project_path": project, "project_id": "815", "namespace_id": "7", "ref_path": ref, "ref_protected": "true",
		"sha": "59b1a4c0ffee59b1a4c0ffee59b1a4c0ffee59b1", "pipeline_source": "push", "environment": "production",
		"ci_config_ref_uri": "gitlab.com/" + project + "//.gitlab-ci.yml@" + ref, "pipeline_id": "98", "job_id": "97", "user_login": "jane",
	}
}
