package firmware

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Handlers of components: how the device installs a payload.
const (
	HandlerSlot = "slot" // written to the inactive slot of an A/B pair
)

// Manifest is release.json: what one release is. It is a TUF target, so its signature fixes every byte below it.
type Manifest struct {
	Schema  int    `json:"schema"`  // 1
	Product string `json:"product"` // name of the product, see CheckName
	Version string `json:"version"` // name of the release within the product; any order is by Counter
	// Counter rises with every release of a product. A device never installs a counter below the highest that it
	// committed.
	Counter    uint64      `json:"counter"`
	Hardware   []string    `json:"hardware"` // hardware ids that may run it; at least one
	Components []Component `json:"components"`
}

// Component is one payload of a release.
type Component struct {
	Name    string `json:"name"`    // "rootfs"
	Handler string `json:"handler"` // one of the Handler constants
	Size    int64  `json:"size"`    // bytes of the payload
	SHA256  Digest `json:"sha256"`  // of the whole payload
	Index   File   `json:"index"`   // its .caibx
}

// File names small content by size and digest.
type File struct {
	Size   int64  `json:"size"`
	SHA256 Digest `json:"sha256"`
}

var nameRule = regexp.MustCompile(`^[a-z0-9]([a-z0-9._+-]{0,62}[a-z0-9])?$`)

// CheckName refuses anything that is not 1 to 64 characters of a-z 0-9 . _ + - with a letter or digit at both ends.
// Products, versions, components, hardware ids, groups and devices are all named so: such a name is safe in a path, a
// URL and an MQTT topic.
func CheckName(what, name string) error {
	if !nameRule.MatchString(name) || bytes.Contains([]byte(name), []byte("..")) {
		return fmt.Errorf("%s %q: a name is 1 to 64 of a-z 0-9 . _ + -, with a letter or digit at both ends: %w",
			what, name, ErrMalformed)
	}
	return nil
}

// ManifestTarget returns the TUF target path of a release's manifest.
func ManifestTarget(product, version string) string { return product + "/" + version + "/release.json" }

// IndexTarget returns the TUF target path of a component's index.
func IndexTarget(product, version, component string) string {
	return product + "/" + version + "/" + component + ".caibx"
}

// TargetPath returns where a TUF target rests in a repository: its digest goes before the last part of its name.
func TargetPath(name string, sum Digest) string {
	return path.Join("targets", path.Dir(name), sum.String()+"."+path.Base(name))
}

// TargetDigest is the inverse of TargetPath: it returns the digest in a target's path.
func TargetDigest(p string) (Digest, bool) {
	hex, _, ok := strings.Cut(path.Base(p), ".")
	sum, err := ParseDigest(hex)
	return sum, ok && err == nil && strings.HasPrefix(p, "targets/")
}

// Encode returns the manifest as it is signed and stored.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(m, "", "  ")
	return append(b, '\n'), err
}

// ParseManifest reads and checks a manifest.
func ParseManifest(b []byte) (*Manifest, error) {
	if len(b) > MaxManifestSize {
		return nil, fmt.Errorf("manifest: over %d bytes: %w", MaxManifestSize, ErrTooLarge)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	m := new(Manifest)
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("manifest: %w: %w", ErrMalformed, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("manifest: bytes after its end: %w", ErrMalformed)
	}
	return m, m.check()
}

// Fits reports whether the release may run on this hardware.
func (m *Manifest) Fits(hardware string) bool { return slices.Contains(m.Hardware, hardware) }

// Component returns a component by name.
func (m *Manifest) Component(name string) (Component, bool) {
	i := slices.IndexFunc(m.Components, func(c Component) bool { return c.Name == name })
	if i < 0 {
		return Component{}, false
	}
	return m.Components[i], true
}

func (m *Manifest) check() error {
	if m.Schema != 1 {
		return fmt.Errorf("manifest: schema %d is not one that this program knows: %w", m.Schema, ErrMalformed)
	}
	if m.Counter == 0 || len(m.Hardware) == 0 || len(m.Components) == 0 {
		return fmt.Errorf("manifest: counter, hardware and components must be given: %w", ErrMalformed)
	}
	if err := CheckName("product", m.Product); err != nil {
		return err
	}
	if err := CheckName("version", m.Version); err != nil {
		return err
	}
	for _, h := range m.Hardware {
		if err := CheckName("hardware", h); err != nil {
			return err
		}
	}
	seen := map[string]bool{}
	for _, c := range m.Components {
		if err := c.check(); err != nil {
			return err
		}
		if seen[c.Name] {
			return fmt.Errorf("manifest: two components %q: %w", c.Name, ErrMalformed)
		}
		seen[c.Name] = true
	}
	return nil
}

func (c Component) check() error {
	if err := CheckName("component", c.Name); err != nil {
		return err
	}
	switch {
	case c.Handler != HandlerSlot:
		return fmt.Errorf("component %s: no handler %q here: %w", c.Name, c.Handler, ErrMalformed)
	case c.Size <= 0 || c.Size > MaxPayloadSize:
		return fmt.Errorf("component %s: a size of %d bytes: %w", c.Name, c.Size, ErrTooLarge)
	case c.Index.Size <= 0 || c.Index.Size > MaxIndexSize:
		return fmt.Errorf("component %s: an index of %d bytes: %w", c.Name, c.Index.Size, ErrTooLarge)
	case c.SHA256.IsZero() || c.Index.SHA256.IsZero():
		return fmt.Errorf("component %s: a digest is missing: %w", c.Name, ErrMalformed)
	}
	return nil
}
