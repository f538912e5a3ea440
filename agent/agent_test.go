package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waxwing-ota/waxwing/agent/agenttest"
	"github.com/waxwing-ota/waxwing/agent/health"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/signing/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a cloud, maybe a broker, and one virtual device.
type bench struct {
	t      *testing.T
	cloud  *agenttest.Cloud
	broker *agenttest.Broker
	dir    string
	boots  atomic.Int32
	words  log
	near   func(Sources) (Neighbors, error) // may be nil
}

// log keeps what a device says.
type log struct {
	mu   sync.Mutex
	said strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.said.Write(b)
}

func (l *log) says(what string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.said.String(), what)
}

func newBench(t *testing.T, withBroker bool) *bench {
	t.Helper()
	b := &bench{t: t, cloud: agenttest.NewCloud(t), dir: t.TempDir()}
	_, err := Enroll(t.Context(), Enrollment{
		Server: b.cloud.URL, Token: b.cloud.CA.Token(), Dir: b.dir, ID: "d-1", Hardware: "qemu-arm64", Virtual: true, SlotSize: 16 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	if withBroker {
		b.broker = agenttest.NewBroker(t, b.cloud.CA)
		b.broker.Listen(protocol.ReportTopic("d-1"), func(m agenttest.Message) { b.cloud.Take(m.Payload) })
	}
	b.configure(func(c *Config) {
		c.PollSeconds = 1
		if withBroker {
			c.Brokers = []string{b.broker.URL()}
		}
	})
	return b
}

func (b *bench) configure(edit func(*Config)) {
	b.t.Helper()
	c, err := LoadConfig(filepath.Join(b.dir, ConfigFile))
	if err != nil {
		b.t.Fatal(err)
	}
	edit(c)
	if err := c.Save(b.dir); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) open() *Agent {
	b.t.Helper()
	c, err := LoadConfig(filepath.Join(b.dir, ConfigFile))
	if err != nil {
		b.t.Fatal(err)
	}
	id, err := LoadIdentity(b.dir)
	if err != nil {
		b.t.Fatal(err)
	}
	a, err := New(Options{Config: c, Identity: id, Version: "test", Neighbors: b.near, Log: slog.New(slog.NewTextHandler(io.MultiWriter(b.t.Output(), &b.words), nil))})
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// start runs the device, and runs it again after each reboot, until the test or stop ends it.
func (b *bench) start() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			b.boots.Add(1)
			if err := b.open().Run(ctx); err != nil && !errors.Is(err, ErrReboot) {
				b.t.Error(err)
				return
			}
		}
	}()
	stop = func() { cancel(); <-done }
	b.t.Cleanup(stop)
	return stop
}

func (b *bench) slot(name string, size int) []byte {
	b.t.Helper()
	content, err := os.ReadFile(filepath.Join(b.dir, "slot-"+name))
	if err != nil {
		b.t.Fatal(err)
	}
	return content[:size]
}

// payload returns text that compresses like a program does not, but is cut into many chunks.
func payload(seed uint64, size int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, 0, size+64)
	for len(b) < size {
		b = fmt.Appendf(b, "%x symbol_%d\n", r.Uint64(), r.IntN(1000))
	}
	return b[:size]
}

func reaches(phase protocol.Phase, version string) func(protocol.Report) bool {
	return func(r protocol.Report) bool {
		return r.Update != nil && r.Update.Phase == phase && r.Update.Version == version
	}
}

func TestTwoReleases(t *testing.T) {
	b := newBench(t, true)
	one := payload(1, 3<<20)
	two := bytes.Clone(one)
	copy(two[1<<20:], payload(2, 100<<10))
	first := b.cloud.Publish("1.0.0", 1, "qemu-arm64", one)
	b.broker.Publish(protocol.DevicePolicyTopic("d-1"), fmt.Appendf(nil, `{"membership":%s}`, b.cloud.Member("d-1", "all")))
	b.broker.Publish(protocol.GroupPolicyTopic("all"), b.cloud.Wish(first, nil))
	b.start()
	r := b.cloud.Await("1.0.0 is committed", reaches(protocol.Committed, "1.0.0"))
	if r.Running.Slot != "b" || r.Running.SHA256 != first.SHA256 || r.Running.Version != "1.0.0" || r.Update.Bytes.Done != int64(len(one)) {
		t.Errorf("%+v", r)
	}
	if !bytes.Equal(b.slot("b", len(one)), one) {
		t.Error("slot b holds something else")
	}
	before := b.cloud.Chunks()
	second := b.cloud.Publish("1.1.0", 2, "qemu-arm64", two)
	b.broker.Publish(protocol.GroupPolicyTopic("all"), b.cloud.Wish(second, nil))
	r = b.cloud.Await("1.1.0 is committed", reaches(protocol.Committed, "1.1.0"))
	if r.Running.Slot != "a" || !bytes.Equal(b.slot("a", len(two)), two) {
		t.Errorf("%+v", r.Running)
	}
	by := r.Update.Bytes
	if n := b.cloud.Chunks() - before; n == 0 || n > 12 || by.Reused < int64(len(two))/2 || by.Origin == 0 || by.Origin > 1<<20 {
		t.Errorf("%d chunks were fetched; %+v", n, by)
	}
	for _, p := range []protocol.Phase{protocol.Downloading, protocol.Rebooting} {
		if r.Update.Millis[p] <= 0 {
			t.Errorf("no time was spent %s: %v", p, r.Update.Millis)
		}
	}
	var last uint64
	for _, r := range b.cloud.Reports() {
		if r.Seq <= last && r.Seq != 0 {
			t.Errorf("report %d after %d", r.Seq, last)
		}
		last = max(last, r.Seq)
	}
}

