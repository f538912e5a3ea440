package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/store"
)

const (
	maxLabels     = 64
	maxLabelValue = 128
)

// Query asks for devices.
type Query struct {
	Selector Selector
	Search   string // part of the id or of a label's value
	After    string // id after which to begin, exclusive
	Limit    int    // 0: no limit
}

// Views returns the devices that a query asks for, by id, how many there are without After and Limit, and the revision
// of the store that they reflect. It reads memory only.
func (f *Fleet) Views(_ context.Context, q Query) (items []View, total int, revision int64) {
	search := strings.ToLower(q.Search)
	m := f.mirror
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, id := range m.ids {
		r := m.devices[id]
		if !q.Selector.Matches(r) || search != "" && !r.contains(search) {
			continue
		}
		total++
		if id > q.After && (q.Limit == 0 || len(items) < q.Limit) {
			items = append(items, r.view())
		}
	}
	return items, total, m.revision
}

func (r *record) contains(search string) bool {
	if strings.Contains(r.ID, search) {
		return true
	}
	for _, v := range r.Labels {
		if strings.Contains(strings.ToLower(v), search) {
			return true
		}
	}
	return false
}

// View returns one device; the error matches ErrUnknown.
func (f *Fleet) View(_ context.Context, id string) (View, error) {
	f.mirror.mu.RLock()
	defer f.mirror.mu.RUnlock()
	if r := f.mirror.known(id); r != nil {
		return r.view(), nil
	}
	return View{}, fmt.Errorf("%w: %q; waxwing device list shows them", ErrUnknown, id)
}

// Authenticate says whether a device with this key (hex SHA-256 of its SubjectPublicKeyInfo) may talk to the server, and
// whether it is accepted or still waits. Errors match ErrUnknown, ErrRejected or ErrKey.
func (f *Fleet) Authenticate(device, key string) (Admission, error) {
	f.mirror.mu.RLock()
	defer f.mirror.mu.RUnlock()
	r := f.mirror.known(device)
	switch {
	case r == nil:
		return "", fmt.Errorf("%w: %s; enrol it", ErrUnknown, device)
	case r.Admission == Rejected:
		return r.Admission, fmt.Errorf("%w: %s; a person must accept it again", ErrRejected, device)
	case r.Key != key:
		return r.Admission, fmt.Errorf("%w: %s has enrolled with another key", ErrKey, device)
	}
	return r.Admission, nil
}

// admission is Authenticate for a device whose key was checked before.
func (f *Fleet) admission(device string) (Admission, error) {
	f.mirror.mu.RLock()
	defer f.mirror.mu.RUnlock()
	r := f.mirror.known(device)
	switch {
	case r == nil:
		return "", fmt.Errorf("%w: %s", ErrUnknown, device)
	case r.Admission == Rejected:
		return r.Admission, fmt.Errorf("%w: %s", ErrRejected, device)
	}
	return r.Admission, nil
}

// Accept lets a waiting or rejected device in.
func (f *Fleet) Accept(ctx context.Context, id string) (View, error) {
	return f.change(ctx, id, func(d *Device) error { d.Admission = Accepted; return nil })
}

// Reject shuts a device out. From now on the device plane refuses it, and the broker ends its connection.
func (f *Fleet) Reject(ctx context.Context, id string) (View, error) {
	return f.change(ctx, id, func(d *Device) error { d.Admission = Rejected; return nil })
}

// Label sets labels of a device; a nil value removes one. Errors match ErrInvalid.
func (f *Fleet) Label(ctx context.Context, id string, labels map[string]*string) (View, error) {
	return f.change(ctx, id, func(d *Device) error {
		all := maps.Clone(d.Labels)
		if all == nil {
			all = map[string]string{}
		}
		for key, v := range labels {
			if v == nil {
				delete(all, key)
			} else {
				all[key] = *v
			}
		}
		d.Labels = all
		return checkLabels(all)
	})
}

func (f *Fleet) change(ctx context.Context, id string, change func(*Device) error) (View, error) {
	e, err := f.devices.Update(ctx, id, change)
	if errors.Is(err, store.ErrNotFound) {
		return View{}, fmt.Errorf("%w: %q; waxwing device list shows them", ErrUnknown, id)
	}
	if err != nil {
		return View{}, err
	}
	f.mirror.putDevices(e)
	return f.View(ctx, id)
}

// checkLabels refuses labels that selectors could not name. Errors match ErrInvalid.
func checkLabels(labels map[string]string) error {
	if len(labels) > maxLabels {
		return fmt.Errorf("%w: %d labels, over %d", ErrInvalid, len(labels), maxLabels)
	}
	for key, v := range labels {
		if err := firmware.CheckName("label", key); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if BuiltIn(key) || key == "in" || key == "notin" {
			return fmt.Errorf("%w: a label cannot be called %s, which has a meaning in selectors", ErrInvalid, key)
		}
		if len(v) > maxLabelValue || strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c == 0x7f || c == 0xfffd }) {
			return fmt.Errorf("%w: the value of label %s has at most %d bytes and no control characters", ErrInvalid, key, maxLabelValue)
		}
	}
	return nil
}

func (f *Fleet) ids() []string {
	f.mirror.mu.RLock()
	defer f.mirror.mu.RUnlock()
	return slices.Clone(f.mirror.ids)
}
