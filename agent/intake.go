package agent

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

const (
	soon          = 3 * time.Second // until HTTPS is asked when MQTT has said nothing
	silence       = 12 * time.Hour  // until HTTPS is asked although MQTT is connected
	refreshEvery  = 24 * time.Hour  // until the repository is asked for revoked keys
	refreshAtMost = 10 * time.Second
)

// acceptance lets one envelope in at a time.
type acceptance struct {
	mu        sync.Mutex
	refreshed time.Time // when the repository was last asked because a key was unknown
	doubt     trust.Doubt

	// What came by MQTT since it is connected, by topic. Nothing: the server may not be at this broker, or the broker may
	// have forgotten everything and nobody reads what is told to it.
	heard map[string]firmware.Digest
}

// hears notes a message and reports whether the server has only now appeared, or says the same thing again as it does
// when it has come back to the broker: then it may have missed what it was told.
func (a *acceptance) hears(topic string, payload []byte) (appeared bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	sum := firmware.Sum(payload)
	appeared = len(a.heard) == 0 || a.heard[topic] == sum
	if a.heard == nil {
		a.heard = map[string]firmware.Digest{}
	}
	a.heard[topic] = sum
	return appeared
}

// broker reports whether the server can be talked to by MQTT: documents of it have come on this connection.
func (a *Agent) broker() bool {
	a.accepts.mu.Lock()
	defer a.accepts.mu.Unlock()
	return a.link.Connected() && len(a.accepts.heard) > 0
}

// hear takes a message of the broker. The topic is no evidence of anything; it only tells the two forms apart.
func (a *Agent) hear(ctx context.Context, topic string, payload []byte) {
	if topic == protocol.SiteTopic(a.Config.Device) {
		a.site.hear(payload)
		return
	}
	if len(payload) == 0 { // a retained message was removed: nothing is unsaid by that
		return
	}
	if a.accepts.hears(topic, payload) {
		a.reporter.again()
	}
	if topic != protocol.DevicePolicyTopic(a.Config.Device) {
		a.accept(ctx, payload)
		return
	}
	d := new(protocol.Documents)
	if err := json.Unmarshal(payload, d); err != nil {
		a.Log.Warn("the broker sent no documents", "topic", topic, "error", err)
		return
	}
	a.acceptAll(ctx, d)
}

// acceptAll takes the membership first: without it no group's policy is ours.
func (a *Agent) acceptAll(ctx context.Context, d *protocol.Documents) {
	if len(d.Membership) > 0 {
		a.accept(ctx, d.Membership)
	}
	for _, p := range d.Policies {
		a.accept(ctx, p)
	}
	if len(d.Site) > 0 {
		a.site.hear(d.Site)
	}
}

// accept lets trust judge an envelope. A key that trust does not know may be new, so the repository is asked once; when
// that fails everything is asked for again, by HTTPS.
func (a *Agent) accept(ctx context.Context, envelope []byte) {
	a.accepts.mu.Lock()
	defer a.accepts.mu.Unlock()
	changed, err := a.trust.Accept(envelope)
	if errors.Is(err, trust.ErrUntrusted) && a.Now().Sub(a.accepts.refreshed).Abs() > refreshAtMost {
		if unreachable := a.trust.Refresh(ctx); unreachable != nil {
			a.Log.Warn("a policy waits for the repository", "error", unreachable)
			a.origin.Forget()
			a.ask()
			return
		}
		a.accepts.refreshed = a.Now()
		changed, err = a.trust.Accept(envelope)
	}
	switch {
	case errors.Is(err, trust.ErrRollback):
		a.Log.Debug("an older policy is ignored", "error", err)
	case errors.Is(err, trust.ErrEquivocation):
		a.Log.Error("ALARM: two policies with one number; the policy key may be stolen", "error", err)
	case err != nil:
		a.Log.Warn("a policy is refused", "error", err)
	case changed:
		a.link.SetGroups(a.trust.Groups())
		a.look()
	}
}

