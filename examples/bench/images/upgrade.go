package images

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// upgrades is how many packages change in the case "ext4".
const upgrades = 16

// candidates are what a device of an operator upgrades most: libraries and daemons with security updates. The first of
// which the archive offers two versions are taken, so the pick is the same as long as the archive is.
func candidates() []string {
	return strings.Fields(`libc6 libssl3 libssl3t64 openssl systemd libglib2.0-0 libglib2.0-0t64 perl-base python3.11-minimal python3.13-minimal
		libpython3.11-stdlib libpython3.13-stdlib sudo openssh-server openssh-client libcurl4 libcurl4t64 git bind9-libs samba-libs nginx
		curl udev libxml2 wpasupplicant libarchive13 libarchive13t64 bluez rsync unbound mosquitto redis-tools libnss3 squid
		libgs10 rsyslog xz-utils libexpat1 tzdata ca-certificates postgresql-15 postgresql-17 mariadb-server-core containerd`)
}

// fillers are what stays as it is: the rest of a device's system, until the image is as full as one usually is.
func fillers() []string {
	return strings.Fields(`bash coreutils dpkg util-linux tar gzip grep sed findutils procps kmod iproute2 iptables e2fsprogs dosfstools parted
		libstdc++6 libgcc-s1 zlib1g libzstd1 liblzma5 libsqlite3-0 dbus avahi-daemon chrony tcpdump strace less nano file libmagic-mgc
		busybox modemmanager network-manager locales vim vim-runtime libperl5.36 perl-modules-5.36 libicu72 python3-numpy python3-cryptography
		python3-pip podman libgstreamer1.0-0 gstreamer1.0-plugins-good libavcodec59 libqt5core5a libqt5gui5 libqt5widgets5 libqt5qml5
		libqt5quick5 libgl1-mesa-dri libnode108 cpp-12 binutils-x86-64-linux-gnu gdb libgtk-3-0 libruby3.1 erlang-base influxdb
		libicu76 libperl5.40 perl-modules-5.40 libqt6core6t64 libqt6gui6 libavcodec61 cpp-14 libruby3.3 libnode115 libmozjs-102-0 libgdal32
		docker.io libllvm14 libllvm15`)
}

// system is what the image of a version holds.
type system struct{ old, new []debian }

// pick chooses packages whose unpacked sizes fit: at most two fifths that change, four fifths in all.
func pick(offers map[string][]debian, space int64) (s system, changed int) {
	var used int64
	for _, name := range candidates() {
		if list := offers[name]; len(list) > 1 && changed < upgrades && used+list[0].installed <= space*2/5 {
			s.old, s.new = append(s.old, list[1]), append(s.new, list[0])
			used += list[0].installed
			changed++
		}
	}
	for _, name := range fillers() {
		if list := offers[name]; len(list) > 0 && used+list[0].installed <= space*4/5 {
			s.old, s.new = append(s.old, list[0]), append(s.new, list[0])
			used += list[0].installed
		}
	}
	return s, changed
}

// upgrade is the case "ext4": an image of Debian packages, some of which are upgraded.
func (w *Workshop) upgrade(ctx context.Context) (Pair, error) {
	offers, err := w.archive.offered(ctx, append(candidates(), fillers()...))
	if errors.Is(err, errNoArchive) {
		return w.toolchain(ctx, err)
	}
	if err != nil {
		return Pair{}, err
	}
	s, changed := pick(offers, int64(w.o.Size)<<20)
	if changed == 0 {
		return w.toolchain(ctx, fmt.Errorf("%w: it offers two versions of no package", errNoArchive))
	}
	pair, err := w.packages(ctx, "ext4", w.o.Size, s)
	if errors.Is(err, errNoArchive) {
		return w.toolchain(ctx, err)
	}
	if err != nil {
		return Pair{}, err
	}
	var names []string
	for i := range changed {
		names = append(names, fmt.Sprintf("%s %s → %s", s.new[i].name, s.old[i].version, s.new[i].version))
	}
	pair.Notes = append(pair.Notes, fmt.Sprintf("%d of %d Debian packages upgraded: %s", changed, len(s.new), strings.Join(names, ", ")))
	return pair, nil
}

// packages makes ext4 images of packages.
func (w *Workshop) packages(ctx context.Context, name string, mib int, s system) (Pair, error) {
	dir, err := w.kept(name, []string{fmt.Sprint(mib, s)}, func(dir string) error {
		for version, list := range map[string][]debian{"old": s.old, "new": s.new} {
			files, err := w.archive.fetch(ctx, list)
			if err != nil {
				return err
			}
			tree := filepath.Join(dir, version)
			if err := unpack(ctx, files, tree); err != nil {
				return err
			}
			if err := Ext4(ctx, tree, tree+".img", mib); err != nil {
				return err
			}
		}
		return nil
	})
	return inside(dir), err
}

// inside is the pair that was made in a folder.
func inside(dir string) Pair {
	return Pair{
		Old: filepath.Join(dir, "old.img"), New: filepath.Join(dir, "new.img"),
		OldTree: filepath.Join(dir, "old"), NewTree: filepath.Join(dir, "new"),
	}
}

// squashfs is the case of that name: the trees of the case "ext4" in compressed images.
func (w *Workshop) squashfs(ctx context.Context) (Pair, error) {
	trees, err := w.upgrade(ctx)
	if err != nil {
		return Pair{}, err
	}
	dir, err := w.kept("squashfs", []string{filepath.Base(filepath.Dir(trees.Old))}, func(dir string) error {
		for version, tree := range map[string]string{"old": trees.OldTree, "new": trees.NewTree} {
			if err := squash(ctx, tree, filepath.Join(dir, version+".img")); err != nil {
				return err
			}
		}
		return nil
	})
	return Pair{
		Old: filepath.Join(dir, "old.img"), New: filepath.Join(dir, "new.img"),
		Notes: append([]string{"the trees of ext4 by mksquashfs, zstd, blocks of 128 KiB"}, trees.Notes...),
	}, err
}
