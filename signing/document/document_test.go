package document_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/signing/document"
)

type inner struct {
	Version int64 `json:"version"`
}

type sample struct {
	inner
	Name  string            `json:"name"`
	At    time.Time         `json:"at"`
	Bytes []byte            `json:"bytes"`
	List  []inner           `json:"list"`
	Map   map[string]inner  `json:"map"`
	Texts map[string]string `json:"texts"`
	Raw   json.RawMessage   `json:"raw"`
	Maybe *inner            `json:"maybe"`
	Free  any               `json:"free"`
}

// TestJSONThatIsReadInTwoWays refuses what programs read differently, and what only costs (security case 17).
func TestJSONThatIsReadInTwoWays(t *testing.T) {
	many := strings.Repeat(`{"x":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	for name, c := range map[string]struct {
		text string
		good bool
	}{
		"all of it": {`{"version":1,"name":"a\"b","at":"2026-05-01T00:00:00Z","bytes":"AA==","list":[{"version":2},{}],
			"map":{"a":{"version":3},"A":{}},"texts":{},"raw":{"a":[1,2,{"b":null}]},"maybe":{"version":4},"free":null,"more":null}`, true},
		"empty":                  {`{}`, true},
		"unknown":                {`{"later":{"a":1,"b":[true,false,-1.5e3]}}`, true},
		"twice":                  {`{"version":1,"version":2}`, false},
		"twice by an escape":     {`{"name":"a","na\u006de":"b"}`, false},
		"twice in a map":         {`{"map":{"a":{},"a":{}}}`, false},
		"twice inside":           {`{"list":[{"version":1,"version":1}]}`, false},
		"twice where unknown":    {`{"later":{"a":1,"a":2}}`, false},
		"twice in raw":           {`{"raw":{"a":1,"a":2}}`, false},
		"another case":           {`{"Version":1}`, false},
		"another case inside":    {`{"maybe":{"VERSION":1}}`, false},
		"another case, folded":   {`{"mapſ":{}, "text\u017f":{}}`, false},
		"null for a number":      {`{"version":null}`, false},
		"null for text":          {`{"name":null}`, false},
		"null for a time":        {`{"at":null}`, false},
		"null for bytes":         {`{"bytes":null}`, false},
		"null for a list":        {`{"list":null}`, false},
		"null in a list":         {`{"list":[null]}`, false},
		"null for a map":         {`{"map":null}`, false},
		"null in a map":          {`{"map":{"a":null}}`, false},
		"null for a pointer":     {`{"maybe":null}`, false},
		"null for all":           {`null`, false},
		"too deep":               {many, false},
		"too deep in raw":        {`{"raw":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, false},
		"a huge integer":         {`{"version":9223372036854775808}`, false},
		"a huger one":            {`{"version":1e400}`, false},
		"a fraction":             {`{"version":1.5}`, false},
		"not a number":           {`{"version":NaN}`, false},
		"no UTF-8":               {"{\"name\":\"\xff\"}", false},
		"bytes behind":           {`{} {}`, false},
		"nothing":                {``, false},
		"another kind":           {`{"list":{}}`, false},
		"longer than is allowed": {`{"name":"` + strings.Repeat("x", 1<<20) + `"}`, false},
	} {
		var s sample
		err := document.Decode([]byte(c.text), 1<<20, &s)
		if (err == nil) != c.good || err != nil && !errors.Is(err, document.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var s sample
	if err := document.DecodeKnown([]byte(`{"later":1}`), 99, &s); !errors.Is(err, document.ErrMalformed) {
		t.Errorf("unknown: %v", err)
	}
	if err := document.DecodeKnown([]byte(`{"version":7}`), 99, &s); err != nil || s.Version != 7 {
		t.Errorf("known: %+v, %v", s, err)
	}
}

// FuzzDecode holds that nothing makes it panic, and that what it takes means the same when it is written and read again.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"list":[{"version":2}],"map":{"a":{}},"free":[1,"\u0061",null]}`))
	f.Add([]byte(`{"a\"":{"\\":1}}`))
	f.Add([]byte(`[[[`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var s, again sample
		if document.Decode(b, 1<<16, &s) != nil {
			return
		}
		var loose map[string]json.RawMessage
		if err := json.Unmarshal(b, &loose); err != nil {
			t.Fatalf("it takes %q: %v", b, err)
		}
		for _, known := range []string{"version", "name"} {
			for key := range loose {
				if strings.EqualFold(key, known) && key != known {
					t.Fatalf("%q beside %q", key, known)
				}
			}
		}
		if v, ok := loose["version"]; ok {
			if err := document.Decode([]byte(`{"version":`+string(v)+`}`), 1<<16, &again); err != nil || again.Version != s.Version {
				t.Fatalf("version %s is read as %d and %d, %v", v, s.Version, again.Version, err)
			}
		}
	})
}