func TestABadReleaseGoesBack(t *testing.T) {
	b := newBench(t, true)
	b.configure(func(c *Config) {
		c.Probes = []health.Probe{{Name: "app", Command: []string{"sh", "-c", `test "$WAXWING_VERSION" != 1.2.0 || { echo no database; false; }`}}}
	})
	b.broker.Publish(protocol.DevicePolicyTopic("d-1"), fmt.Appendf(nil, `{"membership":%s}`, b.cloud.Member("d-1", "all")))
	good := b.cloud.Publish("1.1.0", 1, "qemu-arm64", payload(1, 1<<20))
	b.broker.Publish(protocol.GroupPolicyTopic("all"), b.cloud.Wish(good, nil))
	b.start()
	b.cloud.Await("1.1.0 is committed", reaches(protocol.Committed, "1.1.0"))
	bad := b.cloud.Publish("1.2.0", 2, "qemu-arm64", payload(2, 1<<20))
	short := func(p *policy.Policy) { p.Health.DeadlineSeconds = 1 }
	b.broker.Publish(protocol.GroupPolicyTopic("all"), b.cloud.Wish(bad, short))
	r := b.cloud.Await("1.2.0 is reverted", reaches(protocol.Reverted, "1.2.0"))
	if r.Running.Version != "1.1.0" || r.Update.Reason != protocol.ReasonProbe || !strings.Contains(r.Update.Detail, "no database") {
		t.Errorf("%+v %+v", r.Running, r.Update)
	}
	// The next stage signs a new policy; the device has had enough of this release.
	boots := b.boots.Load()
	b.broker.Publish(protocol.GroupPolicyTopic("all"), b.cloud.Wish(bad, short))
	better := b.cloud.Publish("1.3.0", 3, "qemu-arm64", payload(3, 1<<20))
	b.broker.Publish(protocol.GroupPolicyTopic("all"), b.cloud.Wish(better, nil))
	b.cloud.Await("1.3.0 is committed", reaches(protocol.Committed, "1.3.0"))
	if n := b.boots.Load() - boots; n != 1 {
		t.Errorf("%d boots", n)
	}
}

func TestWithoutABroker(t *testing.T) {
	b := newBench(t, false)
	b.cloud.Member("d-1", "all")
	b.cloud.Wish(b.cloud.Publish("1.0.0", 1, "qemu-arm64", payload(1, 1<<20)), nil)
	b.start()
	b.cloud.Await("1.0.0 is committed", reaches(protocol.Committed, "1.0.0"))
}

func TestTheBrokerGoesAway(t *testing.T) {
	b := newBench(t, true)
	b.broker.Publish(protocol.DevicePolicyTopic("d-1"), fmt.Appendf(nil, `{"membership":%s}`, b.cloud.Member("d-1", "all")))
	b.start()
	b.cloud.Await("anything", func(protocol.Report) bool { return true })
	b.broker.Stop()
	b.cloud.Wish(b.cloud.Publish("1.0.0", 1, "qemu-arm64", payload(1, 1<<20)), nil)
	b.cloud.Await("1.0.0 is committed", reaches(protocol.Committed, "1.0.0"))
	b.broker.Start()
}

