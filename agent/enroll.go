package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"

	"github.com/waxwing-ota/waxwing/agent/boot/envfile"
	"github.com/waxwing-ota/waxwing/agent/origin"
	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// ErrEnrolled says that a folder holds a device already.
var ErrEnrolled = errors.New("this folder holds an enrolled device; use another folder, or run it with: waxwing-agent run --config")

// Enrollment is a wish to become a device of a fleet.
type Enrollment struct {
	Server, Token string
	Dir           string // of agent.json and everything beside it; made when missing
	Root          []byte // root.json that is trusted already; nil: the server's, as the token vouches for the server
	ID, Hardware  string
	Labels        map[string]string
	Virtual       bool  // slots and boot loader are files in Dir
	SlotSize      int64 // bytes of each virtual slot
	Depot         bool  // it keeps releases for its site and installs nothing, so it has no slots
	// Interfaces to look for neighbours on; none: all, or the loopback interface for a virtual device.
	Interfaces []string
}

// Enroll gets an identity and writes agent.json and its company. The key is made first and kept, so that an enrolment
// whose answer was lost can be repeated.
func Enroll(ctx context.Context, e Enrollment) (*Config, error) {
	if _, err := os.Stat(filepath.Join(e.Dir, ConfigFile)); err == nil {
		return nil, fmt.Errorf("%s: %w", e.Dir, ErrEnrolled)
	}
	if err := os.MkdirAll(e.Dir, 0o700); err != nil {
		return nil, err
	}
	key, err := NewKey(e.Dir)
	if err != nil {
		return nil, err
	}
	csr, err := Request(key, e.ID)
	if err != nil {
		return nil, err
	}
	r, err := origin.Enroll(ctx, e.Server, protocol.EnrollRequest{
		Token: e.Token, CSR: csr, ID: e.ID, Hardware: e.Hardware, Labels: e.Labels,
	})
	if err != nil {
		return nil, err
	}
	if len(e.Root) > 0 {
		r.Root = e.Root
	}
	for name, b := range map[string][]byte{CertFile: r.Certificate, CAFile: r.FleetCA, RootFile: r.Root} {
		if len(b) == 0 {
			return nil, fmt.Errorf("enrol: the server's answer lacks %s", name)
		}
		if err := atomicfile.Write(filepath.Join(e.Dir, name), b, 0o600); err != nil {
			return nil, err
		}
	}
	c := &Config{
		Device: r.ID, Hardware: e.Hardware, Fleet: r.Fleet, Server: r.Server, Brokers: r.Brokers,
		Slots: map[string]string{"a": "/dev/disk/by-partlabel/rootfs-a", "b": "/dev/disk/by-partlabel/rootfs-b"},
		Boot:  Boot{Kind: BootUboot},
		Mesh:  Mesh{Interfaces: e.Interfaces},
	}
	if c.Server == "" {
		c.Server = e.Server
	}
	switch {
	case e.Depot:
		c.Depot, c.Slots, c.Boot = &Depot{}, nil, Boot{}
		if e.Virtual {
			c.Mesh.besideVirtual()
		}
	case e.Virtual:
		if err := makeVirtual(e.Dir, e.SlotSize, c); err != nil {
			return nil, err
		}
	}
	if _, err := LoadIdentity(e.Dir); err != nil {
		return nil, err
	}
	if err := c.Save(e.Dir); err != nil { // last: without it the folder holds no device
		return nil, err
	}
	return LoadConfig(filepath.Join(e.Dir, ConfigFile))
}

// besideVirtual makes virtual devices of one machine neighbours of each other, and nobody else's.
func (m *Mesh) besideVirtual() {
	if len(m.Interfaces) == 0 {
		*m = Mesh{Interfaces: []string{"lo"}, Listen: "127.0.0.1:0"}
	}
}

// makeVirtual makes two sparse files for slots and one for the boot loader.
func makeVirtual(dir string, size int64, c *Config) error {
	c.Slots = map[string]string{"a": "slot-a", "b": "slot-b"}
	c.Boot, c.Reboot = Boot{Kind: BootEnvfile, Path: "boot.env"}, []string{"exec"}
	c.Mesh.besideVirtual()
	for _, name := range c.Slots {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
			return fmt.Errorf("slot %s of %d bytes: %w", name, size, err)
		}
	}
	return envfile.Create(filepath.Join(dir, c.Boot.Path), "a", "b")
}
