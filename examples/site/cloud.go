package site

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	network "github.com/waxwing-ota/waxwing/mesh/meshtest/site"
	"github.com/waxwing-ota/waxwing/server/api/client"
)

const (
	product    = "site"
	hardware   = "virtual"
	operator   = "127.0.0.1:8080" // within the cloud
	deviceAddr = network.CloudAddr + ":8443"
)

// cloud is a server in the cloud, and the way of its operator to it.
type cloud struct {
	at     *network.Namespace
	bin    string
	dir    string
	token  string
	http   *http.Client
	api    *client.ClientWithResponses
	server *program
}

func newCloud(ctx context.Context, at *network.Namespace, bin, dir string) (*cloud, error) {
	c := &cloud{at: at, bin: bin, dir: dir, http: &http.Client{Transport: &http.Transport{DialContext: at.Dial}}}
	data := filepath.Join(dir, "server")
	var err error
	c.server, err = start(at, dir, "server", exec.Command(filepath.Join(bin, "waxwing-server"), //nolint:noctx // stop ends it
		"--data", data, "--advertise", network.CloudAddr, "--operator-listen", operator, "--device-listen", deviceAddr,
		"--mqtt-listen", network.CloudAddr+":8883", "--patch-workers", "-1"))
	if err != nil {
		return nil, err
	}
	if err := await(ctx, "the server", 30*time.Second, func() (bool, error) {
		if c.server.ended() {
			return false, fmt.Errorf("it ended: %w", c.server.err)
		}
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+operator+"/healthz", nil)
		if err != nil {
			return false, err
		}
		r, err := c.http.Do(q)
		if err != nil {
			return false, err
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK, nil
	}); err != nil {
		return c, err
	}
	token, err := os.ReadFile(filepath.Join(data, "admin.token"))
	if err != nil {
		return c, err
	}
	c.token = strings.TrimSpace(string(token))
	c.api, err = client.NewClientWithResponses("http://"+operator+"/api/v1", client.WithHTTPClient(c.http),
		client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+c.token)
			return nil
		}))
	return c, err
}

// waxwing runs the command line in the cloud and reads what it says in JSON.
func (c *cloud) waxwing(ctx context.Context, into any, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, "waxwing"), append(args, "-o", "json")...)
	cmd.Env = append(os.Environ(), "WAXWING_SERVER=http://"+operator, "WAXWING_TOKEN="+c.token, "XDG_CONFIG_HOME="+c.dir)
	var out, words strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &words
	cmd.WaitDelay = 5 * time.Second
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	if err := c.at.Run(cmd); err != nil {
		return fmt.Errorf("waxwing %s: %w: %s", strings.Join(args, " "), err, words.String())
	}
	if err := json.Unmarshal([]byte(out.String()), into); err != nil {
		return fmt.Errorf("waxwing %s: %w: %s", strings.Join(args, " "), err, out.String())
	}
	return nil
}

// enrolment makes a token for devices.
func (c *cloud) enrolment(ctx context.Context) (string, error) {
	var made struct{ Secret string }
	err := c.waxwing(ctx, &made, "token", "create", "--note", "the devices of the site")
	return made.Secret, err
}

// release publishes an image.
func (c *cloud) release(ctx context.Context, version, image string) error {
	var made client.Release
	return c.waxwing(ctx, &made, "release", "create", "--product", product, "--version", version, "--hardware", hardware, "--image", image)
}

// rollOut starts a rollout to every device at once and returns its id.
func (c *cloud) rollOut(ctx context.Context, version string) (string, error) {
	var made client.Rollout
	err := c.waxwing(ctx, &made, "rollout", "create", "--product", product, "--version", version, "--stages", "100%", "--abort-percent", "100")
	return made.Id, err
}

// statuses returns where each device of a rollout stands.
func (c *cloud) statuses(ctx context.Context, id string) (map[string]client.RolloutDevice, error) {
	size := 200
	r, err := c.api.ListRolloutDevicesWithResponse(ctx, id, &client.ListRolloutDevicesParams{PageSize: &size})
	if err != nil {
		return nil, err
	}
	if r.JSON200 == nil {
		return nil, fmt.Errorf("devices of the rollout: %s", r.Body)
	}
	out := map[string]client.RolloutDevice{}
	for _, d := range r.JSON200.Items {
		out[d.Id] = d
	}
	return out, nil
}

// device returns what the server knows of a device.
func (c *cloud) device(ctx context.Context, id string) (*client.Device, error) {
	r, err := c.api.GetDeviceWithResponse(ctx, id)
	if err == nil && r.JSON200 == nil {
		err = fmt.Errorf("device %s: %s", id, r.Body)
	}
	if err != nil {
		return nil, err
	}
	return r.JSON200, nil
}

// offences returns what a device says that others did.
func (c *cloud) offences(ctx context.Context, id string) ([]client.Offence, error) {
	d, err := c.device(ctx, id)
	if err != nil || d.Offences == nil {
		return nil, err
	}
	return *d.Offences, nil
}

// keeps reports whether a depot has said that it keeps a version.
func (c *cloud) keeps(ctx context.Context, id, version string) (bool, error) {
	d, err := c.device(ctx, id)
	switch {
	case err != nil:
		return false, err
	case d.Depot == nil:
		return false, fmt.Errorf("%s has not said that it is a depot", id)
	case d.Depot.Trouble != nil:
		return false, errors.New(*d.Depot.Trouble)
	}
	return slices.Contains(d.Depot.Releases, client.KeptRelease{Product: product, Version: version}), nil
}

// why says in words why a device stands where it does.
func why(d client.RolloutDevice) string {
	var out []string
	for _, s := range []*string{d.Reason, d.Detail} {
		if s != nil {
			out = append(out, *s)
		}
	}
	return strings.Join(out, ": ")
}

// online returns how many devices are connected.
func (c *cloud) online(ctx context.Context) (int, error) {
	o, err := c.api.GetOverviewWithResponse(ctx)
	switch {
	case err != nil:
		return 0, err
	case o.JSON200 == nil:
		return 0, fmt.Errorf("overview: %s", o.Body)
	}
	return o.JSON200.Online, nil
}

// await polls a condition until it holds.
func await(ctx context.Context, what string, most time.Duration, holds func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	var last error
	for {
		ok, err := holds()
		if ok {
			return nil
		}
		if err != nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s: not within %s", what, most), last)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