// watch says when the clock is doubted, and when no more.
func (a *Agent) watch() {
	a.accepts.mu.Lock()
	defer a.accepts.mu.Unlock()
	c := a.trust.Clock()
	if c.Doubt == a.accepts.doubt {
		return
	}
	a.accepts.doubt = c.Doubt
	switch c.Doubt {
	case trust.ClockSure:
		a.Log.Info("the clock goes with what was signed")
	case trust.ClockAhead:
		a.Log.Error("the clock is far beyond every signed time; nothing is installed until it is set, or the server is heard again",
			"clock", c.Device, "signed", c.Floor)
	case trust.ClockBehind:
		a.Log.Warn("the clock is behind what was signed; expiry is judged by that", "clock", c.Device, "signed", c.Floor)
	case trust.ClockUnproven:
		a.Log.Debug("nothing signed was heard yet that the clock could be held against", "clock", c.Device)
	}
}

// ask makes poll use HTTPS soon.
func (a *Agent) ask() {
	select {
	case a.hurry <- struct{}{}:
	default:
	}
}

// connected hears from the link whether the broker listens.
func (a *Agent) connected(now bool) {
	// What was sent last may be lost with the connection or the broker.
	if now && !a.broker() { // the first messages of a connection come before or after this
		a.reporter.later(soon) // by HTTPS, unless something is heard by then
		return
	}
	a.reporter.again()
	if !now {
		a.accepts.mu.Lock()
		a.accepts.heard = nil
		a.accepts.mu.Unlock()
		a.ask()
	}
}

// poll asks for documents by HTTPS while the broker is silent, and now and then to be sure.
func (a *Agent) poll(ctx context.Context) error {
	a.link.SetGroups(a.trust.Groups())
	interval := a.Config.poll()
	quick := min(soon, interval)
	eager := quick // grows while somebody keeps asking in vain
	next := time.NewTimer(jitter(quick))
	defer next.Stop()
	var asked, refreshed time.Time
	refreshed = a.Now()
	for {
		a.watch()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.hurry:
			next.Reset(jitter(eager))
			eager, asked = min(2*eager, interval), time.Time{}
			continue
		case <-next.C:
		}
		if !a.broker() || a.Now().Sub(asked) > silence {
			d, err := a.origin.Documents(ctx)
			switch {
			case err != nil:
				a.Log.Warn("the server cannot be asked", "error", err)
			case d != nil:
				a.acceptAll(ctx, d)
			}
			if err == nil {
				asked = a.Now()
			}
		} else {
			eager = quick
		}
		if a.Now().Sub(refreshed) > refreshEvery {
			if err := a.trust.Refresh(ctx); err != nil {
				a.Log.Warn("the repository cannot be asked", "error", err)
			}
			refreshed = a.Now()
			a.look()
		}
		next.Reset(jitter(interval))
	}
}

// renew asks for a new certificate when half of the life of the old one is over.
func (a *Agent) renew(ctx context.Context) error {
	for {
		wait := time.NewTimer(max(min(a.Identity.RenewAt().Sub(a.Now()), 12*time.Hour), jitter(time.Minute)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-wait.C:
		}
		if a.Now().Before(a.Identity.RenewAt()) {
			continue
		}
		if err := a.renewNow(ctx); err != nil {
			a.Log.Warn("the certificate could not be renewed; it is tried again", "error", err)
			continue
		}
		a.Log.Info("the certificate is renewed", "until", a.Identity.Certificate().Leaf.NotAfter)
	}
}

func (a *Agent) renewNow(ctx context.Context) error {
	csr, err := Request(a.Identity.key, a.Config.Device)
	if err != nil {
		return err
	}
	r, err := a.origin.Renew(ctx, csr)
	if err != nil {
		return err
	}
	return a.Identity.Replace(r.Certificate)
}

// jitter spreads a fleet: 75 % to 125 % of d.
func jitter(d time.Duration) time.Duration { return d - d/4 + rand.N(d/2+1) }
