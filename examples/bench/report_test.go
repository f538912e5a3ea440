package bench

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/examples/bench/child"
)

// measured is a result in which Waxwing needs so many bytes.
func measured(name string, bytes int64) Result {
	return Result{Name: name, NewSize: 3 << 20, Methods: []Method{
		{Name: fullZstd, Bytes: 1000, Make: &child.Cost{Seconds: 9, Peak: 90 << 20}, Apply: &child.Cost{Seconds: 1, Peak: 9 << 20}},
		{Name: casync, Bytes: 500, Remark: "as chunks"},
		{Name: xdelta, Bytes: 100, Make: &child.Cost{Seconds: 5, Peak: 80 << 20}},
		{Name: "bsdiff", Left: "needs more memory than there is"},
		{
			Name: waxwing, Bytes: bytes, Make: &child.Cost{Seconds: 4, Peak: 60 << 20}, Apply: &child.Cost{Seconds: 1, Peak: 30 << 20},
			Waxwing: &Waxwing{Idle: 20 << 20, Fetched: bytes + 17<<10},
		},
	}}
}

func verdicts(r Result) string {
	var lines []string
	for _, b := range bars(&r) {
		lines = append(lines, b.String())
	}
	return strings.Join(lines, "\n")
}

func TestBars(t *testing.T) {
	memory := "\nmissed  bytes over HTTP beyond what it says: 17 KiB (bar ≤ 16 KiB)" +
		"\nmet     memory to apply, above idle: 10 MiB (bar ≤ 16 MiB)\nmet     memory to build, of xdelta3 -9 -S lzma: 0.75× (bar ≤ 1×)"
	for _, c := range []struct {
		name  string
		bytes int64
		want  string
	}{
		{"ext4", 85, `met     bytes, of xdelta3 -9 -S lzma: 0.85× (bar ≤ 0.85×)
met     bytes, of casync 64K: 0.17× (bar ≤ 0.2×)
met     bytes, of full image, zstd -19: 0.085× (bar ≤ 1.01×)` + memory},
		{"go", 101, `missed  bytes, of xdelta3 -9 -S lzma: 1.01× (bar ≤ 0.85×)
missed  bytes, of casync 64K: 0.202× (bar ≤ 0.2×)
met     bytes, of full image, zstd -19: 0.101× (bar ≤ 1.01×)` + memory},
		{"squashfs", 102, `met     bytes, of xdelta3 -9 -S lzma: 1.02× (bar ≤ 1.02×)
met     bytes, of full image, zstd -19: 0.102× (bar ≤ 1.01×)` + memory},
		{"unrelated", 1011, `missed  bytes, of full image, zstd -19: 1.01× (bar ≤ 1.01×)` + memory},
	} {
		if d := cmp.Diff(c.want, verdicts(measured(c.name, c.bytes))); d != "" {
			t.Errorf("%s: %s", c.name, d)
		}
	}
}

func TestBarsOfSpeed(t *testing.T) {
	r := measured("ext4", 1)
	r.Speed = &Speed{
		PublishCasync: &child.Cost{Seconds: 10}, PublishWaxwing: &child.Cost{Seconds: 5},
		AssembleCasync: &child.Cost{Seconds: 5}, AssembleWaxwing: &child.Cost{Seconds: 4}, Copy: &Copy{Write: 1, Sync: 2, Hash: 1},
	}
	want := `met     publish, speed of casync: 2× (bar ≥ 2×)
missed  assemble, speed of casync: 1.25× (bar ≥ 2×)
met     assemble and verify, time of copy + SHA-256: 1× (bar ≤ 1.3×)`
	if got := verdicts(r); !strings.HasSuffix(got, want) {
		t.Error(got)
	}
}

// TestBarsWithoutFigures holds that what could not be measured is never met.
func TestBarsWithoutFigures(t *testing.T) {
	for i := range 5 {
		r := measured("ext4", 1)
		r.Speed = &Speed{}
		r.Methods[i].Failed = "broken"
		r.Bars = bars(&r)
		silent := 0
		for _, b := range r.Bars {
			if b.Missing != "" {
				silent++
				if b.Met || !strings.Contains(b.String(), "no figure of "+b.Missing) {
					t.Errorf("%s", b)
				}
			}
		}
		want := []int{4, 4, 5, 3, 9}[i] // 3 of them are of speed
		if silent != want {
			t.Errorf("without %s: %d bars without figures, want %d", r.Methods[i].Name, silent, want)
		}
		report := Report{Cases: []Result{r}}
		if missed, failed := report.Missed(); missed < silent || failed != 1 {
			t.Errorf("missed %d, failed %d", missed, failed)
		}
	}
}

func TestReason(t *testing.T) {
	_, missing := child.Find("no-such-program-here")
	for _, err := range []error{leftOut("too large"), fmt.Errorf("wrapped: %w", missing)} {
		if m := reason(err); m.Left == "" || m.Failed != "" {
			t.Errorf("%v: %+v", err, m)
		}
	}
	if m := reason(errors.New("exit status 1")); m.Left != "" || m.Failed == "" {
		t.Errorf("%+v", m)
	}
}

func TestTable(t *testing.T) {
	r := measured("ext4", 50)
	written := int64(77)
	r.Methods[4].Waxwing.Written = &written
	r.Notes = []string{"two packages upgraded"}
	r.Bars = bars(&r)[:1]
	r.Speed = &Speed{Runs: 3, Bytes: 8 << 20, PublishCasync: &child.Cost{Seconds: 2, Peak: 1 << 20}, Left: []string{"waxwing: not built"}}
	var out strings.Builder
	r.Table(&out)
	want := `
== ext4 ==
two packages upgraded
old image 0.0 MiB, new image 3.0 MiB

  method                bytes  of full  of xdelta3  make s  make MiB  apply s  apply MiB
  full image, zstd -19   1000    1.000      10.000    9.00        90     1.00          9
  casync 64K              500    0.500       5.000       -         -        -          -
  xdelta3 -9 -S lzma      100    0.100       1.000    5.00        80        -          -
  bsdiff                left out: needs more memory than there is
  Waxwing                  50    0.050       0.500    4.00        60     1.00         30

  casync 64K: as chunks
  Waxwing: wrote 77 bytes to the target

  speed, median of 3 runs, MiB of the image per second

                        MiB/s     s  peak MiB
  publish: casync make      4  2.00         1
  left out: waxwing: not built

  met     bytes, of xdelta3 -9 -S lzma: 0.5× (bar ≤ 0.85×)
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

func TestMedian(t *testing.T) {
	if m := median(nil); m != nil {
		t.Errorf("%+v", m)
	}
	got := median([]child.Cost{{Seconds: 3, Peak: 1}, {Seconds: 1, Peak: 9}, {Seconds: 2, Peak: 1}})
	if d := cmp.Diff(&child.Cost{Seconds: 2, Peak: 9}, got); d != "" {
		t.Error(d)
	}
}
