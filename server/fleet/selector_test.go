package fleet_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/server/fleet"
)

// subject is a device of nothing but labels.
type subject map[string]string

func (s subject) Has(key string) bool { _, ok := s[key]; return ok }

func (s subject) Is(key, value string) bool { v, ok := s[key]; return ok && v == value }

func TestSelector(t *testing.T) {
	device := subject{"site": "oslo", "floor": "2", "note": `a "b" \ c`, "camera": ""}
	for text, want := range map[string]bool{
		"":                          true,
		"  ":                        true,
		"site=oslo":                 true,
		"site==oslo":                true,
		"site = oslo , floor=2":     true,
		"site=rome":                 false,
		"site!=rome":                true,
		"site != oslo":              false,
		"lift!=1":                   true,
		"lift=1":                    false,
		"site in (rome, oslo)":      true,
		"site in(rome,paris)":       false,
		"site notin (rome)":         true,
		"lift notin (a)":            true,
		"camera":                    true,
		"!camera":                   false,
		"! lift":                    true,
		"camera, !lift,floor=2":     true,
		"camera, floor=3":           false,
		`note="a \"b\" \\ c"`:       true,
		`site in ("oslo")`:          true,
		`camera=""`:                 true,
		"a.b-c_d+e!=x:y/z@1.0+2_3-": true,
	} {
		s, err := fleet.ParseSelector(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := s.Matches(device); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
	s, err := fleet.ParseSelector("b=1,a,!b,c in (x)")
	if err != nil || cmp.Diff([]string{"a", "b", "c"}, s.Keys()) != "" {
		t.Errorf("%v %v", s.Keys(), err)
	}
}

func TestSelectorErrorsPointAtTheColumn(t *testing.T) {
	for text, want := range map[string]struct {
		column int
		says   string
	}{
		"site=oslo,":              {11, "a key is expected"},
		",site=oslo":              {1, "a key is expected"},
		"site=":                   {6, "a value is expected"},
		"site=o slo":              {8, "a comma is missing"},
		"site ~ oslo":             {6, "one of = != in notin"},
		"site in oslo":            {9, "( is expected"},
		"site in (oslo":           {14, "a comma or )"},
		"site in ()":              {10, "a value is expected"},
		`a="b`:                    {3, "never closed"},
		"Site=oslo":               {1, "a name is"},
		"site inside (a)":         {6, "one of = != in notin"},
		"!site=oslo":              {6, "a comma is missing"},
		strings.Repeat("a", 2000): {1025, "at most 1024"},
	} {
		_, err := fleet.ParseSelector(text)
		var at *fleet.SelectorError
		if !errors.As(err, &at) || !errors.Is(err, fleet.ErrInvalid) || at.Column != want.column || !strings.Contains(at.Text, want.says) {
			t.Errorf("%.20q: %v, want column %d, %q", text, err, want.column, want.says)
		}
	}
}

func FuzzParseSelector(f *testing.F) {
	for _, text := range []string{"a=b", "a in (b,c), !d", `a="\"",b!=c`, "a notin (b)", "a in ("} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := fleet.ParseSelector(text)
		if err != nil {
			var at *fleet.SelectorError
			if !errors.As(err, &at) || at.Column < 1 || at.Column > len(text)+1 {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := fleet.ParseSelector(s.String())
		if err != nil || !slices.Equal(again.Keys(), s.Keys()) {
			t.Fatalf("%q does not read back: %v", s, err)
		}
		s.Matches(subject{"a": "b"})
	})
}
