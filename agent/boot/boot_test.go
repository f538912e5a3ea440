package boot

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStart(t *testing.T) {
	for _, c := range []struct {
		name string
		vars Vars
		slot string
		want Vars
	}{
		{"fresh", Fresh("a", "b"), "a", Vars{"BOOT_A_LEFT": "2"}},
		{"armed", Vars{VarOrder: "B A", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "1", VarTrial: "B"}, "b", Vars{"BOOT_B_LEFT": "0"}},
		{"trial used up", Vars{VarOrder: "B A", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "0", VarTrial: "B"}, "a", Vars{"BOOT_A_LEFT": "2", VarTrial: ""}},
		{"all used up", Vars{VarOrder: "B A", "BOOT_A_LEFT": "0", "BOOT_B_LEFT": "0"}, "b", Vars{"BOOT_A_LEFT": "3", "BOOT_B_LEFT": "2"}},
		{"unreadable", Vars{VarOrder: "B A", "BOOT_A_LEFT": "3", "BOOT_B_LEFT": "many"}, "a", Vars{"BOOT_A_LEFT": "2"}},
		{"hex", Vars{VarOrder: "A", "BOOT_A_LEFT": "10"}, "a", Vars{"BOOT_A_LEFT": "f"}},
	} {
		slot, changes, err := c.vars.Start()
		if err != nil || slot != c.slot {
			t.Errorf("%s: %q %v", c.name, slot, err)
		}
		if diff := cmp.Diff(c.want, changes); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	if _, _, err := (Vars{}).Start(); err == nil {
		t.Error("an empty order starts something")
	}
}

func TestChangesAreLeftOutWhenTheyChangeNothing(t *testing.T) {
	if c, err := Fresh("a", "b").Good("a"); err != nil || len(c) != 0 {
		t.Error(c, err)
	}
	if _, err := Fresh("a", "b").Good("c"); !errors.Is(err, ErrNoSlot) {
		t.Error(err)
	}
	if _, err := Fresh("a", "b").Arm("b", 0); err == nil {
		t.Error("no starts")
	}
}

func TestFromCommandLine(t *testing.T) {
	for line, want := range map[string]string{
		"quiet root=/dev/mmcblk0p2 rauc.slot=A": "a", "waxwing.slot=b\n": "b", "root=/dev/sda1": "", "rauc.slot=": "",
	} {
		if got, err := FromCommandLine(line); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q %v", line, got, err)
		}
	}
}

func TestOther(t *testing.T) {
	if s, err := Other([]string{"a", "b"}, "b"); s != "a" || err != nil {
		t.Error(s, err)
	}
	if _, err := Other([]string{"a", "b"}, "c"); !errors.Is(err, ErrNoSlot) {
		t.Error(err)
	}
}
