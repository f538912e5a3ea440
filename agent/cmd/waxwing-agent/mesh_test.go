package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/waxwing-ota/waxwing/agent"
	"github.com/waxwing-ota/waxwing/agent/agenttest"
	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// TestNeighboursShare starts three devices together, which find each other on the loopback interface. Together they ask the
// server for little more than one copy. Then they upgrade by patches, which they pass on too.
func TestNeighboursShare(t *testing.T) {
	cloud := agenttest.NewCloud(t)
	image := make([]byte, 0, 6<<20)
	r := rand.New(rand.NewPCG(3, 4))
	for len(image) < 6<<20 {
		image = fmt.Appendf(image, "%x symbol_%d\n", r.Uint64(), r.IntN(1000))
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	const devices = 3
	var begin [devices]func() (stop func())
	var last string // configuration
	for n := range devices {
		dir, name := t.TempDir(), fmt.Sprintf("d-%d", n+1)
		cloud.Member(name, "all")
		c, err := agent.Enroll(ctx, agent.Enrollment{
			Server: cloud.URL, Token: cloud.CA.Token(), Dir: dir, ID: name, Hardware: "qemu-arm64", Virtual: true, SlotSize: 8 << 20,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.PollSeconds = 1
		if err := c.Save(dir); err != nil {
			t.Fatal(err)
		}
		last = filepath.Join(dir, agent.ConfigFile)
		begin[n] = func() func() {
			ctx, stop := context.WithCancel(ctx)
			done := make(chan struct{})
			wg.Go(func() {
				defer close(done)
				for ctx.Err() == nil {
					if err := life(ctx, t, filepath.Join(dir, agent.ConfigFile)); err != nil && !errors.Is(err, agent.ErrReboot) {
						t.Error(err)
						return
					}
				}
			})
			return func() { stop(); <-done }
		}
	}
	begin[0]()
	begin[1]()
	stopLast := begin[2]()
	for n := range devices {
		cloud.Await("a start", func(r protocol.Report) bool { return r.Device == fmt.Sprintf("d-%d", n+1) })
	}
	committed := func(version string, devices ...int) (peers int64) {
		for _, n := range devices {
			r := cloud.Await(version, func(r protocol.Report) bool {
				return r.Device == fmt.Sprintf("d-%d", n+1) && r.Update != nil && r.Update.Version == version && r.Update.Phase == protocol.Committed
			})
			peers += r.Update.Bytes.Peers
			var named int64
			for _, s := range r.Update.Sources {
				if s.Device != "" {
					named += s.Bytes
				}
			}
			if named != r.Update.Bytes.Peers || len(r.Update.Sources) == 0 {
				t.Errorf("%s: %d bytes came from neighbours, %d are told of: %+v", r.Device, r.Update.Bytes.Peers, named, r.Update.Sources)
			}
			t.Logf("%s: %+v", r.Device, r.Update.Bytes)
		}
		return peers
	}
	cloud.Wish(cloud.Publish("1.0.0", 1, "qemu-arm64", bytes.Clone(image)), nil)
	peers := committed("1.0.0", 0, 1, 2)
	if all, distinct := cloud.Chunks(), cloud.Distinct(); all > 2*distinct || peers == 0 {
		t.Errorf("%d chunks were asked of the server, there are %d; %d bytes came from neighbours", all, distinct, peers)
	}

	next := bytes.Clone(image)
	for at := 100; at < len(next); at += 20 << 10 { // no chunk is as it was
		copy(next[at:], "anew")
	}
	release := cloud.Publish("1.1.0", 2, "qemu-arm64", next)
	pack := cloud.Pack(image, next)
	before := cloud.Chunks()
	stopLast()
	cloud.Wish(release, nil)
	if peers := committed("1.1.0", 0, 1); peers == 0 || peers > 2*pack.Size {
		t.Errorf("%d bytes came from neighbours; the patches have %d, the chunks %d", peers, pack.Size, len(next))
	}
	begin[2]() // the next stage: the others have restarted
	if peers := committed("1.1.0", 2); peers == 0 || peers > pack.Size {
		t.Errorf("%d bytes came from neighbours to a late one; the patches have %d, the chunks %d", peers, pack.Size, len(next))
	}
	var out, words bytes.Buffer
	if code := program([]string{"status", "--config", last}, &out, &words); code != 0 || !strings.Contains(out.String(), "chunks in") {
		t.Errorf("status ends with %d and does not say where it came from:\n%s%s", code, out.String(), words.String())
	}
	if all := cloud.Chunks() - before; all > 10 {
		t.Errorf("%d chunks were asked of the server for a release that is patches", all)
	}
}

// life is one run of a device, from power-on to reboot.
func life(ctx context.Context, t *testing.T, path string) error {
	c, err := agent.LoadConfig(path)
	if err != nil {
		return err
	}
	id, err := agent.LoadIdentity(c.Path(""))
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil)).With("device", c.Device)
	a, err := agent.New(agent.Options{
		Config: c, Identity: id, Version: "test", Log: log,
		Neighbors: func(o agent.Sources) (agent.Neighbors, error) { return newMesh(c, id, o, log) },
	})
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
