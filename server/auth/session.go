package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/waxwing-ota/waxwing/server/store"
)

// CookieName is the cookie of a session.
const CookieName = "waxwing_session"

// SignIn trades a secret token for a session and returns the value of its cookie. Sessions that have ended are swept
// out on the way: signing in is rare, and nothing else makes sessions.
func (a *Auth) SignIn(ctx context.Context, secret string) (cookie string, p Principal, err error) {
	if p, err = a.Bearer(ctx, secret); err != nil {
		return "", Principal{}, err
	}
	if err := a.sweep(ctx); err != nil {
		return "", Principal{}, err
	}
	cookie = random(secretLength)
	ends := a.now().Add(SessionLife).UTC().Truncate(time.Second)
	if p.ExpiresAt.Before(ends) {
		ends = p.ExpiresAt
	}
	p.ExpiresAt, p.Cookie = ends, true
	_, err = a.sessions.Create(ctx, sessionKey(cookie), Session{Token: p.Token, ExpiresAt: ends})
	return cookie, p, err
}

// Session returns whom a cookie belongs to. The error matches ErrMissing, ErrInvalid or ErrExpired.
func (a *Auth) Session(ctx context.Context, cookie string) (Principal, error) {
	if cookie == "" {
		return Principal{}, ErrMissing
	}
	s, err := a.sessions.Get(ctx, sessionKey(cookie))
	if errors.Is(err, store.ErrNotFound) || err == nil && !a.now().Before(s.Value.ExpiresAt) {
		return Principal{}, errSession
	}
	if err != nil {
		return Principal{}, err
	}
	t, err := a.tokens.Get(ctx, s.Value.Token)
	if errors.Is(err, store.ErrNotFound) {
		return Principal{}, ErrInvalid
	}
	if err != nil {
		return Principal{}, err
	}
	p, err := a.principal(t.Value)
	p.Cookie, p.ExpiresAt = true, s.Value.ExpiresAt
	return p, err
}

// SignOut ends a session; an unknown one is no error.
func (a *Auth) SignOut(ctx context.Context, cookie string) error {
	return a.sessions.Delete(ctx, sessionKey(cookie))
}

func (a *Auth) sweep(ctx context.Context) error {
	entries, _, err := a.sessions.List(ctx, store.Page{})
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !a.now().Before(e.Value.ExpiresAt) {
			if err := a.sessions.Delete(ctx, e.Key); err != nil {
				return err
			}
		}
	}
	return nil
}

// Cookie returns the cookie to set: out of reach of scripts, and never sent along from another site. An empty value
// takes it away.
func Cookie(value string, ends time.Time, secure bool) *http.Cookie {
	c := &http.Cookie{
		Name: CookieName, Value: value, Path: "/", Expires: ends, HttpOnly: true, Secure: secure,
		SameSite: http.SameSiteStrictMode,
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

var errSession = sessionEnded{}

// sessionEnded is ErrExpired for a browser: the cure is to sign in.
type sessionEnded struct{}

func (sessionEnded) Error() string        { return "the session has ended: sign in again" }
func (sessionEnded) Is(target error) bool { return target == ErrExpired }

func sessionKey(cookie string) string {
	sum := sha256.Sum256([]byte(cookie))
	return hex.EncodeToString(sum[:])
}
