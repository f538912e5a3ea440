package needs_test

import (
	"testing"

	"github.com/waxwing-ota/waxwing/cross/needs"
)

func TestLack(t *testing.T) {
	t.Setenv("CI", "")
	skipped := false
	t.Run("elsewhere", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		needs.Lack(t, "nothing")
	})
	if !skipped {
		t.Error("a lack is no reason to skip")
	}
	t.Setenv("CI", "true")
	if r := (&recorder{TB: t}); !r.ends() {
		t.Error("CI does not mind a lack")
	}
}

// recorder hears that a test fails.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()      {}
func (r *recorder) Fatal(...any) { r.failed = true }
func (r *recorder) Skip(...any)  {}

func (r *recorder) ends() bool {
	needs.Lack(r, "nothing")
	return r.failed
}
