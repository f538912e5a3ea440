package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/server"
)

func TestFlags(t *testing.T) {
	for line, want := range map[string]error{
		"--nonsense":                            errUsage,
		"--data d --log-level loud":             errUsage,
		"":                                      server.ErrOptions,
		"--data d --operator-listen :80":        server.ErrOptions,
		"--data d --blob s3://bucket":           server.ErrOptions,
		"--data d --mqtt-broker mosquitto:8883": server.ErrOptions,
	} {
		c := command(io.Discard)
		c.SetArgs(strings.Fields(line))
		if err := c.ExecuteContext(t.Context()); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", line, err, want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	c := command(io.Discard)
	if err := c.ParseFlags([]string{"--data", "from-flag"}); err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{
		"WAXWING_SERVER_DATA": "from-environment", "WAXWING_SERVER_OPEN_REPO": "true", "WAXWING_SERVER_ETCD": "https://a:1,https://b:2",
	}
	lookup := func(name string) (string, bool) { v, ok := environment[name]; return v, ok }
	if err := fromEnvironment(c.Flags(), lookup); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"data": "from-flag", "open-repo": "true", "etcd": "[https://a:1,https://b:2]", "advertise": ""} {
		if got := c.Flag(name).Value.String(); got != want {
			t.Errorf("--%s is %q, want %q", name, got, want)
		}
	}
	environment["WAXWING_SERVER_MAX_IMAGE"] = "large"
	if err := fromEnvironment(c.Flags(), lookup); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), "WAXWING_SERVER_MAX_IMAGE") {
		t.Errorf("a wrong variable: %v", err)
	}
}
