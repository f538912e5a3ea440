package bench

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/waxwing-ota/waxwing/examples/bench/child"
)

// Table writes a report for people: for each case the methods side by side, the speeds, and what became of the bars.
func (r *Report) Table(out io.Writer) {
	for i := range r.Cases {
		r.Cases[i].Table(out)
	}
}

// Table writes one case.
func (r *Result) Table(out io.Writer) {
	fmt.Fprintf(out, "\n== %s ==\n", r.Name)
	for _, note := range r.Notes {
		fmt.Fprintln(out, note)
	}
	if r.Failed != "" {
		fmt.Fprintln(out, "NOT MEASURED:", r.Failed)
		return
	}
	fmt.Fprintf(out, "old image %.1f MiB, new image %.1f MiB\n\n", mib(r.OldSize), mib(r.NewSize))
	rows := [][]string{{"method", "bytes", "of full", "of xdelta3", "make s", "make MiB", "apply s", "apply MiB"}}
	var remarks []string
	for _, m := range r.Methods {
		row := []string{m.Name}
		switch {
		case m.Left != "":
			row = append(row, "left out: "+m.Left)
		case m.Failed != "":
			row = append(row, "FAILED: "+m.Failed)
		default:
			row = append(row, fmt.Sprint(m.Bytes), r.ratio(m.Bytes, fullZstd), r.ratio(m.Bytes, xdelta))
			row = append(append(row, cost(m.Make)...), cost(m.Apply)...)
			if m.Remark != "" {
				remarks = append(remarks, m.Name+": "+m.Remark)
			}
			if w := m.Waxwing; w != nil && w.Written != nil {
				remarks = append(remarks, fmt.Sprintf("%s: wrote %d bytes to the target", m.Name, *w.Written))
			}
		}
		rows = append(rows, row)
	}
	align(out, rows)
	fmt.Fprintln(out)
	for _, remark := range remarks {
		fmt.Fprintln(out, " ", remark)
	}
	r.Speed.table(out)
	fmt.Fprintln(out)
	for _, bar := range r.Bars {
		fmt.Fprintln(out, " ", bar)
	}
}

func (s *Speed) table(out io.Writer) {
	if s == nil {
		return
	}
	fmt.Fprintf(out, "\n  speed, median of %d runs, MiB of the image per second\n\n", s.Runs)
	rows := [][]string{{"", "MiB/s", "s", "peak MiB"}}
	for _, l := range []struct {
		name string
		cost *child.Cost
	}{
		{"publish: casync make", s.PublishCasync},
		{"publish: waxwing release build", s.PublishWaxwing},
		{"assemble: casync extract --seed", s.AssembleCasync},
		{"assemble and verify: waxwing release extract --seed", s.AssembleWaxwing},
	} {
		if l.cost != nil {
			rows = append(rows, append([]string{l.name, fmt.Sprintf("%.0f", mib(s.Bytes)/l.cost.Seconds)}, cost(l.cost)...))
		}
	}
	if c := s.Copy; c != nil {
		rows = append(rows, []string{
			"plain copy, fsync, SHA-256 of it", fmt.Sprintf("%.0f", mib(s.Bytes)/c.Seconds()), fmt.Sprintf("%.2f", c.Seconds()), "-",
		})
	}
	align(out, rows)
	if c := s.Copy; c != nil {
		fmt.Fprintf(out, "  of the copy: write %.2f s, fsync %.2f s, hash %.2f s; waxwing syncs what it writes, casync does not\n", c.Write, c.Sync, c.Hash)
	}
	for _, left := range s.Left {
		fmt.Fprintln(out, "  left out:", left)
	}
}

// ratio says bytes as a part of those of another method.
func (r *Result) ratio(bytes int64, other string) string {
	m := r.method(other)
	if m == nil || m.Bytes == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3f", float64(bytes)/float64(m.Bytes))
}

func cost(c *child.Cost) []string {
	if c == nil {
		return []string{"-", "-"}
	}
	return []string{fmt.Sprintf("%.2f", c.Seconds), fmt.Sprintf("%.0f", mib(c.Peak))}
}

// align writes rows in columns, words to the left and numbers to the right. A row that ends early may say as much as it
// wants in its last cell.
func align(out io.Writer, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if i == 0 || len(row) > 2 {
				widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			}
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell)))
			if i == 0 || len(row) == 2 {
				fmt.Fprint(&line, "  ", cell, pad)
			} else {
				fmt.Fprint(&line, "  ", pad, cell)
			}
		}
		fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
}
