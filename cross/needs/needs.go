// Package needs is for tests that need more of a machine than Go: a tool, or root. CI has all of it, so there a lack is a
// failure; on other machines such tests are skipped, and say what to install.
package needs

import (
	"fmt"
	"os"
	"testing"
)

// Lack ends a test for want of something: it skips it, and fails in CI. what is printed as fmt.Sprint does.
func Lack(t testing.TB, what ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("CI has everything, but: " + fmt.Sprint(what...))
	}
	t.Skip(what...)
}

// Root ends a test that needs root, for network namespaces, mounts and the like.
func Root(t testing.TB, what string) {
	t.Helper()
	if os.Getuid() != 0 {
		Lack(t, what+" need root")
	}
}
