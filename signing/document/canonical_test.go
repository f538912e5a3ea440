package document_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"pgregory.net/rapid"

	"github.com/waxwing-ota/waxwing/signing/document"
)

// agree holds a canonical form against that of the library that signers use.
func agree(t interface{ Fatalf(string, ...any) }, b []byte) {
	want, wrong := cjson.EncodeCanonical(json.RawMessage(b))
	got, err := document.Canonical(b)
	if err != nil {
		if !errors.Is(err, document.ErrMalformed) {
			t.Fatalf("%q: %v", b, err)
		}
		return // it may be narrower: in depth, in UTF-8, in what is there twice
	}
	if wrong != nil || string(got) != string(want) {
		t.Fatalf("%q: %q, the other says %q, %v", b, got, want, wrong)
	}
}

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		`{ "b" : [ 1 , -2,{} , [ ] ], "a": {"z":null,"y":true,"x":"\u0041\n\"\\\/<"}, "":false }`: `{"":false,"a":{"x":"A` + "\n" + `\"\\/<","y":true,"z":null},"b":[1,-2,{},[]]}`,
		` 7 `:                       `7`,
		`{"\u0062":1,"a":2}`:        `{"a":2,"b":1}`,
		`{"a":1.5}`:                 "",
		`{"a":1e3}`:                 "",
		`{"a":9223372036854775808}`: "",
		`{"a":1,"\u0061":2}`:        "",
		`{"a":1`:                    "",
		"\"\xff\"":                  "",
		strings.Repeat("[", 99) + strings.Repeat("]", 99): "",
	} {
		got, err := document.Canonical([]byte(in))
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", in, got, err)
		}
		agree(t, []byte(in))
	}
	rapid.Check(t, func(t *rapid.T) {
		b, err := json.MarshalIndent(tree(3).Draw(t, "document"), "", rapid.SampledFrom([]string{"", " ", "\t"}).Draw(t, "indent"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := document.Canonical(b); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		agree(t, b)
	})
}

// tree draws a value without fractions.
func tree(depth int) *rapid.Generator[any] {
	scalar := rapid.OneOf(rapid.Int64().AsAny(), rapid.String().AsAny(), rapid.Bool().AsAny(), rapid.Just[any](nil))
	if depth == 0 {
		return scalar
	}
	return rapid.OneOf(scalar, rapid.SliceOfN(tree(depth-1), 0, 5).AsAny(), rapid.MapOfN(rapid.String(), tree(depth-1), 0, 5).AsAny())
}

// FuzzCanonical holds that there are never two forms of one document.
func FuzzCanonical(f *testing.F) {
	f.Add([]byte(`{"b":[1,{"a":"\ud800"}],"a":-0}`))
	f.Add([]byte(`{"a\u0000":{"<":"\u2028"}}`))
	f.Fuzz(func(t *testing.T, b []byte) { agree(t, b) })
}
