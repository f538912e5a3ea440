package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/agent"
	"github.com/waxwing-ota/waxwing/agent/agenttest"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh"
)

// TestLiarIsReported puts a device beside one of its fleet that gives wrong bytes for whatever it is asked: the update
// succeeds, the server hears who it was, and status says it.
func TestLiarIsReported(t *testing.T) {
	cloud := agenttest.NewCloud(t)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	dirs := map[string]string{}
	for _, name := range []string{"d-1", "liar"} {
		dirs[name] = t.TempDir()
		c, err := agent.Enroll(ctx, agent.Enrollment{
			Server: cloud.URL, Token: cloud.CA.Token(), Dir: dirs[name], ID: name, Hardware: "qemu-arm64", Virtual: true, SlotSize: 8 << 20,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.PollSeconds = 1
		if err := c.Save(dirs[name]); err != nil {
			t.Fatal(err)
		}
	}
	c, err := agent.LoadConfig(filepath.Join(dirs["liar"], agent.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	id, err := agent.LoadIdentity(dirs["liar"])
	if err != nil {
		t.Fatal(err)
	}
	liar, err := mesh.New(mesh.Options{
		Device: "liar", Certificate: id.Certificate, FleetCA: id.Pool(), Fleet: c.Fleet, Interfaces: c.Mesh.Interfaces,
		Objects: func(firmware.Digest) []byte { return []byte("poison") },
	})
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { _ = liar.Run(ctx) })
	config := filepath.Join(dirs["d-1"], agent.ConfigFile)
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := life(ctx, t, config); err != nil && !errors.Is(err, agent.ErrReboot) {
				t.Error(err)
				return
			}
		}
	})
	cloud.Await("each other", func(r protocol.Report) bool { return r.Device == "d-1" && r.Neighbors == 1 })
	cloud.Member("d-1", "all")
	var image bytes.Buffer
	for i := range 40_000 {
		fmt.Fprintf(&image, "%x\n", i*i*7919)
	}
	cloud.Wish(cloud.Publish("1.0.0", 1, "qemu-arm64", image.Bytes()), nil)
	accuses := func(r protocol.Report) bool {
		return len(r.Offences) == 1 && r.Offences[0].Neighbor == "liar" && r.Offences[0].Kind == protocol.OffenceWrongBytes
	}
	cloud.Await("who lies", accuses)
	cloud.Await("committed", func(r protocol.Report) bool {
		return r.Update != nil && r.Update.Phase == protocol.Committed && accuses(r) // after the reboot as well
	})
	var out, words strings.Builder
	if code := program([]string{"status", "--config", config}, &out, &words); code != 0 || !strings.Contains(out.String(), "liar gave wrong bytes, ") {
		t.Errorf("%d %s%s", code, out.String(), words.String())
	}
}

func TestStatusShowsOffences(t *testing.T) {
	dir := t.TempDir()
	c := &agent.Config{
		Device: "d-1", Hardware: "hw", Server: "https://127.0.0.1:1", Slots: map[string]string{"a": "slot-a", "b": "slot-b"},
		Boot: agent.Boot{Kind: agent.BootEnvfile, Path: "boot.env"}, Reboot: []string{"exec"},
	}
	if err := c.Save(dir); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	all := []protocol.Offence{
		{Neighbor: "d-2", Kind: protocol.OffenceNoDeeds, Count: 1, Last: at},
		{Neighbor: "10.0.0.9", Kind: protocol.OffenceFlood, Count: 12, Last: at},
		{Neighbor: "d-3", Kind: "drips", Count: 2, Last: at},
	}
	b, err := json.Marshal(agent.Status{Report: protocol.Report{Device: "d-1", Offences: all}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, agent.StatusFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
	status := func(more ...string) string {
		t.Helper()
		var out, words strings.Builder
		if code := program(append([]string{"status", "--config", filepath.Join(dir, agent.ConfigFile)}, more...), &out, &words); code != 0 {
			t.Fatal(words.String())
		}
		return out.String()
	}
	want := `offences    d-2 did not give what it says it has, once, at 2026-01-02 03:04:05
            10.0.0.9 floods the LAN, or somebody in its name, 12 times, last at 2026-01-02 03:04:05
            d-3 drips, 2 times, last at 2026-01-02 03:04:05
`
	if got := status(); !strings.Contains(got, want) {
		t.Errorf("%s", got)
	}
	var s agent.Status
	if err := json.Unmarshal([]byte(status("-o", "json")), &s); err != nil || len(s.Report.Offences) != 3 {
		t.Error(s.Report.Offences, err)
	}
}
