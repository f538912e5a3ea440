package images

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/waxwing-ota/waxwing/examples/bench/child"
)

// errNoArchive says that packages cannot be had.
var errNoArchive = errors.New("no archive of Debian packages can be reached")

// debian is one version of a package.
type debian struct {
	name, version string
	installed     int64 // bytes, by its own word
}

func (d debian) String() string { return d.name + "=" + d.version }

// archive is the part of Debian's archive that this machine's apt knows.
type archive struct {
	dir     string // of packages that were fetched
	offline bool
	log     *slog.Logger
	fresh   bool // the lists were fetched in this run
}

// offered returns the versions of each package that can be had, newest first. Names that apt does not know are left out.
func (a *archive) offered(ctx context.Context, names []string) (map[string][]debian, error) {
	if a.offline {
		return nil, errNoArchive
	}
	known, err := a.known(ctx)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !known[name] })
	if len(names) == 0 {
		return nil, nil
	}
	out, _, err := child.Output(ctx, "apt-cache", append([]string{"madison"}, names...)...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoArchive, err)
	}
	versions := downloads(out) // what is installed here but gone from the archive would be shown too
	if len(versions) == 0 {
		return nil, nil
	}
	if out, _, err = child.Output(ctx, "apt-cache", append([]string{"show"}, versions...)...); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoArchive, err)
	}
	offers := stanzas(out)
	for _, list := range offers {
		if err := newestFirst(ctx, list); err != nil {
			return nil, err
		}
	}
	return offers, nil
}

// known returns the names of all packages of the archive.
func (a *archive) known(ctx context.Context) (map[string]bool, error) {
	for {
		out, _, err := child.Output(ctx, "apt-cache", "pkgnames")
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNoArchive, err)
		}
		names := map[string]bool{}
		for name := range strings.FieldsSeq(string(out)) {
			names[name] = true
		}
		if len(names) >= fewNames {
			return names, nil
		}
		if err := a.renew(ctx, errNoArchive); err != nil {
			return nil, err
		}
	}
}

// fewNames is less than any archive has, and more than the packages that are installed: apt has no lists then.
const fewNames = 10_000

// renew fetches the lists of packages once. It returns the cause of the wish when it may not.
func (a *archive) renew(ctx context.Context, cause error) error {
	if a.fresh || os.Geteuid() != 0 {
		return fmt.Errorf("%w; apt-get update may help", cause)
	}
	a.fresh = true
	a.log.Info("fetching the lists of packages")
	_, err := child.Run(ctx, "apt-get", "update", "-qq")
	return err
}

// downloads reads what "apt-cache madison" says: lines of a package, a version and where to get it.
func downloads(out []byte) []string {
	var versions []string
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(line, "|"); len(f) == 3 && strings.HasSuffix(strings.TrimSpace(f[2]), "Packages") {
			versions = append(versions, strings.TrimSpace(f[0])+"="+strings.TrimSpace(f[1]))
		}
	}
	slices.Sort(versions)
	return slices.Compact(versions)
}

// stanzas reads what "apt-cache show" says.
func stanzas(out []byte) map[string][]debian {
	offers := map[string][]debian{}
	var d debian
	add := func() {
		if d.name != "" && d.version != "" && !slices.ContainsFunc(offers[d.name], func(o debian) bool { return o.version == d.version }) {
			offers[d.name] = append(offers[d.name], d)
		}
		d = debian{}
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "":
			add()
		case "Package":
			d.name = value
		case "Version":
			d.version = value
		case "Installed-Size":
			kib, _ := strconv.ParseInt(value, 10, 64) // without one it counts as nothing
			d.installed = kib << 10
		}
	}
	add()
	return offers
}

// newestFirst sorts by Debian's rules of versions, as dpkg knows them.
func newestFirst(ctx context.Context, list []debian) error {
	var failed error
	slices.SortFunc(list, func(a, b debian) int {
		if a.version == b.version {
			return 0
		}
		_, err := child.Run(ctx, "dpkg", "--compare-versions", a.version, "gt", b.version)
		if err == nil {
			return -1
		}
		if ctx.Err() != nil || errors.Is(err, child.ErrMissing) {
			failed = err
		}
		return 1
	})
	return failed
}

// fetch returns the files of packages in their order, from the folder or the archive.
func (a *archive) fetch(ctx context.Context, packages []debian) ([]string, error) {
	var missing []string
	for _, d := range packages {
		if a.find(d) == "" {
			missing = append(missing, d.String())
		}
	}
	if len(missing) > 0 {
		if err := a.download(ctx, missing); err != nil {
			return nil, err
		}
	}
	files := make([]string, len(packages))
	for i, d := range packages {
		if files[i] = a.find(d); files[i] == "" {
			return nil, fmt.Errorf("apt-get has fetched %s under a name that is not expected", d)
		}
	}
	return files, nil
}

// find returns the file of a package that was fetched, or "".
func (a *archive) find(d debian) string {
	version := strings.ReplaceAll(d.version, ":", "%3a")
	found, _ := filepath.Glob(filepath.Join(a.dir, d.name+"_"+version+"_*.deb")) // fails for bad patterns only
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

// download fetches into a folder beside, so that no half of a package is ever taken for a whole.
func (a *archive) download(ctx context.Context, packages []string) error {
	a.log.Info("fetching packages", "count", len(packages))
	part := a.dir + ".part"
	if err := errors.Join(os.RemoveAll(part), os.MkdirAll(part, 0o755), os.MkdirAll(a.dir, 0o755)); err != nil {
		return err
	}
	defer os.RemoveAll(part)
	args := append([]string{"-q", "-o", "APT::Sandbox::User=root", "download"}, packages...)
	if _, _, err := child.In(ctx, part, nil, "apt-get", args...); err != nil {
		a.log.Warn("apt-get failed", "err", err)
		if err := a.renew(ctx, err); err != nil {
			return fmt.Errorf("%w: %w", errNoArchive, err)
		}
		if _, _, err := child.In(ctx, part, nil, "apt-get", args...); err != nil {
			return fmt.Errorf("%w: %w", errNoArchive, err)
		}
	}
	entries, err := os.ReadDir(part)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Rename(filepath.Join(part, e.Name()), filepath.Join(a.dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
