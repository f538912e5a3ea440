package repository

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// planChanges tells a holder what a root changes.
func planChanges(before, after Plan) []string {
	out := []string{}
	for _, r := range after.roles() {
		out = append(out, ruleChanges("role "+r.name, *before.Rule(r.name), *r.rule)...)
	}
	return out
}

func ruleChanges(of string, before, after public.Rule) []string {
	var out []string
	for _, k := range after.Keys {
		if !holds(before, k) {
			out = append(out, fmt.Sprintf("%s: key %s (%s) is added", of, k.ID(), k.Algorithm))
		}
	}
	for _, k := range before.Keys {
		if !holds(after, k) {
			out = append(out, fmt.Sprintf("%s: key %s (%s) is taken out", of, k.ID(), k.Algorithm))
		}
	}
	if before.Threshold != after.Threshold {
		out = append(out, fmt.Sprintf("%s: %d of %d keys must sign (before: %d of %d)", of, after.Threshold, len(after.Keys),
			before.Threshold, len(before.Keys)))
	}
	return out
}

// targetsChanges tells a holder what the top-level targets change.
func targetsChanges(before, after *metadata.TargetsType, files map[string][]byte) ([]string, error) {
	out := []string{}
	was, err := products(before)
	if err != nil {
		return nil, err
	}
	is, err := products(after)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(is)) {
		out = append(out, ruleChanges("product "+name, was[name], is[name])...)
	}
	for _, name := range slices.Sorted(maps.Keys(was)) {
		if _, ok := is[name]; !ok {
			out = append(out, fmt.Sprintf("product %s: it is taken out", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after.Targets)) {
		if old, ok := before.Targets[name]; ok && old.Equal(*after.Targets[name]) {
			continue
		}
		content, ok := files[name]
		if !ok || name != policy.KeysTarget {
			out = append(out, fmt.Sprintf("target %s: new or other bytes", name))
			continue
		}
		k, err := policy.ParseKeys(content)
		if err != nil {
			return nil, err
		}
		for _, key := range k.Policy.Keys {
			out = append(out, fmt.Sprintf("policies: signed by key %s (%s), %d of %d", key.ID(), key.Algorithm, k.Policy.Threshold, len(k.Policy.Keys)))
		}
	}
	return out, nil
}

// products reads who signs each product.
func products(t *metadata.TargetsType) (map[string]public.Rule, error) {
	out := map[string]public.Rule{}
	if t.Delegations == nil {
		return out, nil
	}
	for _, d := range t.Delegations.Roles {
		rule, err := ruleOf(t.Delegations.Keys, d.KeyIDs, d.Threshold)
		if err != nil {
			return nil, fmt.Errorf("product %s: %w: %w", d.Name, ErrInvalid, err)
		}
		out[d.Name] = rule
	}
	return out, nil
}

// Begin drafts the first root and targets of a repository, for its holders to sign; [CreateFrom] then begins it. No key is
// needed: a ceremony starts from public keys.
func Begin(p Plan, k policy.Keys, now time.Time) ([]*Draft, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	root := metadata.Root(expiry(now, rootLife))
	if err := p.write(&root.Signed); err != nil {
		return nil, err
	}
	rootBytes, err := root.ToBytes(true)
	if err != nil {
		return nil, err
	}
	content, err := policyKeys(k)
	if err != nil {
		return nil, err
	}
	targets := metadata.Targets(expiry(now, targetsLife))
	targets.Signed.Targets[policy.KeysTarget] = target(content)
	targetsBytes, err := targets.ToBytes(true)
	return []*Draft{
		{Schema: 1, Role: metadata.ROOT, Document: rootBytes},
		{Schema: 1, Role: metadata.TARGETS, Document: targetsBytes, Root: rootBytes, Files: map[string][]byte{policy.KeysTarget: content}},
	}, err
}
