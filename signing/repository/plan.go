package repository

import (
	"fmt"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// Plan says who signs each top-level role.
type Plan struct {
	Root      public.Rule `json:"root"`      // offline
	Targets   public.Rule `json:"targets"`   // offline
	Snapshot  public.Rule `json:"snapshot"`  // online
	Timestamp public.Rule `json:"timestamp"` // online
}

// role is a rule of a plan with its name.
type role struct {
	name string
	rule *public.Rule
}

func (p *Plan) roles() []role {
	return []role{
		{metadata.ROOT, &p.Root}, {metadata.TARGETS, &p.Targets}, {metadata.SNAPSHOT, &p.Snapshot}, {metadata.TIMESTAMP, &p.Timestamp},
	}
}

// Rule returns the rule of a role; nil: there is no such role.
func (p *Plan) Rule(name string) *public.Rule {
	for _, r := range p.roles() {
		if r.name == name {
			return r.rule
		}
	}
	return nil
}

// Check refuses a plan that nobody could fulfil, and one in which a key that lies on a server signs what is offline.
func (p *Plan) Check() error {
	for _, r := range p.roles() {
		if err := r.rule.Check(); err != nil {
			return fmt.Errorf("role %s: %w: %w", r.name, ErrInvalid, err)
		}
		if len(r.rule.Each) > 0 {
			return fmt.Errorf("role %s: %w: TUF asks for a number of signatures, not for algorithms", r.name, ErrInvalid)
		}
	}
	for _, online := range slices.Concat(p.Snapshot.Keys, p.Timestamp.Keys) {
		if holds(p.Root, online) || holds(p.Targets, online) {
			return fmt.Errorf("%w: key %s lies on the server and cannot be an offline one too", ErrInvalid, online.ID())
		}
	}
	return nil
}

func holds(r public.Rule, k public.Key) bool {
	return slices.ContainsFunc(r.Keys, func(o public.Key) bool { return o.ID() == k.ID() })
}

// write puts a plan in the place of the keys and roles of a root.
func (p *Plan) write(root *metadata.RootType) error {
	root.Keys = map[string]*metadata.Key{}
	for _, r := range p.roles() {
		ids, err := listed(root.Keys, r.rule.Keys)
		if err != nil {
			return err
		}
		root.Roles[r.name] = &metadata.Role{KeyIDs: ids, Threshold: r.rule.Threshold}
	}
	return nil
}

// listed adds keys to those that a document lists and returns their TUF ids.
func listed(in map[string]*metadata.Key, all []public.Key) (ids []string, err error) {
	for _, k := range all {
		t, id, err := keys.TUF(k)
		if err != nil {
			return nil, err
		}
		in[id] = t
		ids = append(ids, id)
	}
	return ids, nil
}

// planOf reads the plan that a root states.
func planOf(root *metadata.RootType) (Plan, error) {
	var p Plan
	for _, r := range p.roles() {
		said, ok := root.Roles[r.name]
		if !ok {
			return p, fmt.Errorf("root %d: %w: it has no role %s", root.Version, ErrInvalid, r.name)
		}
		var err error
		if *r.rule, err = ruleOf(root.Keys, said.KeyIDs, said.Threshold); err != nil {
			return p, fmt.Errorf("root %d: role %s: %w: %w", root.Version, r.name, ErrInvalid, err)
		}
	}
	return p, nil
}

// ruleOf reads a rule as TUF writes it.
func ruleOf(in map[string]*metadata.Key, ids []string, threshold int) (public.Rule, error) {
	rule := public.Rule{Threshold: threshold}
	for _, id := range ids {
		t, ok := in[id]
		if !ok {
			return rule, fmt.Errorf("key %s is not listed", id)
		}
		k, err := keys.OfTUF(t)
		if err != nil {
			return rule, err
		}
		if _, own, err := keys.TUF(k); err != nil || own != id {
			return rule, fmt.Errorf("key %s is listed under an id that is not its own", id)
		}
		rule.Keys = append(rule.Keys, k)
	}
	return rule, rule.Check()
}
