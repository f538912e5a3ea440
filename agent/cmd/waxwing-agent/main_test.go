package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/waxwing-ota/waxwing/agent"
	"github.com/waxwing-ota/waxwing/agent/agenttest"
	"github.com/waxwing-ota/waxwing/agent/protocol"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"waxwing-agent": main}) }

// TestScripts plays testdata/*.txtar. Beside the usual words there are, against a cloud of the script's own:
//
//	publish VERSION COUNTER      a release of some text, wished of everybody
//	await PHASE VERSION          until a report says so
//	sigkill DIR                  ends the agent of a folder while it downloads
//	quick DIR                    poll each second, no mesh
func TestScripts(t *testing.T) {
	clouds := map[string]*agenttest.Cloud{}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			c := agenttest.NewCloud(t)
			clouds[e.WorkDir] = c
			e.Setenv("SERVER", c.URL)
			e.Setenv("TOKEN", c.CA.Token())
			e.Setenv("BAD", agenttest.NewCA(t).Token())
			e.Defer(c.Stop)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"publish": func(s *testscript.TestScript, _ bool, args []string) {
				c := clouds[s.Getenv("WORK")]
				text := strings.Repeat("release "+args[0]+"\n", 1<<16)
				for i := range 2000 {
					text += fmt.Sprintf("%s line %d %x\n", args[0], i, i*i*i*7919)
				}
				counter := uint64(len(args[1]))
				c.Member("d-1", "all")
				c.Wish(c.Publish(args[0], counter, "qemu-arm64", []byte(text)), nil)
			},
			"await": func(s *testscript.TestScript, _ bool, args []string) {
				clouds[s.Getenv("WORK")].Await(strings.Join(args, " "), func(r protocol.Report) bool {
					return r.Update != nil && string(r.Update.Phase) == args[0] && r.Update.Version == args[1]
				})
			},
			"sigkill": func(s *testscript.TestScript, _ bool, args []string) { kill(s, clouds[s.Getenv("WORK")], args[0]) },
			"quick": func(s *testscript.TestScript, _ bool, args []string) {
				dir := s.MkAbs(args[0])
				c, err := agent.LoadConfig(filepath.Join(dir, agent.ConfigFile))
				s.Check(err)
				c.PollSeconds, c.Mesh.Off = 1, true
				s.Check(c.Save(dir))
			},
		},
	})
}

// kill waits until the agent has asked for some chunks, and ends it with SIGKILL in the middle of the next one.
func kill(s *testscript.TestScript, c *agenttest.Cloud, dir string) {
	reached, release := make(chan struct{}), make(chan struct{})
	var seen atomic.Int32
	c.Gate(func(path string) {
		if strings.HasPrefix(path, "chunks/") && seen.Add(1) == 3 {
			close(reached)
			<-release
		}
	})
	select {
	case <-reached:
	case <-time.After(30 * time.Second):
		s.Fatalf("the agent does not download")
	}
	b, err := os.ReadFile(filepath.Join(s.MkAbs(dir), agent.StatusFile))
	s.Check(err)
	var st agent.Status
	s.Check(json.Unmarshal(b, &st))
	s.Check(syscall.Kill(st.PID, syscall.SIGKILL))
	close(release)
	c.Gate(nil)
}
