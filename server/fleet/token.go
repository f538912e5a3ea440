package fleet

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/server/store"
)

const (
	tokenPrefix   = "wxe"
	maxTokenLife  = 365 * 24 * time.Hour
	maxTokenBytes = 256
)

// TokenSpec is what a person asks for. Zero values: a day, no labels, no approval.
type TokenSpec struct {
	Note    string
	Labels  map[string]string
	Approve bool
	Uses    int // 0 and below: without limit
	Life    time.Duration
}

var lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// CreateToken makes an enrolment token. The secret, wxe_<id>_<secret>_<CA fingerprint>, is returned once and not kept.
func (f *Fleet) CreateToken(ctx context.Context, spec TokenSpec, by string) (Token, string, error) {
	if spec.Life == 0 {
		spec.Life = 24 * time.Hour
	}
	if spec.Life < 0 || spec.Life > maxTokenLife {
		return Token{}, "", fmt.Errorf("%w: a token holds at most a year", ErrInvalid)
	}
	if len(spec.Note) > 128 {
		return Token{}, "", fmt.Errorf("%w: a note has at most 128 bytes", ErrInvalid)
	}
	if err := checkLabels(spec.Labels); err != nil {
		return Token{}, "", err
	}
	if spec.Uses <= 0 {
		spec.Uses = -1
	}
	random := make([]byte, 5+20)
	if _, err := rand.Read(random); err != nil {
		return Token{}, "", err
	}
	id, secret := lower.EncodeToString(random[:5]), lower.EncodeToString(random[5:])
	hash := sha256.Sum256([]byte(secret))
	now := f.now().UTC().Truncate(time.Second)
	t := Token{
		ID: id, Hash: hash[:], Note: spec.Note, Labels: maps.Clone(spec.Labels), Approve: spec.Approve, Uses: spec.Uses,
		ExpiresAt: now.Add(spec.Life), CreatedAt: now, CreatedBy: by,
	}
	if _, err := f.tokens.Create(ctx, id, t); err != nil {
		return Token{}, "", err
	}
	return t, strings.Join([]string{tokenPrefix, id, secret, f.identity.Fingerprint()}, "_"), nil
}

// Tokens returns all tokens, also those that expired, by id.
func (f *Fleet) Tokens(ctx context.Context) ([]Token, error) {
	entries, _, err := f.tokens.List(ctx, store.Page{})
	if err != nil {
		return nil, err
	}
	tokens := make([]Token, len(entries))
	for i, e := range entries {
		tokens[i] = e.Value
	}
	return tokens, nil
}

// RevokeToken makes a token worthless; the error matches ErrTokenUnknown when there is none. Devices that enrolled with
// it stay.
func (f *Fleet) RevokeToken(ctx context.Context, id string) error {
	if _, err := f.tokens.Get(ctx, id); errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %q", ErrTokenUnknown, id)
	} else if err != nil {
		return err
	}
	return f.tokens.Delete(ctx, id)
}

// token finds the token that a text names and proves to know.
func (f *Fleet) token(ctx context.Context, text string) (store.Entry[Token], error) {
	unknown := fmt.Errorf("%w: %w; make one with waxwing token create", ErrToken, ErrTokenUnknown)
	parts := strings.Split(text, "_")
	if len(text) > maxTokenBytes || len(parts) != 4 || parts[0] != tokenPrefix {
		return store.Entry[Token]{}, fmt.Errorf("%w: %w: a token looks like wxe_<id>_<secret>_<fingerprint>", ErrToken, ErrTokenUnknown)
	}
	if parts[3] != f.identity.Fingerprint() {
		return store.Entry[Token]{}, fmt.Errorf("%w: %w: it was made by another server", ErrToken, ErrTokenUnknown)
	}
	if b, err := lower.DecodeString(parts[1]); err != nil || len(b) != 5 {
		return store.Entry[Token]{}, unknown
	}
	e, err := f.tokens.Get(ctx, parts[1])
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return e, err
	}
	hash := sha256.Sum256([]byte(parts[2]))
	if subtle.ConstantTimeCompare(hash[:], e.Value.Hash) != 1 {
		return e, unknown
	}
	return e, nil
}

// usable says whether a token that is proven may let a device in now.
func (t Token) usable(now time.Time) error {
	if !now.Before(t.ExpiresAt) {
		return fmt.Errorf("%w: %w at %s; make a new one with waxwing token create",
			ErrToken, ErrTokenExpired, t.ExpiresAt.Format(time.RFC3339))
	}
	if t.Uses == 0 {
		return fmt.Errorf("%w: %w; make a new one with waxwing token create", ErrToken, ErrTokenUsed)
	}
	return nil
}
