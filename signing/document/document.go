// Package document reads the JSON of signed documents. It is where both planes' documents come in, and it takes only those
// that every program reads in the same way: what a signer saw, what was verified and what is acted upon must not differ.
//
// [Decode] refuses, before it allocates for what it reads:
//
//	more bytes than its caller allows, more than 32 levels of nesting
//	the same key twice in an object, or one in another case than its field ("Version"): encoding/json takes the last, and merges maps
//	null where a field expects something: encoding/json leaves the field as it was
//	bytes that are no UTF-8, numbers that do not fit, bytes behind the end
//
// [Canonical] is the form in which The Update Framework's documents are signed.
package document

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxDepth bounds nesting. What Waxwing signs has seven levels at most.
const maxDepth = 32

// ErrMalformed is what all errors of this package match.
var ErrMalformed = errors.New("not a well-formed document")

// Decode reads one JSON document of at most limit bytes into a pointer. Keys that no field has are passed over, as The
// Update Framework asks for.
func Decode(b []byte, limit int, into any) error { return decode(b, limit, into, false) }

// DecodeKnown is Decode, and refuses keys that no field has.
func DecodeKnown(b []byte, limit int, into any) error { return decode(b, limit, into, true) }

func decode(b []byte, limit int, into any, known bool) error {
	if len(b) > limit {
		return fmt.Errorf("%w: %d bytes, over %d", ErrMalformed, len(b), limit)
	}
	if !utf8.Valid(b) {
		return fmt.Errorf("%w: no UTF-8", ErrMalformed)
	}
	if !json.Valid(b) {
		return fmt.Errorf("%w: no JSON", ErrMalformed)
	}
	w := walker{b: b, known: known, fields: map[typ]map[string]typ{}}
	if err := w.value(typeOf(into), 0); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}
