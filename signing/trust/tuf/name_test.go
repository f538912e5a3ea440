package tuf_test

import (
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/signing/trust/tuf"
)

// TestCheckTarget: names that mean one thing everywhere, and no others (security case 20).
func TestCheckTarget(t *testing.T) {
	for name, good := range map[string]bool{
		"gw/1.0.0/release.json": true, "gw/1.0.0-rc.1+b7/rootfs.caibx": true, "policy-keys.json": true, "a/b/c/d": true,
		"gw/1/" + strings.Repeat("x", 80): true, "gw/1/" + strings.Repeat("x", 81): false,
		"": false, ".": false, "..": false, "/abs": false, "a//b": false, "a/": false, "a/../b": false, "a/./b": false, "../../etc/passwd": false,
		"a..b": false, "a\x00b": false, "a?b": false, "a#b": false, "%2e%2e/": false, "a%2fb": false, `a\b`: false, "c:/x": false, "a b": false,
		"\u00e9": false, "e\u0301": false, "A": false, ".a": false, "a.": false, "-a": false, "a/b/c/d/e": false, "a\n": false, "~/a": false, "\xff": false,
	} {
		if err := tuf.CheckTarget(name); (err == nil) != good {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// FuzzCheckTarget holds that a good name has nothing in it that a path or a URL knows.
func FuzzCheckTarget(f *testing.F) {
	f.Add("gw/1/release.json")
	f.Add("../x")
	f.Fuzz(func(t *testing.T, name string) {
		if tuf.CheckTarget(name) == nil && (strings.Contains(name, "..") || strings.ContainsAny(name, "\\?#%:\x00 ") || strings.HasPrefix(name, "/")) {
			t.Fatalf("%q is good", name)
		}
	})
}
