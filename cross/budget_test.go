package cross_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/cross/needs"
)

// build runs cross/build.sh for some targets and returns the folder with the results.
func build(t *testing.T, targets ...string) string {
	t.Helper()
	out := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "./build.sh", append([]string{"test"}, targets...)...)
	cmd.Env = append(os.Environ(), "OUT="+out)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return out
}

// maxARMv7 is the size of the stripped agent for armv7, in bytes. What a device stores twice and every update of the agent
// itself carries; small is also small in memory. Raise it only with a reason.
const maxARMv7 = 10_500_000

func TestAgentSizeAndReproducible(t *testing.T) {
	first, second := build(t, "armv7", "arm64"), build(t, "armv7")
	agent := filepath.Join("armv7", "waxwing-agent")
	a, err := os.ReadFile(filepath.Join(first, agent))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(second, agent))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("two builds of the same source differ")
	}
	if len(a) > maxARMv7 {
		t.Errorf("the armv7 agent has %d bytes, over %d", len(a), maxARMv7)
	}
	t.Logf("the armv7 agent has %d bytes", len(a))
	for target, qemu := range map[string]string{"armv7": "qemu-arm-static", "arm64": "qemu-aarch64-static"} {
		t.Run(target, func(t *testing.T) { runs(t, qemu, filepath.Join(first, target, "waxwing-agent")) })
	}
}

// runs starts a foreign agent under qemu: it must tell its version, and doctor must find what is wrong with nothing.
func runs(t *testing.T, qemu, agent string) {
	path, err := exec.LookPath(qemu)
	if err != nil {
		needs.Lack(t, fmt.Sprintf("%s is not installed; `make deps` installs it", qemu))
	}
	b, err := exec.CommandContext(t.Context(), path, agent, "--version").CombinedOutput()
	if err != nil || !strings.Contains(string(b), "test") {
		t.Fatalf("--version: %v\n%s", err, b)
	}
	config := filepath.Join(t.TempDir(), "agent.json")
	b, err = exec.CommandContext(t.Context(), path, agent, "doctor", "--config", config).CombinedOutput()
	if err == nil || !strings.Contains(string(b), "enroll") {
		t.Fatalf("doctor without a configuration must fail and name enroll: %v\n%s", err, b)
	}
}

// TestAgentLinks holds what must stay out of the agent, each with its reason.
func TestAgentLinks(t *testing.T) {
	b, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "../agent/cmd/waxwing-agent").Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(b))
	for pattern, reason := range map[string]string{
		`^go\.etcd\.io/`:                                         "the store is the server's",
		`^google\.golang\.org/grpc`:                              "nothing on a device speaks gRPC",
		`^github\.com/labstack/echo`:                             "net/http is enough for a device",
		`^github\.com/spf13/cobra`:                               "flag is enough for four commands",
		`^github\.com/prometheus/client_`:                        "2 MB; a device reports by MQTT",
		`^github\.com/PlakarKorp/`:                               "only publishers cut payloads",
		`^github\.com/waxwing-ota/waxwing/server`:                "a device does not know the server's inside",
		`^github\.com/waxwing-ota/waxwing/firmware/chunker`:      "only publishers cut payloads",
		`^github\.com/waxwing-ota/waxwing/firmware/patch/encode`: "only publishers make patches",
		`^github\.com/waxwing-ota/waxwing/signing/repository`:    "devices verify, they do not publish",
		`^github\.com/theupdateframework/`:                       "signing/trust/tuf has the rules; go-tuf links protobuf, 1.8 MB",
		`^testing$`:                                              "tests stay in tests",
	} {
		for _, d := range deps {
			if regexp.MustCompile(pattern).MatchString(d) {
				t.Errorf("the agent links %s: %s", d, reason)
			}
		}
	}
}

// TestDebianPackage packs the armv7 agent and looks inside.
func TestDebianPackage(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		needs.Lack(t, "dpkg-deb is missing; `make deps` installs it on Debian")
	}
	agents := build(t, "amd64")
	out := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "go", "tool", "-modfile=cross/tools.mod", "nfpm", "package",
		"--config", "cross/nfpm.yaml", "--packager", "deb", "--target", out)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "VERSION=1.2.3", "DEB_ARCH=amd64", "TARGET=amd64", "AGENTS="+agents)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	debs, _ := filepath.Glob(filepath.Join(out, "*.deb"))
	if len(debs) != 1 {
		t.Fatalf("packages: %v", debs)
	}
	b, err := exec.CommandContext(t.Context(), "dpkg-deb", "--contents", debs[0]).CombinedOutput()
	for _, want := range []string{"./usr/bin/waxwing-agent", "./usr/lib/systemd/system/waxwing-agent.service", "./var/lib/waxwing"} {
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s is not in the package: %v\n%s", want, err, b)
		}
	}
}
