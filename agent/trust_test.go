package agent

import (
	"strings"
	"sync"
	"testing"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

// TestRevokedOnTheWay revokes the policy key after a device has heard a policy of it, and before it has looked at the release:
// nothing of the release is fetched (security case 30). By the new key it installs the very same one.
func TestRevokedOnTheWay(t *testing.T) {
	b := newBench(t, false)
	b.cloud.Member("d-1", "all")
	b.cloud.Wish(b.cloud.Publish("1.0.0", 1, "qemu-arm64", payload(1, 100<<10)), nil)
	b.start()
	b.cloud.Await("1.0.0 runs", reaches(protocol.Committed, "1.0.0"))
	before := b.cloud.Chunks()

	r := b.cloud.Publish("2.0.0", 2, "qemu-arm64", payload(2, 100<<10))
	var once sync.Once
	b.cloud.Gate(func(path string) {
		if strings.HasSuffix(path, ".root.json") { // the first question of a check
			once.Do(b.cloud.Revoke)
		}
	})
	b.cloud.Wish(r, nil)
	b.cloud.Await("it let go", reaches(protocol.Idle, "2.0.0"))
	if n := b.cloud.Chunks() - before; n > 0 {
		t.Errorf("%d chunks were fetched for a policy of a revoked key", n)
	}
	b.cloud.Member("d-1", "all")
	b.cloud.Wish(r, nil)
	b.cloud.Await("2.0.0 runs", reaches(protocol.Committed, "2.0.0"))
}

// TestGoesBack: a device that committed 2.0.0 refuses 1.0.0, goes back to it with a grant, and up again without one. The grant
// takes it back no second time (security case 33).
func TestGoesBack(t *testing.T) {
	b := newBench(t, false)
	b.cloud.Revoke() // so that there is a rule for grants
	b.cloud.Member("d-1", "all")
	old := b.cloud.Publish("1.0.0", 1, "qemu-arm64", payload(1, 100<<10))
	next := b.cloud.Publish("2.0.0", 2, "qemu-arm64", payload(2, 100<<10))
	rollouts := 0
	wish := func(r policy.Release, grant []byte) (rollout string) {
		rollouts++
		rollout = strings.Repeat("r", rollouts)
		b.cloud.Wish(r, func(p *policy.Policy) { p.Rollout, p.Grant = rollout, grant })
		return rollout
	}
	ends := func(phase protocol.Phase, rollout string) protocol.Report {
		t.Helper()
		return b.cloud.Await(string(phase)+" in "+rollout, func(r protocol.Report) bool {
			return r.Update != nil && r.Update.Rollout == rollout && r.Update.Phase == phase
		})
	}
	grant := b.cloud.Grant(old)
	first := wish(next, nil)
	b.start()
	ends(protocol.Committed, first)
	if r := ends(protocol.Failed, wish(old, nil)); r.Update.Reason != protocol.ReasonCounter {
		t.Errorf("it failed for %s: %s", r.Update.Reason, r.Update.Detail)
	}
	if r := ends(protocol.Committed, wish(old, grant)); r.Running.Version != "1.0.0" {
		t.Errorf("it runs %s", r.Running.Version)
	}
	ends(protocol.Committed, wish(next, nil))
	if r := ends(protocol.Failed, wish(old, grant)); r.Update.Reason != protocol.ReasonCounter || r.Running.Version != "2.0.0" {
		t.Errorf("it runs %s, %s", r.Running.Version, r.Update.Detail)
	}
}
