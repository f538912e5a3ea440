package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"

	"github.com/waxwing-ota/waxwing/agent/health"
	"github.com/waxwing-ota/waxwing/agent/limit"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
)

const maxConfig = 256 << 10

// Config is agent.json; see the package's manual.
type Config struct {
	Device           string            `json:"device"`
	Hardware         string            `json:"hardware"`
	Fleet            string            `json:"fleet"`
	Server           string            `json:"server"`
	Brokers          []string          `json:"brokers,omitempty"`
	Slots            map[string]string `json:"slots,omitempty"`
	Boot             Boot              `json:"boot,omitzero"`
	Reboot           []string          `json:"reboot,omitempty"`
	Probes           []health.Probe    `json:"probes,omitempty"`
	Mesh             Mesh              `json:"mesh"`
	Limits           Limits            `json:"limits,omitzero"`
	Site             string            `json:"site,omitempty"`
	Depot            *Depot            `json:"depot,omitempty"`
	PollSeconds      int               `json:"poll_seconds,omitempty"`
	KeepaliveSeconds int               `json:"keepalive_seconds,omitempty"`

	dir string // of the file
}

// Boot says how to talk to the boot loader.
type Boot struct {
	Kind string `json:"kind"` // BootEnvfile or BootUboot
	Path string `json:"path,omitempty"`
}

// Kinds of Boot.
const (
	BootEnvfile = "envfile"
	BootUboot   = "uboot"
)

// Mesh says how to talk to neighbours.
type Mesh struct {
	Interfaces []string      `json:"interfaces,omitempty"`
	Listen     string        `json:"listen,omitempty"`
	Off        bool          `json:"off,omitempty"`
	Unlisted   bool          `json:"unlisted,omitempty"` // the server introduces nobody
	Link       protocol.Link `json:"link,omitempty"`
}

// Limits bound what this device moves of payloads: chunks and patches. What it needs to know what is true now, and manifests
// and indexes, are never held back.
type Limits struct {
	Uplink limit.Limit `json:"uplink,omitzero"` // from the server
	LAN    limit.Limit `json:"lan,omitzero"`    // to neighbours
}

// Depot says that this is no device that is updated but one that keeps releases for its site. In agent.json it is true, or an
// object.
type Depot struct {
	Space int64 `json:"space,omitempty"` // MiB of payloads that are kept at most; 0: defaultSpace
}

// In MiB.
const (
	defaultSpace = 8 << 10
	mostSpace    = 1 << 30
)

// UnmarshalJSON implements json.Unmarshaler.
func (d *Depot) UnmarshalJSON(b []byte) error {
	type plain Depot
	switch string(b) {
	case "true":
		return nil
	case "false":
		return errors.New("depot is true, {\"space\": MiB}, or not there")
	}
	decoder := json.NewDecoder(bytes.NewReader(b))
	decoder.DisallowUnknownFields()
	return decoder.Decode((*plain)(d))
}

// space returns bytes.
func (d *Depot) space() int64 {
	if d.Space == 0 {
		return defaultSpace << 20
	}
	return d.Space << 20
}

// Files beside agent.json.
const (
	ConfigFile = "agent.json"
	KeyFile    = "device.key"
	CertFile   = "device.pem"
	CAFile     = "fleet-ca.pem"
	RootFile   = "root.json"
	StatusFile = "status.json"
	stateDir   = "state"
	depotDir   = "depot"
)

// LoadConfig reads and checks a configuration.
func LoadConfig(path string) (*Config, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	b, err := atomicfile.Read(path, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w; make one with: waxwing-agent enroll", err)
	}
	c, err := ParseConfig(b)
	if err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	c.dir = filepath.Dir(path)
	return c, nil
}

// ParseConfig reads and checks agent.json. Unknown fields are refused: a misspelt one would be silently without effect.
func ParseConfig(b []byte) (*Config, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	c := new(Config)
	if err := d.Decode(c); err != nil {
		return nil, err
	}
	return c, c.check()
}

// Save writes the configuration into a folder.
func (c *Config) Save(dir string) error {
	if err := c.check(); err != nil {
		return err
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, ConfigFile), append(b, '\n'), 0o600)
}

