// Package oidc verifies the identity tokens of CI jobs: JSON Web Tokens (RFC 7519) of an OpenID Connect issuer. go-oidc
// discovers the issuer's keys and keeps them; this package is what stands around it.
//
// A token is bounded in size before anything of it is parsed. Only issuers that the caller names are asked for keys, so
// nobody outside can make the server fetch from a place of their choice; jku, x5u and jwk headers are ignored. RS256 and
// ES256 are taken and nothing else: never none, never a shared secret. Keys are fetched over TLS (plain HTTP on loopback
// only), without redirects, and seldom: forged tokens with new key ids do not make the server a client that hammers its
// issuer.
package oidc

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/time/rate"
)

// Bounds of what strangers send.
const (
	MaxToken = 16 << 10 // bytes of a token; those of GitHub and GitLab have under 3 KiB
	maxKeys  = 1 << 20  // bytes of a discovery document or a key set
	patience = 10 * time.Second
	leeway   = time.Minute // by which clocks may differ
	// keepFor is how long a discovery document counts. Keys are read again when a token names one that is not known.
	keepFor = time.Hour
)

// Errors that callers tell apart.
var (
	ErrToken  = errors.New("this identity token is not accepted")
	ErrIssuer = errors.New("the issuer of the identity token does not answer")
)

// Claims are what an issuer says of a job. Texts are as they are; numbers and booleans are written as JSON has them; other
// values are left out.
type Claims map[string]string

// Token is a verified token.
type Token struct {
	Issuer, Subject string
	Audience        []string
	Expires         time.Time
	Claims          Claims
}

// Options of New.
type Options struct {
	Roots *x509.CertPool   // that vouch for issuers; nil: those of the system
	Now   func() time.Time // nil: the clock of the machine
}

// Verifier verifies tokens. It is safe for concurrent use.
type Verifier struct {
	now    func() time.Time
	client *http.Client

	mu      sync.Mutex
	issuers map[string]*issuer
}

// issuer is what is known of one issuer.
type issuer struct {
	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
	until    time.Time
	limit    *rate.Limiter // of requests to it
}

