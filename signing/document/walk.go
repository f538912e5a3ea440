package document

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
)

// typ is what a value is read into; nil: nobody looks at it.
type typ = reflect.Type

func typeOf(v any) typ { return shape(reflect.TypeOf(v)) }

// shape returns what a type looks like in JSON: pointers are followed, and types that read themselves are leaves.
func shape(t typ) typ {
	for t != nil && t.Kind() == reflect.Pointer {
		if reads(t) {
			return leaf
		}
		t = t.Elem()
	}
	if t != nil && t.Kind() != reflect.Interface && reads(reflect.PointerTo(t)) {
		return leaf
	}
	return t
}

var (
	leaf    = reflect.TypeFor[string]()
	jsonOwn = reflect.TypeFor[json.Unmarshaler]()
	textOwn = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func reads(t typ) bool { return t.Implements(jsonOwn) || t.Implements(textOwn) }

// walker goes through valid JSON beside the type that it is read into.
type walker struct {
	b      []byte
	at     int
	known  bool
	fields map[typ]map[string]typ
}

var (
	errDepth = fmt.Errorf("nested deeper than %d", maxDepth)
	errNull  = errors.New("null where something is expected")
)

func (w *walker) value(t typ, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	w.space()
	switch w.b[w.at] {
	case '{':
		return w.object(t, depth)
	case '[':
		return w.array(t, depth)
	case '"':
		w.pass()
		return nil
	case 'n':
		if t != nil && t.Kind() != reflect.Interface {
			return errNull
		}
	}
	w.scalar()
	return nil
}

func (w *walker) object(t typ, depth int) error {
	var fields map[string]typ
	var elem typ
	if t != nil {
		switch t.Kind() {
		case reflect.Struct:
			fields = w.of(t)
		case reflect.Map:
			elem = shape(t.Elem())
		}
	}
	seen := map[string]struct{}{}
	for w.at++; ; w.at++ {
		if w.space(); w.b[w.at] == '}' {
			break
		}
		key := string(w.text())
		if _, twice := seen[key]; twice {
			return fmt.Errorf("%.64q is there twice", key)
		}
		seen[key] = struct{}{}
		next := elem
		if fields != nil {
			var ok bool
			if next, ok = fields[key]; !ok {
				if err := w.unknown(key, fields); err != nil {
					return err
				}
			}
		}
		w.space()
		w.at++ // the colon
		if err := w.value(next, depth+1); err != nil {
			return fmt.Errorf("%.64q: %w", key, err)
		}
		if w.space(); w.b[w.at] == '}' {
			break
		}
	}
	w.at++
	return nil
}

// unknown judges a key that no field has: encoding/json would read one in another case into the field all the same.
func (w *walker) unknown(key string, fields map[string]typ) error {
	if w.known {
		return fmt.Errorf("%.64q is unknown here", key)
	}
	for name := range fields {
		if strings.EqualFold(name, key) {
			return fmt.Errorf("%.64q where %q is meant", key, name)
		}
	}
	return nil
}

func (w *walker) array(t typ, depth int) error {
	var elem typ
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		elem = shape(t.Elem())
	}
	for w.at++; ; w.at++ {
		if w.space(); w.b[w.at] == ']' {
			break
		}
		if err := w.value(elem, depth+1); err != nil {
			return err
		}
		if w.space(); w.b[w.at] == ']' {
			break
		}
	}
	w.at++
	return nil
}

func (w *walker) space() {
	for w.at < len(w.b) && (w.b[w.at] == ' ' || w.b[w.at] == '\n' || w.b[w.at] == '\t' || w.b[w.at] == '\r') {
		w.at++
	}
}

// of returns the fields of a struct by the keys that encoding/json gives them.
func (w *walker) of(t typ) map[string]typ {
	if f, ok := w.fields[t]; ok {
		return f
	}
	out := map[string]typ{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "" && f.Type.Kind() == reflect.Struct:
			maps.Copy(out, w.of(f.Type))
		case name == "-" || !f.IsExported():
		case name == "":
			out[f.Name] = shape(f.Type)
		default:
			out[name] = shape(f.Type)
		}
	}
	w.fields[t] = out
	return out
}
