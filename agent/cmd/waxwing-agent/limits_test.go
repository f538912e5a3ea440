package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/agent"
	"github.com/waxwing-ota/waxwing/agent/agenttest"
	"github.com/waxwing-ota/waxwing/agent/limit"
	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// town is devices on the loopback interface that run until the test ends, and are started again after each reboot.
func town(t *testing.T, cloud *agenttest.Cloud, devices int, edit func(name string, c *agent.Config)) (paths map[string]string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	paths = map[string]string{}
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
		if edit != nil {
			edit(name, c)
		}
		if err := c.Save(dir); err != nil {
			t.Fatal(err)
		}
		paths[name] = filepath.Join(dir, agent.ConfigFile)
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := life(ctx, t, paths[name]); err != nil && !errors.Is(err, agent.ErrReboot) {
					t.Error(err)
					return
				}
			}
		})
	}
	for n := range devices {
		name := fmt.Sprintf("d-%d", n+1)
		cloud.Await("neighbours of "+name, func(r protocol.Report) bool { return r.Device == name && r.Neighbors == devices-1 })
	}
	return paths
}

func text(size int) []byte {
	image := make([]byte, 0, size)
	r := rand.New(rand.NewPCG(3, 4))
	for len(image) < size {
		image = fmt.Appendf(image, "%x symbol_%d\n", r.Uint64(), r.IntN(1000))
	}
	return image
}

// tomorrow is hours that do not hold now nor soon.
func tomorrow() []limit.Hours {
	minute := func(d time.Duration) int { at := time.Now().UTC().Add(d); return at.Hour()*60 + at.Minute() }
	return []limit.Hours{{Start: minute(6 * time.Hour), End: minute(7 * time.Hour)}}
}

func committed(cloud *agenttest.Cloud, name, version string) protocol.Report {
	return cloud.Await(name+" committed", func(r protocol.Report) bool {
		return r.Device == name && r.Update != nil && r.Update.Version == version && r.Update.Phase == protocol.Committed
	})
}

// TestAnUplinkThatIsClosed lets one of three devices update outside its hours: from its neighbours, without a chunk of the
// server, and nobody waits for it for ever.
func TestAnUplinkThatIsClosed(t *testing.T) {
	cloud := agenttest.NewCloud(t)
	town(t, cloud, 3, func(name string, c *agent.Config) {
		if name == "d-2" {
			c.Limits.Uplink.Hours = tomorrow()
		}
	})
	cloud.Wish(cloud.Publish("1.0.0", 1, "qemu-arm64", text(4<<20)), nil)
	for _, name := range []string{"d-1", "d-2", "d-3"} {
		r := committed(cloud, name, "1.0.0")
		for _, s := range r.Update.Sources {
			if name == "d-2" && s.Device == "" && s.Chunks > 0 {
				t.Errorf("%s had chunks of the server: %+v", name, s)
			}
		}
		if len(r.Offences) > 0 {
			t.Errorf("%s accuses %+v", name, r.Offences)
		}
		t.Logf("%s: %+v, %+v", name, r.Update.Bytes, r.Update.Sources)
	}
	if all, distinct := cloud.Chunks(), cloud.Distinct(); all > distinct+distinct/4 {
		t.Errorf("%d chunks were asked of the server, there are %d", all, distinct)
	}
}

// TestALANThatIsClosed holds that a device gives nothing to neighbours outside its hours, which is no offence, and says so.
func TestALANThatIsClosed(t *testing.T) {
	cloud := agenttest.NewCloud(t)
	paths := town(t, cloud, 2, func(name string, c *agent.Config) {
		if name == "d-1" {
			c.Limits.LAN.Hours = tomorrow()
		}
	})
	cloud.Wish(cloud.Publish("1.0.0", 1, "qemu-arm64", text(3<<20)), nil)
	for _, name := range []string{"d-1", "d-2"} {
		r := committed(cloud, name, "1.0.0")
		if len(r.Offences) > 0 || name == "d-2" && r.Update.Bytes.Peers > 0 {
			t.Errorf("%s: %+v, accuses %+v", name, r.Update.Bytes, r.Offences)
		}
		t.Logf("%s: %+v", name, r.Update.Bytes)
	}
	var out, words bytes.Buffer
	if err := status([]string{"--config", paths["d-1"]}, &out, &words); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	if strings.Contains(out.String(), "limits") { // nobody asked it for anything: it is not followed
		t.Error("a limit is said to hold something back")
	}
}

// TestStatusSaysUntilWhen shows a limit in the words of the device.
func TestStatusSaysUntilWhen(t *testing.T) {
	cloud, dir := agenttest.NewCloud(t), t.TempDir()
	if _, err := agent.Enroll(t.Context(), agent.Enrollment{
		Server: cloud.URL, Token: cloud.CA.Token(), Dir: dir, ID: "d-1", Hardware: "qemu-arm64", Virtual: true, SlotSize: 1 << 20,
	}); err != nil {
		t.Fatal(err)
	}
	said := "the uplink's limit of 200 MB an hour is used up until 15:00 UTC"
	b, err := json.Marshal(agent.Status{Report: protocol.Report{Device: "d-1", Limits: []protocol.Limit{{Of: protocol.LimitUplink, Detail: said}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, agent.StatusFile), b, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, words bytes.Buffer
	if err := status([]string{"--config", filepath.Join(dir, agent.ConfigFile)}, &out, &words); err != nil || !strings.Contains(out.String(), "limits      "+said) {
		t.Errorf("%v: %s", err, out.String())
	}
}
