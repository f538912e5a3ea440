// Package auth says who an operator is and what they may do.
//
// A person or a CI job holds a token, wxo_<id>_<secret>; the store keeps only the SHA-256 of the secret. A token has
// scopes: read looks at everything; release, rollout and device each change their part and imply read; admin implies all.
// The steps of a pipeline are scopes of their own, upload, sign, publish and start, and a token may be bound to products.
// A browser trades its token for a session cookie, so that the secret does not stay in the page; the session ends after
// [SessionLife] or with its token, whichever is first.
//
// A CI job keeps no secret at all: it trades the identity token of its platform for a token that lives for minutes
// ([Auth.Exchange]), when an administrator trusts its pipeline with a product ([Trust]).
//
// Whoever passes is a [Principal]. Services take it as an argument, never from a context of their own making.
//
// Secrets have 160 random bits, so one plain SHA-256 is enough to keep them: there is nothing to guess. Comparing takes
// the same time whatever differs.
package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/waxwing-ota/waxwing/server/auth/oidc"
	"github.com/waxwing-ota/waxwing/server/store"
)

// Collections in the store.
const (
	TokensName   = "operators" // token id → Token
	SessionsName = "sessions"  // hex SHA-256 of the cookie → Session
	TrustsName   = "trusts"    // trust id → Trust
)

// Errors that callers tell apart. They are safe to show to whoever asked.
var (
	ErrMissing   = errors.New("no token was given: sign in, or send the header Authorization: Bearer wxo_…")
	ErrInvalid   = errors.New("this token is not known here: it is mistyped, was revoked, or belongs to another server")
	ErrExpired   = errors.New("has expired: ask an administrator for a new one (waxwing token create --kind operator)")
	ErrForbidden = errors.New("is not allowed to do this")
	ErrLastAdmin = errors.New("this is the last token that may administer; make another before you revoke it")
	ErrScopes    = errors.New("an operator token needs at least one scope: read, upload, sign, publish, start, release, rollout, device or admin")
)

// Lives of what is handed out.
const (
	SessionLife  = 12 * time.Hour
	DefaultLife  = 90 * 24 * time.Hour
	adminLife    = 365 * 24 * time.Hour
	tokenPrefix  = "wxo_"
	secretLength = 20 // bytes
)