// New returns a Verifier. It asks nobody anything before the first token.
func New(o Options) *Verifier {
	if o.Now == nil {
		o.Now = time.Now
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: o.Roots, MinVersion: tls.VersionTLS12}
	transport.IdleConnTimeout = patience
	return &Verifier{
		now: o.Now, issuers: map[string]*issuer{},
		client: &http.Client{
			Timeout: patience, Transport: bounded{transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// CheckIssuer reports why a URL cannot be an issuer; nil: it can.
func CheckIssuer(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(text) > 255 {
		return fmt.Errorf("issuer %q: write a URL such as https://token.actions.githubusercontent.com", text)
	}
	return secure(u)
}

func secure(u *url.URL) error {
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "https" || u.Scheme == "http" && ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("issuer %s: keys are fetched with https only", u.Redacted())
}

// Verify verifies a token of one of these issuers. The error matches ErrToken, or ErrIssuer when the issuer's keys cannot
// be had now. Who the token is for (Audience) is for the caller to judge.
func (v *Verifier) Verify(ctx context.Context, raw string, issuers []string) (*Token, error) {
	if len(raw) > MaxToken {
		return nil, fmt.Errorf("%w: it has over %d bytes", ErrToken, MaxToken)
	}
	said, err := unverified(raw)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(issuers, said) {
		return nil, fmt.Errorf("%w: no pipeline of issuer %.80q is trusted here", ErrToken, said)
	}
	verifier, err := v.issuer(ctx, said)
	if err != nil {
		return nil, err
	}
	t, err := verifier.Verify(oidc.ClientContext(ctx, v.client), raw)
	if err != nil {
		var fetch *fetchError
		if errors.As(err, &fetch) || strings.Contains(err.Error(), "fetching keys") {
			return nil, fmt.Errorf("%w: %w", ErrIssuer, err)
		}
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	var all map[string]any
	if err := t.Claims((*exact)(&all)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	for _, name := range []string{"nbf", "iat"} { // go-oidc lets five minutes pass, and does not look at iat
		if at, ok := all[name].(json.Number); ok {
			seconds, err := at.Float64()
			if err != nil || time.Unix(int64(seconds), 0).After(v.now().Add(leeway)) {
				return nil, fmt.Errorf("%w: it is not valid yet (%s)", ErrToken, name)
			}
		}
	}
	return &Token{Issuer: t.Issuer, Subject: t.Subject, Audience: t.Audience, Expires: t.Expiry, Claims: flat(all)}, nil
}

// unverified returns the issuer that a token names, to know whose keys to try.
func unverified(raw string) (string, error) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return "", fmt.Errorf("%w: it is no JSON Web Token", ErrToken)
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", fmt.Errorf("%w: it is no JSON Web Token", ErrToken)
	}
	var said struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(b, &said); err != nil {
		return "", fmt.Errorf("%w: it is no JSON Web Token", ErrToken)
	}
	return said.Issuer, nil
}

// issuer returns the verifier of an issuer's tokens; it asks the issuer when it must.
func (v *Verifier) issuer(ctx context.Context, name string) (*oidc.IDTokenVerifier, error) {
	v.mu.Lock()
	at := v.issuers[name]
	if at == nil {
		at = &issuer{limit: rate.NewLimiter(rate.Every(5*time.Second), 6)}
		v.issuers[name] = at
	}
	v.mu.Unlock()
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.verifier != nil && v.now().Before(at.until) {
		return at.verifier, nil
	}
	// The key set keeps this client for its own requests.
	client := &http.Client{
		Timeout: v.client.Timeout, CheckRedirect: v.client.CheckRedirect, Transport: limited{v.client.Transport, at.limit},
	}
	p, err := oidc.NewProvider(oidc.ClientContext(ctx, client), name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIssuer, err)
	}
	at.verifier = p.VerifierContext(oidc.ClientContext(context.WithoutCancel(ctx), client), &oidc.Config{
		SkipClientIDCheck: true, SupportedSigningAlgs: []string{oidc.RS256, oidc.ES256}, Now: v.now,
	})
	at.until = v.now().Add(keepFor)
	return at.verifier, nil
}

// exact reads JSON with numbers as they were written.
type exact map[string]any

// UnmarshalJSON implements json.Unmarshaler.
func (e *exact) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode((*map[string]any)(e))
}

func flat(all map[string]any) Claims {
	c := Claims{}
	for name, v := range all {
		switch v := v.(type) {
		case string:
			c[name] = v
		case bool, json.Number:
			c[name] = fmt.Sprint(v)
		}
	}
	return c
}

// fetchError says that the issuer was not asked, or asked in vain.
type fetchError struct{ reason string }

func (e *fetchError) Error() string { return e.reason }

// bounded refuses what is not secure and cuts what is too long.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := secure(r.URL); err != nil {
		return nil, &fetchError{err.Error()}
	}
	answer, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, &fetchError{err.Error()}
	}
	answer.Body = &cut{ReadCloser: answer.Body, left: maxKeys}
	return answer, nil
}

// limited lets few requests through.
type limited struct {
	next  http.RoundTripper
	limit *rate.Limiter
}

// RoundTrip implements http.RoundTripper.
func (l limited) RoundTrip(r *http.Request) (*http.Response, error) {
	if !l.limit.Allow() {
		return nil, &fetchError{"the issuer was asked for keys often enough; try again in a few seconds"}
	}
	return l.next.RoundTrip(r)
}

// cut fails a body that is longer than it may be.
type cut struct {
	io.ReadCloser
	left int64
}

func (c *cut) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left+1)])
	if c.left -= int64(n); c.left < 0 {
		return 0, &fetchError{fmt.Sprintf("the issuer answers with over %d bytes", maxKeys)}
	}
	return n, err
}
