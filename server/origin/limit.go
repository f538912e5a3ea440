package origin

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxAddresses bounds how many addresses are remembered. When there are more, those that have behaved for long enough to
// have their whole allowance again are forgotten, and then the others.
const maxAddresses = 4096

// limits slows down whoever guesses tokens. Only refused enrolments count, so that a site whose devices all come from
// one address and enrol at once is not held up.
type limits struct {
	burst int
	now   func() time.Time

	mu        sync.Mutex
	byAddress map[string]*rate.Limiter
}

func newLimits(burst int, now func() time.Time) *limits {
	return &limits{burst: burst, now: now, byAddress: map[string]*rate.Limiter{}}
}

// allows reports whether an address has any of its allowance left.
func (l *limits) allows(address string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.byAddress[network(address)]
	return r == nil || r.TokensAt(l.now()) >= 1
}

// refused takes one from the allowance of an address.
func (l *limits) refused(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key, now := network(address), l.now()
	r := l.byAddress[key]
	if r == nil {
		l.makeRoom(now)
		r = rate.NewLimiter(rate.Every(10*time.Second), l.burst)
		l.byAddress[key] = r
	}
	r.AllowN(now, 1)
}

func (l *limits) makeRoom(now time.Time) {
	if len(l.byAddress) < maxAddresses {
		return
	}
	for key, r := range l.byAddress {
		if r.TokensAt(now) >= float64(l.burst) {
			delete(l.byAddress, key)
		}
	}
	for key := range l.byAddress {
		if len(l.byAddress) < maxAddresses {
			return
		}
		delete(l.byAddress, key)
	}
}

// network returns the address, or for IPv6 its /64, all of which one host may use.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Unmap().Is4() {
		return address
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return p.String()
}
