package fleet

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

// Uplink returns the bytes that crossed the uplink for all devices, and what one device alone has to fetch: patches or
// chunks, the index, and some 8 KiB of metadata.
func (r *Result) Uplink() (all, one int64) {
	for _, d := range r.Devices {
		if d.Bytes != nil {
			all += d.Bytes.Origin
		}
	}
	return all, r.Release.Alone + 8<<10
}

// Print draws the result as a table: where the bytes came from, and how long each phase took.
func (r *Result) Print(w io.Writer) {
	phases := []string{"checking", "downloading", "installing", "rebooting", "proving"}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "device\tstatus\tuplink\tneighbours\told slot\t")
	for _, p := range phases {
		fmt.Fprintf(t, "%s\t", p)
	}
	fmt.Fprintln(t)
	slices.SortFunc(r.Devices, func(a, b client.RolloutDevice) int { return cmp.Compare(a.Id, b.Id) })
	var origin, peers, reused int64
	for _, d := range r.Devices {
		fmt.Fprintf(t, "%s\t%s\t", d.Id, status(d))
		if d.Bytes == nil || d.Bytes.Total == nil || *d.Bytes.Total == 0 {
			fmt.Fprintln(t, strings.Repeat("-\t", 3+len(phases)))
			continue
		}
		origin, peers, reused = origin+d.Bytes.Origin, peers+d.Bytes.Peers, reused+d.Bytes.Reused
		fmt.Fprintf(t, "%s\t%s\t%s\t", size(d.Bytes.Origin), size(d.Bytes.Peers), size(d.Bytes.Reused))
		for _, p := range phases {
			ms := int64(0)
			if d.Millis != nil {
				ms = (*d.Millis)[p]
			}
			fmt.Fprintf(t, "%.1f s\t", float64(ms)/1000)
		}
		fmt.Fprintln(t)
	}
	fmt.Fprintf(t, "together\t%s\t%s\t%s\t%s\t\n", r.Rollout.State, size(origin), size(peers), size(reused))
	_ = t.Flush() // w's own errors show where it is used
	all, one := r.Uplink()
	fmt.Fprintf(w, "\nOne device alone has to fetch %s of the %s image, without patches %s; %s crossed the uplink for all: %.2f times that.\n%s\n",
		size(one), size(r.Release.Size.Payload), size(r.Release.Whole), size(all), float64(all)/float64(one), r.Rollout.Why)
}

func status(d client.RolloutDevice) string {
	if d.Reason != nil && *d.Reason != "" {
		return fmt.Sprintf("%s (%s)", d.Status, *d.Reason)
	}
	return string(d.Status)
}

// size writes bytes as people read them.
func size(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.0f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// Measure prints what the programs of the fleet need.
func (f *Fleet) Measure(w io.Writer) {
	var most int64
	for _, a := range f.Agents {
		most = max(most, a.rss())
	}
	fmt.Fprintf(w, "The server answered %.1f s after its start and holds %s of memory; an agent at most %s.\n",
		f.Cold.Seconds(), size(f.Server.rss()), size(most))
}
