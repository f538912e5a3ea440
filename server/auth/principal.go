package auth

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Scope is a permission.
type Scope string

// The scopes there are. The first four are for pipelines: each is one step of a release, and none lets its holder look at
// the fleet.
const (
	Upload  Scope = "upload"  // hand in chunks, indexes, images and attestations
	Sign    Scope = "sign"    // have the server's product key sign a release
	Publish Scope = "publish" // make a release visible
	Start   Scope = "start"   // start a rollout
	Read    Scope = "read"    // look at everything
	Release Scope = "release" // upload, sign, publish; make products, yank releases
	Rollout Scope = "rollout" // start rollouts, pause, resume, promote and abort them
	Device  Scope = "device"  // admit, label and group devices
	Admin   Scope = "admin"   // everything

	// Any is what an operation asks for that everybody may do who is signed in. Nobody is given it.
	Any Scope = "any"
)

// Pipeline are the scopes that a CI job may be given.
func Pipeline() []Scope { return []Scope{Upload, Sign, Publish, Start} }

func (s Scope) known() bool {
	return slices.Contains([]Scope{Upload, Sign, Publish, Start, Read, Release, Rollout, Device, Admin}, s)
}

// implies reports whether who has s has want too.
func (s Scope) implies(want Scope) bool {
	if !s.known() {
		return false
	}
	if s == want || s == Admin || want == Any {
		return true
	}
	switch want {
	case Read:
		return s == Release || s == Rollout || s == Device
	case Upload, Sign, Publish:
		return s == Release
	case Start:
		return s == Rollout
	}
	return false
}

// May reports whether somebody with these scopes has another.
func May(has []Scope, want Scope) bool {
	return slices.ContainsFunc(has, func(s Scope) bool { return s.implies(want) })
}

// Principal is who does something.
type Principal struct {
	Name      string // for people: the note of the token
	Token     string // its id
	Scopes    []Scope
	Products  []string // that it is bound to; none: it is bound to none, and may do all products
	Job       *Job     // the CI job that it is; nil: no CI job
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

// Bound reports whether p may do something with some products only.
func (p Principal) Bound() bool { return len(p.Products) > 0 }

// Covers reports whether p may do with a product what its scopes allow.
func (p Principal) Covers(product string) bool {
	return !p.Bound() || slices.Contains(p.Products, product)
}

// RequireProduct returns an error that matches ErrForbidden unless p covers the product.
func (p Principal) RequireProduct(product string) error {
	if p.Covers(product) {
		return nil
	}
	return fmt.Errorf("%s %w: this token is for the product %s, not for %q",
		p.Name, ErrForbidden, strings.Join(p.Products, ", "), product)
}
