package mesh_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh"
)

// usedUp is a limit's refusal.
type usedUp struct{}

func (usedUp) Error() string    { return "used up" }
func (usedUp) Again() time.Time { return time.Now().Add(time.Minute) }

// TestALimitIsNoOffence lets a device that has everything give only a part of it, or only now and then: others get the rest
// elsewhere and accuse nobody, and what was taken is counted.
func TestALimitIsNoOffence(t *testing.T) {
	const most = 1 << 20
	for name, busy := range map[string]bool{"used up": false, "busy": true} {
		t.Run(name, func(t *testing.T) {
			s, saw := newSite(t), witness{}
			var went, n, refused atomic.Int64
			shut := func() bool { return !busy && went.Load() > most || busy && n.Add(1)%3 == 0 }
			it := s.device("it", func(o *mesh.Options) {
				o.Serve = func(context.Context, int64) (func(int64), error) {
					if shut() {
						refused.Add(1)
						return nil, usedUp{}
					}
					return func(k int64) { went.Add(k) }, nil
				}
				o.Closed = func() error {
					if !busy && shut() {
						return usedUp{}
					}
					return nil
				}
			})
			payload := firmware.NewSeed(s.index, slot(s.whole))
			t.Cleanup(it.Share(mesh.Swarm{ID: firmware.Sum(s.index.Encode()), Index: s.index, Have: payload}))
			us := s.device("us", func(o *mesh.Options) { o.Offended = saw.hear })
			s.see(us, 1)
			traffic, got, err := s.fetch(us)
			if err != nil || firmware.Sum(got) != firmware.Sum(s.whole) {
				t.Fatal(errors.Join(err, errors.New("it is not what was published")))
			}
			if d := saw.all(); len(d) > 0 {
				t.Errorf("it is accused: %v", d)
			}
			if traffic.Peers == 0 || traffic.Peers != went.Load() || refused.Load() == 0 {
				t.Errorf("%d bytes came from it, it counts %d, and refused %d times", traffic.Peers, went.Load(), refused.Load())
			}
			if !busy && (traffic.Peers > most+most/4 || traffic.Origin == 0) {
				t.Errorf("%d bytes came from it, %d from the origin", traffic.Peers, traffic.Origin)
			}
			t.Logf("%+v, %d refusals", traffic, refused.Load())
		})
	}
}
