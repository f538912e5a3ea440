package fleet

import (
	"fmt"
	"slices"
	"strings"
)

// MaxSelector bounds a selector, in bytes.
const MaxSelector = 1024

// Built-in keys of selectors. No label has such a name.
const (
	KeyID        = "id"
	KeyHardware  = "hardware"
	KeyProduct   = "product" // of the running release
	KeyVersion   = "version" // of the running release
	KeyPhase     = "phase"   // of the update
	KeyAdmission = "admission"
	KeyOnline    = "online" // true, false
	KeyGroup     = "group"  // any of the device's groups
)

// BuiltIn reports whether a key is one of the built-in ones.
func BuiltIn(key string) bool {
	switch key {
	case KeyID, KeyHardware, KeyProduct, KeyVersion, KeyPhase, KeyAdmission, KeyOnline, KeyGroup:
		return true
	}
	return false
}

// Selector picks devices. The zero Selector picks every device.
type Selector struct {
	text  string
	terms []term
}

type term struct {
	key    string
	values []string // nil: the key itself
	not    bool
}

// Subject is what a selector looks at.
type Subject interface {
	Has(key string) bool
	Is(key, value string) bool // false when it has no such key
}

// SelectorError says where a selector went wrong. It matches ErrInvalid.
type SelectorError struct {
	Column int // in bytes, from 1
	Text   string
}

func (e *SelectorError) Error() string {
	return fmt.Sprintf("selector, column %d: %s", e.Column, e.Text)
}

// Is makes errors.Is match ErrInvalid.
func (e *SelectorError) Is(target error) bool { return target == ErrInvalid }

// String returns the selector as it was written.
func (s Selector) String() string { return s.text }

// Matches reports whether all terms hold.
func (s Selector) Matches(of Subject) bool {
	for _, t := range s.terms {
		if t.holds(of) == t.not {
			return false
		}
	}
	return true
}

func (t term) holds(of Subject) bool {
	if t.values == nil {
		return of.Has(t.key)
	}
	return slices.ContainsFunc(t.values, func(v string) bool { return of.Is(t.key, v) })
}

// Keys returns the keys that the selector asks for, each once, sorted.
func (s Selector) Keys() []string {
	var keys []string
	for _, t := range s.terms {
		keys = append(keys, t.key)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// ParseSelector reads terms joined by commas, all of which must hold:
//
//	site=oslo            the value is this
//	site!=oslo           the value is another, or there is none
//	site in (oslo, rome) the value is one of these
//	site notin (oslo)    the value is none of these, or there is none
//	camera               there is a value
//	!camera              there is none
//
// Keys are names (firmware.CheckName). A value is letters, digits and . _ + - : / @, or anything between double quotes
// (\" and \\ stand for themselves). The empty selector picks every device. Errors are *SelectorError.
func ParseSelector(text string) (Selector, error) {
	if len(text) > MaxSelector {
		return Selector{}, &SelectorError{Column: MaxSelector + 1, Text: "a selector has at most 1024 bytes"}
	}
	p := parser{text: text}
	s := Selector{text: strings.TrimSpace(text)}
	if p.skip(); p.end() {
		return s, nil
	}
	for {
		t, err := p.term()
		if err != nil {
			return Selector{}, err
		}
		s.terms = append(s.terms, t)
		if p.skip(); p.end() {
			return s, nil
		}
		if !p.take(",") {
			return Selector{}, p.errorf("a comma is missing before %q", p.rest())
		}
	}
}
