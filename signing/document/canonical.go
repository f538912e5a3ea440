package document

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Canonical returns the form of a JSON document that The Update Framework signs: OLPC canonical JSON
// (wiki.laptop.org/go/Canonical_JSON), keys in the order of their bytes, no spaces, whole numbers only. It goes through the
// bytes as they are and builds no tree of them, which is what the signer's own library does and what a small device with
// ten thousand releases has no memory for.
func Canonical(b []byte) ([]byte, error) {
	if !json.Valid(b) || !utf8.Valid(b) {
		return nil, fmt.Errorf("%w: no JSON", ErrMalformed)
	}
	c := canon{walker: walker{b: b}, out: make([]byte, 0, len(b))}
	if err := c.value(0); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return c.out, nil
}

type canon struct {
	walker
	out     []byte
	members []member // of the objects that are under way, the innermost last
}

// member is a key of an object, without escapes, and where its value begins.
type member struct {
	key []byte
	at  int
}

func (c *canon) value(depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	c.space()
	switch c.b[c.at] {
	case '{':
		return c.object(depth)
	case '[':
		return c.array(depth)
	case '"':
		c.quote(c.text())
		return nil
	}
	from := c.at
	c.scalar()
	word := c.b[from:c.at]
	if word[0] == '-' || '0' <= word[0] && word[0] <= '9' {
		if _, err := strconv.ParseInt(string(word), 10, 64); err != nil {
			return fmt.Errorf("the number %.40s", word)
		}
	}
	c.out = append(c.out, word...)
	return nil
}

func (c *canon) object(depth int) error {
	first := len(c.members)
	for c.at++; ; c.at++ {
		if c.space(); c.b[c.at] == '}' {
			break
		}
		key := c.text()
		c.space()
		c.at++ // the colon
		c.members = append(c.members, member{key, c.at})
		c.skip()
		if c.space(); c.b[c.at] == '}' {
			break
		}
	}
	end := c.at + 1
	slices.SortStableFunc(c.members[first:], func(a, b member) int { return bytes.Compare(a.key, b.key) })
	c.out = append(c.out, '{')
	for i := first; i < len(c.members); i++ {
		m := c.members[i] // those of its value come and go behind it
		if i > first {
			if bytes.Equal(m.key, c.members[i-1].key) {
				return fmt.Errorf("%.64q is there twice", m.key)
			}
			c.out = append(c.out, ',')
		}
		c.quote(m.key)
		c.out = append(c.out, ':')
		c.at = m.at
		if err := c.value(depth + 1); err != nil {
			return err
		}
	}
	c.members = c.members[:first]
	c.out = append(c.out, '}')
	c.at = end
	return nil
}

func (c *canon) array(depth int) error {
	c.out = append(c.out, '[')
	for i := 0; ; i++ {
		c.at++
		if c.space(); c.b[c.at] == ']' {
			break
		}
		if i > 0 {
			c.out = append(c.out, ',')
		}
		if err := c.value(depth + 1); err != nil {
			return err
		}
		if c.space(); c.b[c.at] == ']' {
			break
		}
	}
	c.out = append(c.out, ']')
	c.at++
	return nil
}

// quote writes text as canonical JSON does: of all characters only these two are escaped.
func (c *canon) quote(text []byte) {
	c.out = append(c.out, '"')
	for _, b := range text {
		if b == '"' || b == '\\' {
			c.out = append(c.out, '\\')
		}
		c.out = append(c.out, b)
	}
	c.out = append(c.out, '"')
}

// skip passes over a value.
func (w *walker) skip() {
	for open := 0; ; {
		w.space()
		switch w.b[w.at] {
		case '{', '[':
			open++
			w.at++
		case '}', ']':
			open--
			w.at++
		case ',', ':':
			w.at++
			continue
		case '"':
			w.pass()
		default:
			w.scalar()
		}
		if open == 0 {
			return
		}
	}
}

// scalar passes over a number, true, false or null.
func (w *walker) scalar() {
	for w.at < len(w.b) && strings.IndexByte(",]} \t\r\n", w.b[w.at]) < 0 {
		w.at++
	}
}

// pass goes over a string and reports whether it has escapes.
func (w *walker) pass() (escaped bool) {
	for w.at++; w.b[w.at] != '"'; w.at++ {
		if w.b[w.at] == '\\' {
			escaped = true
			w.at++
		}
	}
	w.at++
	return escaped
}

// text reads a string; without escapes it is a part of the document itself.
func (w *walker) text() []byte {
	from := w.at
	if !w.pass() {
		return w.b[from+1 : w.at-1]
	}
	var s string
	_ = json.Unmarshal(w.b[from:w.at], &s) // it is valid
	return []byte(s)
}
