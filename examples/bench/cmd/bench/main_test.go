package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/examples/bench"
)

func TestRun(t *testing.T) {
	for args, want := range map[string]string{
		"-case bread": "no case", "-runs 0": "-runs", "-size 1": "-size", "-o xml": "-o", "more": "nothing may follow",
		"-offline -case kernel -strict": "1 measurements failed",
		"-offline -case kernel -build":  "no archive",
	} {
		var out strings.Builder
		err := run(t.Context(), append([]string{"-cache", t.TempDir()}, strings.Fields(args)...), &out)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
	var out strings.Builder
	if err := run(t.Context(), []string{"-cache", t.TempDir(), "-offline", "-case", "kernel", "-o", "json"}, &out); err != nil {
		t.Fatal(err)
	}
	var report bench.Report
	if err := json.Unmarshal([]byte(out.String()), &report); err != nil || len(report.Cases) != 1 || report.Cases[0].Failed == "" {
		t.Errorf("%v: %s", err, out.String())
	}
}
