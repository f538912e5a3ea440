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

// MaxGroups bounds the groups of a fleet: a membership holds as many, and any device may be in all of them.
const MaxGroups = 256

// GroupView is a group with its live size.
type GroupView struct {
	Group
	Devices  int
	Revision int64
}

// Groups returns all groups by name.
func (f *Fleet) Groups() []GroupView {
	f.mirror.mu.RLock()
	defer f.mirror.mu.RUnlock()
	sizes := map[string]int{}
	for _, r := range f.mirror.devices {
		for _, g := range r.groups {
			sizes[g]++
		}
	}
	views := make([]GroupView, 0, len(f.mirror.groups))
	for _, name := range slices.Sorted(maps.Keys(f.mirror.groups)) {
		g := f.mirror.groups[name]
		views = append(views, GroupView{Group: g.Group, Devices: sizes[name], Revision: g.revision})
	}
	return views
}

// Group returns one group; the error matches ErrGroup.
func (f *Fleet) Group(name string) (GroupView, error) {
	for _, g := range f.Groups() {
		if g.Name == name {
			return g, nil
		}
	}
	return GroupView{}, fmt.Errorf("%w: %q; waxwing group list shows them", ErrGroup, name)
}

// PutGroup makes or changes a group. A selector that asks for a label that no device has is refused with ErrLabelUnknown
// unless forced: it is a typing error more often than a plan. Errors match ErrInvalid for what can never be a group.
func (f *Fleet) PutGroup(ctx context.Context, g Group, force bool) (GroupView, error) {
	if err := firmware.CheckName("group", g.Name); err != nil {
		return GroupView{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	selector, err := ParseSelector(g.Selector)
	if err != nil {
		return GroupView{}, err
	}
	g.Selector = selector.String()
	switch {
	case g.Name == AllGroup && g.Selector != "":
		return GroupView{}, fmt.Errorf("%w: the group %s holds every device; give your selector another name", ErrInvalid, AllGroup)
	case g.Priority < 0 || g.Priority > 1000:
		return GroupView{}, fmt.Errorf("%w: a priority of %d is not within 0..1000", ErrInvalid, g.Priority)
	}
	for _, key := range selector.Keys() {
		if BuiltIn(key) && key != KeyID && key != KeyHardware {
			return GroupView{}, fmt.Errorf("%w: a group cannot select by %s, which changes while a device is updated; "+
				"use labels, id or hardware", ErrInvalid, key)
		}
	}
	if !force {
		if err := f.CheckLabels(selector); err != nil {
			return GroupView{}, err
		}
	}
	f.mirror.mu.RLock()
	full := f.mirror.groups[g.Name] == nil && len(f.mirror.groups) >= MaxGroups
	f.mirror.mu.RUnlock()
	if full {
		return GroupView{}, fmt.Errorf("%w: a fleet has at most %d groups; remove one first", ErrInvalid, MaxGroups)
	}
	e, err := f.groups.Upsert(ctx, g.Name, func(old *Group) error { *old = g; return nil })
	if err != nil {
		return GroupView{}, err
	}
	f.applyGroup(store.Change[Group]{Entry: e})
	return f.Group(g.Name)
}

// DeleteGroup removes a group; the error matches ErrGroup when there is none. The caller makes sure that no rollout uses it.
func (f *Fleet) DeleteGroup(ctx context.Context, name string) error {
	if name == AllGroup {
		return fmt.Errorf("%w: the group %s cannot be removed", ErrInvalid, AllGroup)
	}
	e, err := f.groups.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: %q", ErrGroup, name)
	}
	if err != nil {
		return err
	}
	b := store.NewBatch(f.store)
	f.groups.UnchangedIn(b, name, e.Revision)
	f.groups.DeleteIn(b, name)
	revision, err := b.CommitAt(ctx)
	if err != nil {
		return err
	}
	f.mirror.setGroup(name, nil, revision)
	return nil
}

// CheckLabels refuses a selector with a key that no device has; the error matches ErrLabelUnknown and lists what there is.
func (f *Fleet) CheckLabels(s Selector) error {
	known := map[string]bool{}
	f.mirror.mu.RLock()
	for _, r := range f.mirror.devices {
		for key := range r.Labels {
			known[key] = true
		}
	}
	f.mirror.mu.RUnlock()
	for _, key := range s.Keys() {
		if BuiltIn(key) || known[key] {
			continue
		}
		list := "no device has any label yet"
		if len(known) > 0 {
			keys := slices.Sorted(maps.Keys(known))
			list = "the labels in use are " + strings.Join(keys[:min(len(keys), 20)], ", ")
		}
		return fmt.Errorf("%w: %q; %s, and id and hardware always work", ErrLabelUnknown, key, list)
	}
	return nil
}

// Member reports whether a device is in a group.
func (f *Fleet) Member(device, group string) bool {
	f.mirror.mu.RLock()
	defer f.mirror.mu.RUnlock()
	r := f.mirror.known(device)
	return r != nil && r.Is(KeyGroup, group)
}

// Candidates returns the devices of a group, by id; the error matches ErrGroup.
func (f *Fleet) Candidates(_ context.Context, group string) ([]View, error) {
	f.mirror.mu.RLock()
	defer f.mirror.mu.RUnlock()
	if f.mirror.groups[group] == nil {
		return nil, fmt.Errorf("%w: %q; waxwing group list shows them", ErrGroup, group)
	}
	var views []View
	for _, id := range f.mirror.ids {
		if r := f.mirror.devices[id]; r.Is(KeyGroup, group) {
			views = append(views, r.view())
		}
	}
	return views, nil
}

func (f *Fleet) applyGroup(c store.Change[Group]) {
	if c.Deleted {
		f.mirror.setGroup(c.Key, nil, c.Revision)
		return
	}
	selector, err := ParseSelector(c.Value.Selector)
	if err != nil {
		f.log.Error("a stored group cannot be read and is left out", "group", c.Key, "error", err)
		return
	}
	f.mirror.setGroup(c.Key, &groupRecord{Group: c.Value, selector: selector, revision: c.Revision}, c.Revision)
}

func (f *Fleet) resetGroups(all []store.Entry[Group], revision int64) {
	there := map[string]bool{}
	for _, e := range all {
		there[e.Key] = true
		f.applyGroup(store.Change[Group]{Entry: e})
	}
	for _, g := range f.Groups() {
		if !there[g.Name] && g.Revision <= revision {
			f.mirror.setGroup(g.Name, nil, revision)
		}
	}
}