// A broker acknowledges reports also when the server is not there to read them. As long as nothing is heard from the
// server, they go by HTTPS; and when it appears, it is told where things stand.
func TestABrokerWithoutTheServer(t *testing.T) {
	b := newBench(t, false)
	broker := agenttest.NewBroker(t, b.cloud.CA)
	b.configure(func(c *Config) { c.Brokers = []string{broker.URL()} })
	online := make(chan struct{}, 16)
	broker.Listen(protocol.PresenceTopic("d-1"), func(agenttest.Message) { online <- struct{}{} })
	member := b.cloud.Member("d-1", "all")
	b.start()
	<-online
	b.cloud.Wish(b.cloud.Publish("1.0.0", 1, "qemu-arm64", payload(1, 1<<20)), nil)
	b.cloud.Await("1.0.0 is committed", reaches(protocol.Committed, "1.0.0"))

	told := make(chan agenttest.Message, 16)
	broker.Listen(protocol.ReportTopic("d-1"), func(m agenttest.Message) { told <- m })
	for range 2 { // the second time it says nothing new: it has come back
		broker.Publish(protocol.DevicePolicyTopic("d-1"), fmt.Appendf(nil, `{"membership":%s}`, member))
		select {
		case m := <-told:
			if !strings.Contains(string(m.Payload), `"committed"`) {
				t.Errorf("it is told %s", m.Payload)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("the server is told nothing")
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		hardware string
		size     int
		edit     func(*policy.Policy)
		want     protocol.Reason
	}{
		"hardware":      {"other", 100 << 10, nil, protocol.ReasonHardware},
		"too large":     {"qemu-arm64", 17 << 20, nil, protocol.ReasonTooLarge},
		"other planes":  {"qemu-arm64", 100 << 10, func(p *policy.Policy) { p.Release.SHA256[0] ^= 1 }, protocol.ReasonPlaneMismatch},
		"unknown probe": {"qemu-arm64", 100 << 10, func(p *policy.Policy) { p.Health.Probes = []string{"nobody"} }, protocol.ReasonProbe},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, false)
			b.cloud.Member("d-1", "all")
			b.cloud.Wish(b.cloud.Publish("1.0.0", 1, c.hardware, payload(1, c.size)), c.edit)
			b.start()
			r := b.cloud.Await("it failed", reaches(protocol.Failed, "1.0.0"))
			if r.Update.Reason != c.want || r.Running.Slot != "a" || r.Update.Detail == "" {
				t.Errorf("%+v", r.Update)
			}
			if b.cloud.Chunks() > 0 || b.boots.Load() != 1 {
				t.Error("it went further than it should")
			}
		})
	}
}

// TestKilledInTheMiddle ends the agent while it downloads. The next one fetches only what is not in the slot yet.
func TestKilledInTheMiddle(t *testing.T) {
	b := newBench(t, false)
	b.cloud.Member("d-1", "all")
	image := payload(1, 8<<20)
	b.cloud.Wish(b.cloud.Publish("1.0.0", 1, "qemu-arm64", image), nil)
	reached, release := make(chan struct{}), make(chan struct{})
	var seen atomic.Int32
	b.cloud.Gate(func(path string) {
		if strings.HasPrefix(path, "chunks/") && seen.Add(1) == 40 {
			close(reached)
			<-release
		}
	})
	stop := b.start()
	select {
	case <-reached:
	case <-time.After(30 * time.Second):
		t.Fatal("no download")
	}
	stop()
	close(release)
	first := b.cloud.Chunks()
	b.start()
	b.cloud.Await("1.0.0 is committed", reaches(protocol.Committed, "1.0.0"))
	if !bytes.Equal(b.slot("b", len(image)), image) {
		t.Error("slot b holds something else")
	}
	// What was under way when it was killed is fetched twice, and nothing else.
	if all, distinct := b.cloud.Chunks(), b.cloud.Distinct(); first < 40 || all > distinct+8 {
		t.Errorf("%d chunks were fetched, %d of them before the end; there are %d", all, first, distinct)
	}
}

func TestTheCertificateIsRenewed(t *testing.T) {
	b := newBench(t, false)
	a := b.open()
	before := a.Identity.Certificate().Leaf.SerialNumber
	if err := a.renewNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer a.origin.Close()
	again, err := LoadIdentity(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Certificate().Leaf.SerialNumber.Cmp(before) == 0 || b.cloud.Renewed() != 1 {
		t.Error("the old certificate is still there")
	}
	foreign := agenttest.NewCA(t)
	csr, err := Request(a.Identity.key, "d-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Identity.Replace(foreign.SignRequest("d-1", csr, time.Hour)); err == nil {
		t.Error("a certificate of another CA is taken")
	}
	if err := a.Identity.Replace(b.cloud.CA.SignRequest("d-2", csr, time.Hour)); err == nil {
		t.Error("a certificate of another device is taken")
	}
}

func TestOnlyOneAgentRuns(t *testing.T) {
	b := newBench(t, false)
	b.start()
	b.cloud.Await("anything", func(protocol.Report) bool { return true })
	if err := b.open().Run(t.Context()); !errors.Is(err, ErrRunning) {
		t.Error(err)
	}
}
