package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/waxwing-ota/waxwing/agent"
	"github.com/waxwing-ota/waxwing/agent/agenttest"
	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// TestDepotServesItsSite lets a depot get a release before two devices are there; they ask the server for no chunk.
func TestDepotServesItsSite(t *testing.T) {
	cloud := agenttest.NewCloud(t)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	configs := map[string]string{}
	start := func(name string, e agent.Enrollment) {
		t.Helper()
		e.Server, e.Token, e.Dir, e.ID, e.Virtual, e.SlotSize = cloud.URL, cloud.CA.Token(), t.TempDir(), name, true, 8<<20
		cloud.Member(name, "all")
		c, err := agent.Enroll(ctx, e)
		if err != nil {
			t.Fatal(err)
		}
		c.PollSeconds = 1
		if err := c.Save(e.Dir); err != nil {
			t.Fatal(err)
		}
		configs[name] = filepath.Join(e.Dir, agent.ConfigFile)
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := life(ctx, t, configs[name]); err != nil && !errors.Is(err, agent.ErrReboot) {
					t.Error(err)
					return
				}
			}
		})
	}
	var image []byte
	r := rand.New(rand.NewPCG(7, 8))
	for len(image) < 6<<20 {
		image = fmt.Appendf(image, "%x symbol_%d\n", r.Uint64(), r.IntN(1000))
	}
	start("depot", agent.Enrollment{Hardware: "depot", Depot: true})
	cloud.Wish(cloud.Publish("1.0.0", 1, "qemu-arm64", image), nil)
	cloud.Await("kept", func(r protocol.Report) bool {
		return r.Device == "depot" && r.Mesh != nil && r.Mesh.Depot != nil && slices.ContainsFunc(r.Mesh.Depot.Releases, func(k protocol.Kept) bool {
			return k.Product == agenttest.Product && k.Version == "1.0.0"
		})
	})
	before := cloud.Chunks()
	if before != cloud.Distinct() {
		t.Errorf("the depot fetched %d chunks of %d", before, cloud.Distinct())
	}
	for _, name := range []string{"d-1", "d-2"} {
		start(name, agent.Enrollment{Hardware: "qemu-arm64"})
	}
	for _, name := range []string{"d-1", "d-2"} {
		r := cloud.Await("committed", func(r protocol.Report) bool {
			return r.Device == name && r.Update != nil && r.Update.Phase == protocol.Committed
		})
		t.Logf("%s: %+v", name, r.Update.Bytes)
	}
	if more := cloud.Chunks() - before; more > 0 {
		t.Errorf("%d chunks were asked of the server beside the depot", more)
	}
	var out, words strings.Builder
	if code := program([]string{"status", "--config", configs["depot"]}, &out, &words); code != 0 {
		t.Fatal(words.String())
	}
	if got := out.String(); !strings.Contains(got, "depot       1 releases, 6 of 8192 MiB\n            edge 1.0.0\n") || strings.Contains(got, "slot") {
		t.Error(got)
	}
	for _, f := range agent.Doctor(ctx, configs["depot"]) {
		if f.Grade == agent.Fail || strings.Contains(f.What, "slot") {
			t.Errorf("%+v", f)
		}
	}
}
