package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/waxwing-ota/waxwing/mesh/discovery"
)

// TestMain makes this binary a device too: with WAXWING_TEST_PORT set it announces itself and prints whom it finds; for
// WAXWING_TEST_ROLE see play.
func TestMain(m *testing.M) {
	if role := os.Getenv("WAXWING_TEST_ROLE"); role != "" {
		if err := play(role); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	port, err := strconv.Atoi(os.Getenv("WAXWING_TEST_PORT"))
	if err != nil {
		goleak.VerifyTestMain(m)
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	defer stop()
	_ = discovery.Run(ctx, discovery.Options{
		Fleet: os.Getenv("WAXWING_TEST_FLEET"), Port: port, Interfaces: []string{"lo"}, Log: slog.New(slog.DiscardHandler),
	}, func(all []netip.AddrPort) { fmt.Println(all) })
}

// TestProcessesFindEachOther runs devices as processes of their own on loopback; another fleet's is not heard.
func TestProcessesFindEachOther(t *testing.T) {
	fleet := fmt.Sprintf("test-%d", os.Getpid())
	for port, fleet := range map[string]string{"41001": fleet, "41002": fleet, "41003": "other-" + fleet} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "WAXWING_TEST_PORT="+port, "WAXWING_TEST_FLEET="+fleet)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	var last []netip.AddrPort
	err := discovery.Run(ctx, discovery.Options{
		Fleet: fleet, Port: 41000, Interfaces: []string{"lo"}, Log: slog.New(slog.DiscardHandler),
	}, func(all []netip.AddrPort) {
		last = all
		if len(all) == 2 {
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("saw %v: %v", last, err)
	}
	if got := fmt.Sprint(last); !strings.Contains(got, ":41001") || !strings.Contains(got, ":41002") || strings.Contains(got, ":41003") {
		t.Fatalf("saw %s", got)
	}
}
