package images

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"strings"
)

// kernelName is a kernel for virtual machines: its modules are few enough for a benchmark, and not compressed in Debian 12.
var kernelName = regexp.MustCompile(`^linux-image-([0-9]+\.[0-9]+)\.[0-9]+-[0-9]+-cloud-` + runtime.GOARCH + `$`)

// kernel is the case of that name: boot files and modules of the newest kernel of the archive, and of the newest before
// it that was made of other sources.
func (w *Workshop) kernel(ctx context.Context) (Pair, error) {
	if w.archive.offline {
		return Pair{}, errNoArchive
	}
	known, err := w.archive.known(ctx)
	if err != nil {
		return Pair{}, err
	}
	var names []string
	for name := range known {
		if kernelName.MatchString(name) {
			names = append(names, name)
		}
	}
	offers, err := w.archive.offered(ctx, names)
	if err != nil {
		return Pair{}, err
	}
	var all []debian
	for _, list := range offers {
		all = append(all, list[0])
	}
	if err := newestFirst(ctx, all); err != nil {
		return Pair{}, err
	}
	for i, kernel := range all {
		for _, before := range all[i+1:] {
			if series(kernel) != series(before) || upstream(kernel) == upstream(before) {
				continue
			}
			mib := int(max(kernel.installed, before.installed)>>20)*5/4 + 32
			pair, err := w.packages(ctx, "kernel", mib, system{old: []debian{before}, new: []debian{kernel}})
			pair.Renames = []string{release(before), release(kernel)}
			pair.Notes = []string{fmt.Sprintf("%s → %s", before, kernel)}
			return pair, err
		}
	}
	return Pair{}, fmt.Errorf("%w: it offers no two kernels of one series", errNoArchive)
}

// series is the "6.1" of a kernel.
func series(d debian) string { return kernelName.FindStringSubmatch(d.name)[1] }

// upstream is the version of its sources.
func upstream(d debian) string {
	version, _, _ := strings.Cut(d.version, "-")
	return version
}

// release is what "uname -r" says on it.
func release(d debian) string { return strings.TrimPrefix(d.name, "linux-image-") }