func (c *Config) check() error {
	var all []error
	bad := func(format string, a ...any) { all = append(all, fmt.Errorf(format, a...)) }
	if err := firmware.CheckName("device", c.Device); err != nil {
		all = append(all, err)
	}
	if err := firmware.CheckName("hardware", c.Hardware); err != nil {
		all = append(all, err)
	}
	if u, err := url.Parse(c.Server); err != nil || u.Scheme != "https" || u.Host == "" {
		bad("server is %q; give https://host:port", c.Server)
	}
	if c.Depot == nil && len(c.Slots) != 2 {
		bad("slots: two are needed, \"a\" and \"b\"")
	}
	switch {
	case c.Depot != nil && c.Mesh.Off:
		bad("mesh.off: a depot without neighbours is of no use")
	case c.Depot != nil && (c.Depot.Space < 0 || c.Depot.Space > mostSpace):
		bad("depot.space is %d; it is in MiB, and 0 for the default of %d", c.Depot.Space, defaultSpace)
	}
	switch {
	case c.Depot != nil: // nothing is installed
	case c.Boot.Kind != BootEnvfile && c.Boot.Kind != BootUboot:
		bad("boot.kind is %q; it is %q or %q", c.Boot.Kind, BootUboot, BootEnvfile)
	case c.Boot.Kind == BootEnvfile && c.Boot.Path == "":
		bad("boot.path is missing")
	case c.Virtual() && c.Boot.Kind != BootEnvfile:
		bad("reboot is \"exec\", which needs boot.kind %q", BootEnvfile)
	}
	var names []string
	for _, p := range c.Probes {
		if err := p.Check(); err != nil {
			all = append(all, err)
		}
		if slices.Contains(names, p.Name) {
			bad("two probes are called %q", p.Name)
		}
		names = append(names, p.Name)
	}
	if !c.Mesh.Link.Valid() {
		bad("mesh.link is %q; it is wired, wifi, cellular or battery", c.Mesh.Link)
	}
	if err := c.Limits.Uplink.Check(); err != nil {
		bad("limits.uplink: %w", err)
	}
	if err := c.Limits.LAN.Check(); err != nil {
		bad("limits.lan: %w", err)
	}
	switch {
	case c.Limits.Uplink.BytesPerSecond != 0:
		bad("limits.uplink.bytes_per_second: there is none; the devices of a site share their uplink, so shape it where it is")
	case c.Mesh.Off && !c.Limits.LAN.Zero():
		bad("limits.lan: mesh.off is set, so there is nothing to limit")
	}
	if c.Site != "" {
		if err := firmware.CheckName("site", c.Site); err != nil {
			all = append(all, err)
		}
	}
	if c.PollSeconds < 0 || c.KeepaliveSeconds < 0 || c.KeepaliveSeconds > 3600 {
		bad("poll_seconds and keepalive_seconds are not negative, keepalive_seconds at most 3600")
	}
	return errors.Join(all...)
}

// Virtual reports whether the device has no hardware: every start of the program is a power-on.
func (c *Config) Virtual() bool { return len(c.Reboot) == 1 && c.Reboot[0] == "exec" }

// Path returns a path of the configuration as the process can use it.
func (c *Config) Path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

// fits returns the hardware id that releases must fit; empty: any, as a depot runs none of them.
func (c *Config) fits() string {
	if c.Depot != nil {
		return ""
	}
	return c.Hardware
}

// SlotPaths returns the slots with usable paths.
func (c *Config) SlotPaths() map[string]string {
	out := make(map[string]string, len(c.Slots))
	for name, p := range c.Slots {
		out[name] = c.Path(p)
	}
	return out
}

func (c *Config) poll() time.Duration {
	if c.PollSeconds == 0 {
		return 5 * time.Minute
	}
	return time.Duration(c.PollSeconds) * time.Second
}

func (c *Config) reboot() []string {
	if len(c.Reboot) == 0 {
		return []string{"systemctl", "reboot"}
	}
	return c.Reboot
}

// probes returns the named probes, all of them for no names.
func (c *Config) probes(names []string) ([]health.Probe, error) {
	if len(c.Probes) == 0 && len(names) == 0 {
		return []health.Probe{{Name: "server", Server: true}}, nil
	}
	if len(names) == 0 {
		return c.Probes, nil
	}
	var out []health.Probe
	for _, n := range names {
		i := slices.IndexFunc(c.Probes, func(p health.Probe) bool { return p.Name == n })
		if i < 0 {
			return nil, fmt.Errorf("the policy asks for probe %q, which is not in this device's configuration", n)
		}
		out = append(out, c.Probes[i])
	}
	return out, nil
}
