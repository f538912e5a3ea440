package auth

import (
	"fmt"
	"slices"
	"time"
)

// Scope is a permission.
type Scope string

// The scopes there are.
const (
	Read    Scope = "read"
	Release Scope = "release"
	Rollout Scope = "rollout"
	Device  Scope = "device"
	Admin   Scope = "admin"
)

func (s Scope) known() bool {
	return slices.Contains([]Scope{Read, Release, Rollout, Device, Admin}, s)
}

// May reports whether somebody with these scopes has another: admin has all, and each has read.
func May(has []Scope, want Scope) bool {
	if slices.Contains(has, Admin) || slices.Contains(has, want) {
		return true
	}
	return want == Read && slices.ContainsFunc(has, Scope.known)
}

// Principal is who does something.
type Principal struct {
	Name      string // for people: the note of the token
	Token     string // its id
	Scopes    []Scope
	ExpiresAt time.Time
	Cookie    bool // signed in by a session, so a browser may be tricked into asking
}

// Require returns an error that matches ErrForbidden unless p has the scope.
func (p Principal) Require(want Scope) error {
	if May(p.Scopes, want) {
		return nil
	}
	return fmt.Errorf("%s %w: the scope %q is needed, this token has %v; ask an administrator for a token with it",
		p.Name, ErrForbidden, want, p.Scopes)
}