// Token is an operator token as it is stored.
type Token struct {
	ID        string    `json:"id"`
	Hash      []byte    `json:"hash"` // SHA-256 of the secret
	Note      string    `json:"note,omitempty"`
	Scopes    []Scope   `json:"scopes"`
	Products  []string  `json:"products,omitempty"` // that it is bound to; none: all
	Trusts    []string  `json:"trusts,omitempty"`   // ids of the trusts by which a CI job got it; none: a person made it
	Job       *Job      `json:"job,omitempty"`      // that got it
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Session is a signed-in browser.
type Session struct {
	Token     string    `json:"token"` // id
	ExpiresAt time.Time `json:"expires_at"`
}

// Identities verifies the identity tokens of CI jobs; oidc.Verifier is it.
type Identities interface {
	Verify(ctx context.Context, raw string, issuers []string) (*oidc.Token, error)
}

// Options of New.
type Options struct {
	Store      *store.Store
	Identities Identities       // nil: no CI job gets a token
	Log        *slog.Logger     // nil: nothing is logged
	Now        func() time.Time // nil: the clock of the machine
}

// Auth checks and hands out credentials. It is safe for concurrent use.
type Auth struct {
	tokens   store.Collection[Token]
	sessions store.Collection[Session]
	trusts   store.Collection[Trust]
	store    *store.Store
	ids      Identities
	rush     *rate.Limiter // of exchanges: they are open to everybody, and checking a signature is work
	log      *slog.Logger
	now      func() time.Time
}

// New returns the Auth over a store.
func New(o Options) *Auth {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Auth{
		tokens:   store.NewCollection[Token](o.Store, TokensName),
		sessions: store.NewCollection[Session](o.Store, SessionsName),
		trusts:   store.NewCollection[Trust](o.Store, TrustsName),
		store:    o.Store, ids: o.Identities, rush: rate.NewLimiter(20, 40), log: o.Log, now: o.Now,
	}
}

// Create makes a token and returns it with its secret form, which is not kept. A life of zero is DefaultLife. With products
// it is bound to them, and then its scopes are those of releases and rollouts.
func (a *Auth) Create(
	ctx context.Context, note string, scopes []Scope, products []string, life time.Duration, by string,
) (Token, string, error) {
	t, secret, err := a.mint(note, scopes, life, by)
	if err != nil {
		return Token{}, "", err
	}
	if len(products) > 0 && (slices.Contains(scopes, Admin) || slices.Contains(scopes, Device)) {
		return Token{}, "", fmt.Errorf("the scopes device and admin know no products: %w", ErrScopes)
	}
	t.Products = products
	_, err = a.tokens.Create(ctx, t.ID, t)
	return t, secret, err
}

func (a *Auth) mint(note string, scopes []Scope, life time.Duration, by string) (Token, string, error) {
	if len(scopes) == 0 || slices.ContainsFunc(scopes, func(s Scope) bool { return !s.known() }) {
		return Token{}, "", ErrScopes
	}
	if life <= 0 {
		life = DefaultLife
	}
	id, secret := random(5), random(secretLength)
	hash := sha256.Sum256([]byte(secret))
	now := a.now().UTC().Truncate(time.Second)
	return Token{
		ID: id, Hash: hash[:], Note: note, Scopes: scopes,
		CreatedAt: now, CreatedBy: by, ExpiresAt: now.Add(life),
	}, tokenPrefix + id + "_" + secret, nil
}

// List returns all tokens.
func (a *Auth) List(ctx context.Context) ([]Token, error) {
	entries, _, err := a.tokens.List(ctx, store.Page{})
	tokens := make([]Token, 0, len(entries))
	for _, e := range entries {
		tokens = append(tokens, e.Value)
	}
	return tokens, err
}

// Revoke removes a token; its sessions end with it. The error matches store.ErrNotFound or ErrLastAdmin.
func (a *Auth) Revoke(ctx context.Context, id string) error {
	t, err := a.tokens.Get(ctx, id)
	if err != nil {
		return err
	}
	if May(t.Value.Scopes, Admin) {
		others, err := a.admins(ctx, id)
		if err != nil {
			return err
		}
		if others == 0 {
			return ErrLastAdmin
		}
	}
	return a.tokens.Delete(ctx, id)
}

// admins counts the living tokens, other than one, that may administer.
func (a *Auth) admins(ctx context.Context, except string) (int, error) {
	tokens, err := a.List(ctx)
	n := 0
	for _, t := range tokens {
		if t.ID != except && May(t.Scopes, Admin) && a.now().Before(t.ExpiresAt) {
			n++
		}
	}
	return n, err
}

// Bearer returns whom a secret token belongs to. The error matches ErrMissing, ErrInvalid or ErrExpired.
func (a *Auth) Bearer(ctx context.Context, secret string) (Principal, error) {
	if secret == "" {
		return Principal{}, ErrMissing
	}
	id, rest, ok := strings.Cut(strings.TrimPrefix(secret, tokenPrefix), "_")
	if !ok || !strings.HasPrefix(secret, tokenPrefix) || len(id) > 32 || len(rest) > 128 || id == "" || strings.Contains(id, "/") {
		return Principal{}, ErrInvalid
	}
	e, err := a.tokens.Get(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return Principal{}, ErrInvalid
	}
	if err != nil {
		return Principal{}, err
	}
	hash := sha256.Sum256([]byte(rest))
	if subtle.ConstantTimeCompare(hash[:], e.Value.Hash) != 1 {
		return Principal{}, ErrInvalid
	}
	return a.principal(e.Value)
}

func (a *Auth) principal(t Token) (Principal, error) {
	if !a.now().Before(t.ExpiresAt) {
		return Principal{}, fmt.Errorf("token %s %w", t.ID, ErrExpired)
	}
	name := t.Note
	if name == "" {
		name = "token " + t.ID
	}
	return Principal{
		Name: name, Token: t.ID, Scopes: t.Scopes, Products: t.Products, Job: t.Job, ExpiresAt: t.ExpiresAt,
	}, nil
}

// random returns n random bytes in lower-case base32, a form without the separator "_".
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: crypto/rand ends the process instead
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}
