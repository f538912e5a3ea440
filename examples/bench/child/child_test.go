package child

import (
	"errors"
	"strings"
	"testing"
)

func TestOutput(t *testing.T) {
	out, cost, err := Output(t.Context(), "sh", "-c", "echo said; echo $LC_ALL")
	if err != nil || string(out) != "said\nC\n" || cost.Seconds <= 0 || cost.Peak < 1<<18 {
		t.Errorf("%q, %+v, %v", out, cost, err)
	}
	_, err = Run(t.Context(), "sh", "-c", "for i in 0 1 2 3 4 5 6 7 8 9; do printf '%1000s\n' $i; done >&2; exit 3")
	if err == nil || !strings.HasPrefix(err.Error(), "sh: exit status 3: ") || !strings.HasSuffix(err.Error(), "9") || len(err.Error()) > keep+100 {
		t.Errorf("%v", err)
	}
	if _, err := Run(t.Context(), "no-such-program-here"); !errors.Is(err, ErrMissing) {
		t.Errorf("%v", err)
	}
	if out, _, err := In(t.Context(), "/", []string{"BIRD=waxwing"}, "sh", "-c", "pwd; echo $BIRD"); err != nil || string(out) != "/\nwaxwing\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestPlus(t *testing.T) {
	if got := (Cost{1, 5}).Plus(Cost{2, 3}); got != (Cost{3, 5}) {
		t.Errorf("%+v", got)
	}
}
