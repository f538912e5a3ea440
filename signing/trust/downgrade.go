package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/trust/tuf"
)

// granted is a downgrade that was allowed and has not proven itself yet.
type granted struct {
	Counter uint64          `json:"counter"`
	Grant   firmware.Digest `json:"grant"`
	Expires time.Time       `json:"expires"`
}

// maxSpent bounds the grants that were used and have not ended.
const maxSpent = 64

// mayInstall compares a release's counter with what this device committed and with the floor below which its product lets
// nobody fall. A grant that allows it to fall is remembered, for Commit.
func (t *Trust) mayInstall(tm *tuf.Rules, r policy.Release) error {
	if floor := tm.SecurityFloor(r.Product); r.Counter < floor {
		return fmt.Errorf("%s %s has counter %d, the security floor is %d: %w", r.Product, r.Version, r.Counter, floor, ErrCounter)
	}
	committed := t.Counter(r.Product)
	if r.Counter >= committed {
		return nil
	}
	g, err := t.grant(r)
	if err != nil {
		return fmt.Errorf("%s %s has counter %d, committed is %d: %w: %w", r.Product, r.Version, r.Counter, committed, ErrCounter, err)
	}
	return t.update(func(rec *record) error { rec.Granted[r.Product] = g; return nil })
}

// grant finds a grant for a release in the policies that are in force.
func (t *Trust) grant(r policy.Release) (granted, error) {
	policies := t.wanting(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	keys, err := policy.ParseKeys(t.rec.PolicyKeys)
	if err != nil {
		return granted{}, err
	}
	member := memberOf(t.rec, keys)
	var why []error
	for _, p := range policies {
		if len(p.Grant) == 0 {
			continue
		}
		g, err := policy.OpenGrant(p.Grant, keys)
		if err != nil {
			why = append(why, err)
			continue
		}
		id, err := json.Marshal(g) // of what is signed: an envelope may be written in many ways
		if err != nil {
			return granted{}, err
		}
		out := granted{Counter: r.Counter, Grant: firmware.Sum(id), Expires: g.ExpiresAt}
		_, spent := t.rec.Spent[out.Grant.String()]
		now := t.now()
		switch {
		case g.Release != r:
			why = append(why, fmt.Errorf("the grant is for %s %s: %w", g.Release.Product, g.Release.Version, ErrMismatch))
		case !g.Audience.Addresses(t.o.Device, member): // the policy is for this device, the grant may be for fewer
			why = append(why, fmt.Errorf("the grant is for %s: %w", g.Audience, ErrAudience))
		case !now.Before(g.ExpiresAt) || !keys.Allows(g.IssuedAt, g.ExpiresAt) || !g.IssuedAt.Before(t.rec.Alive):
			why = append(why, fmt.Errorf("the grant is from %s to %s: %w", g.IssuedAt.Format(time.RFC3339), g.ExpiresAt.Format(time.RFC3339), ErrExpired))
		case spent || len(t.rec.Spent) >= maxSpent:
			why = append(why, errors.New("the grant was used before"))
		default:
			return out, nil
		}
	}
	if why == nil {
		why = []error{errors.New("no policy brings a grant")}
	}
	return granted{}, errors.Join(why...)
}

// Commit raises the counter of a product, after a release of it has proven itself. It lowers it only to the counter of a
// release that Manifest let fall by a grant, and with that the grant is spent: the device may go on from there, and the
// grant takes it back no second time. Until then the counter stays, and the loader may fall back to the slot before.
// Calling it again, as after a power cut, changes nothing.
func (t *Trust) Commit(product string, counter uint64) error {
	return t.update(func(r *record) error {
		for id, expires := range r.Spent {
			if !r.Floor.Before(expires) { // no time before the floor comes back, so nobody can use it again
				delete(r.Spent, id)
			}
		}
		if g, ok := r.Granted[product]; ok && g.Counter == counter && counter < r.Counters[product] {
			r.Counters[product], r.Spent[g.Grant.String()] = counter, g.Expires
		}
		delete(r.Granted, product)
		r.Counters[product] = max(r.Counters[product], counter)
		return nil
	})
}
