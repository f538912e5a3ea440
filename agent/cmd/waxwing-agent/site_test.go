package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/waxwing-ota/waxwing/agent"
	"github.com/waxwing-ota/waxwing/agent/agenttest"
	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// TestBrokeredNeighboursShare starts devices that do not hear each other by mDNS, as each answers to another tag. Two are
// introduced to a third by the server; the fourth comes later and learns only from a refusal who holds what it asks for.
func TestBrokeredNeighboursShare(t *testing.T) {
	cloud := agenttest.NewCloud(t)
	var image []byte
	r := rand.New(rand.NewPCG(5, 6))
	for len(image) < 6<<20 {
		image = fmt.Appendf(image, "%x symbol_%d\n", r.Uint64(), r.IntN(1000))
	}
	const devices = 4
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for n := range devices {
		dir, name := t.TempDir(), fmt.Sprintf("d-%d", n+1)
		if n < devices-1 {
			cloud.Member(name, "all")
		}
		c, err := agent.Enroll(ctx, agent.Enrollment{
			Server: cloud.URL, Token: cloud.CA.Token(), Dir: dir, ID: name, Hardware: "qemu-arm64", Virtual: true, SlotSize: 8 << 20,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.PollSeconds, c.Fleet = 1, name
		if err := c.Save(dir); err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := life(ctx, t, filepath.Join(dir, agent.ConfigFile)); err != nil && !errors.Is(err, agent.ErrReboot) {
					t.Error(err)
					return
				}
			}
		})
	}
	at := map[string]protocol.Peer{}
	for n := range devices {
		name := fmt.Sprintf("d-%d", n+1)
		r := cloud.Await("where it listens", func(r protocol.Report) bool {
			return r.Device == name && r.Mesh != nil && r.Mesh.Share
		})
		at[name] = protocol.Peer{Device: name, Addresses: r.Mesh.Addresses}
	}
	cloud.Introduce("d-1", at["d-3"])
	cloud.Introduce("d-2", at["d-3"])
	cloud.Await("all three are in sight", func(r protocol.Report) bool { return r.Device == "d-3" && r.Neighbors >= 2 })

	listens := func(device string) []netip.AddrPort { // since its last reboot
		for _, r := range slices.Backward(cloud.Reports()) {
			if r.Device == device && r.Mesh != nil && r.Mesh.Share {
				return protocol.ParseAddresses(r.Mesh.Addresses)
			}
		}
		return nil
	}
	// Whoever asks first holds a chunk for the fourth, and the fourth for nobody.
	var mu sync.Mutex
	first := map[string]string{}
	var refused int
	cloud.Lease(func(device, what string, isolated []string) *protocol.Holder {
		mu.Lock()
		defer mu.Unlock()
		holder, held := first[what]
		if device != "d-4" || !held || slices.Contains(isolated, holder) {
			first[what] = device
			return nil
		}
		if holder == "d-4" {
			return nil
		}
		refused++
		return &protocol.Holder{Device: holder, Addresses: listens(holder)}
	})
	cloud.Wish(cloud.Publish("1.0.0", 1, "qemu-arm64", bytes.Clone(image)), nil)
	committed := func(name string) protocol.Bytes {
		r := cloud.Await("committed", func(r protocol.Report) bool {
			return r.Device == name && r.Update != nil && r.Update.Phase == protocol.Committed
		})
		t.Logf("%s: %+v", name, r.Update.Bytes)
		return r.Update.Bytes
	}
	for n := range devices - 1 {
		name := fmt.Sprintf("d-%d", n+1)
		committed(name)
		cloud.Await("where it listens", func(r protocol.Report) bool {
			return r.Device == name && r.Mesh != nil && r.Mesh.Share && r.Running.Version == "1.0.0"
		})
	}
	if all, distinct := cloud.Chunks(), cloud.Distinct(); all > 2*distinct {
		t.Errorf("%d chunks were served, there are %d", all, distinct)
	}
	before := cloud.Chunks()
	cloud.Member("d-4", "all")
	late := committed("d-4")
	mu.Lock()
	defer mu.Unlock()
	t.Logf("%d chunks were asked of the server, there are %d; %d times one was held", cloud.Chunks(), cloud.Distinct(), refused)
	if refused == 0 || late.Peers == 0 || cloud.Chunks()-before > 3*cloud.Distinct()/10 {
		t.Errorf("the fourth was refused %d chunks and served %d; %d bytes came from neighbours", refused, cloud.Chunks()-before, late.Peers)
	}
}
