package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

// Product and hardware of the devices, and the first version.
const (
	Product  = "edge-gw"
	Hardware = "virtual"
	First    = "1.0.0"
)

// Options configure Start.
type Options struct {
	Bin     string    // folder of waxwing-server, waxwing and waxwing-agent
	Source  string    // a folder of this module, to build the images' agents from
	Dir     string    // for everything; empty: a temporary one, removed at the end
	Devices int       // 0: 8
	Out     io.Writer // for people
	Server  []string  // more flags of the server
	Image   int       // MiB of the file systems; 0: 80. Below 64 they hold a part of the files
	Noise   int       // MiB of each image that do not compress, and change in many places from version to version
	// Route returns the URL by which devices reach the device plane at a URL, such as that of a slow uplink; nil: the same.
	Route func(server string) (string, error)
}

// Fleet is a server and its devices.
type Fleet struct {
	URL    string // of the operator plane
	Token  string // of its administrator
	API    *client.ClientWithResponses
	Server *process
	Agents []*process // by device

	o       Options
	dir     string
	listens addresses
	remove  bool
	alone   map[string]int64 // version → bytes that one device alone has to fetch
	Cold    time.Duration    // from the start of the server to its first answer
}

// addresses is server.json.
type addresses struct {
	Operator string `json:"operator_url"`
	Device   string `json:"device_url"`
	MQTT     string `json:"mqtt_url"`
}

// Start begins a fleet: a server on free ports of loopback, and devices that are enrolled and running.
func Start(ctx context.Context, o Options) (*Fleet, error) {
	if o.Devices == 0 {
		o.Devices = 8
	}
	if o.Image == 0 {
		o.Image = 80
	}
	f := &Fleet{o: o, dir: o.Dir, Agents: make([]*process, o.Devices), alone: map[string]int64{}}
	if f.dir == "" {
		dir, err := os.MkdirTemp("", "waxwing-")
		if err != nil {
			return nil, err
		}
		f.dir, f.remove = dir, true
	}
	if err := f.begin(ctx); err != nil {
		return nil, errors.Join(err, f.Stop())
	}
	return f, nil
}

func (f *Fleet) begin(ctx context.Context) error {
	if err := f.StartServer(ctx); err != nil {
		return err
	}
	secret, err := f.run(ctx, "token", "create", "--note", "the devices of this fleet", "-o", "json")
	if err != nil {
		return fmt.Errorf("token create: %w", err)
	}
	var made struct{ Secret string }
	if err := json.Unmarshal([]byte(secret), &made); err != nil {
		return fmt.Errorf("token create -o json: %w: %s", err, secret)
	}
	for i := range f.Agents {
		if err := f.enroll(ctx, i, made.Secret); err != nil {
			return err
		}
		if err := f.StartAgent(i); err != nil {
			return err
		}
	}
	return await(ctx, "all devices online", 30*time.Second, func() (bool, error) {
		o, err := f.API.GetOverviewWithResponse(ctx)
		return err == nil && o.JSON200 != nil && o.JSON200.Online == len(f.Agents), err
	})
}

// StartServer starts the server, or starts it again on the addresses that it had.
func (f *Fleet) StartServer(ctx context.Context) error {
	data := filepath.Join(f.dir, "server")
	ready := filepath.Join(data, "server.json")
	if err := os.Remove(ready); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	args := []string{"--data", data, "--advertise", "127.0.0.1"}
	for flag, url := range map[string]string{
		"--operator-listen": f.listens.Operator, "--device-listen": f.listens.Device, "--mqtt-listen": f.listens.MQTT,
	} {
		_, at, _ := strings.Cut(url, "://")
		if at == "" {
			at = "127.0.0.1:0"
		}
		args = append(args, flag, at)
	}
	began := time.Now()
	var err error
	if f.Server, err = f.start("server", "waxwing-server", append(args, f.o.Server...)...); err != nil {
		return err
	}
	err = await(ctx, "the server", 30*time.Second, func() (bool, error) {
		select {
		case <-f.Server.done:
			return false, fmt.Errorf("it ended: %w; see %s/server.log", f.Server.err, f.dir)
		default:
		}
		b, err := os.ReadFile(ready)
		if err != nil || json.Unmarshal(b, &f.listens) != nil {
			return false, err
		}
		r, err := http.Get(f.listens.Operator + "/healthz") //nolint:noctx // a moment on loopback
		if err != nil {
			return false, err
		}
		defer r.Body.Close()
		return r.StatusCode == http.StatusOK, nil
	})
	if err != nil {
		return err
	}
	f.Cold = time.Since(began)
	token, err := os.ReadFile(filepath.Join(data, "admin.token"))
	if err != nil {
		return err
	}
	f.URL, f.Token = f.listens.Operator, strings.TrimSpace(string(token))
	f.API, err = client.NewClientWithResponses(f.URL+"/api/v1", client.WithRequestEditorFn(
		func(_ context.Context, r *http.Request) error {
			r.Header.Set("Authorization", "Bearer "+f.Token)
			return nil
		}))
	return err
}

// Device names the device at an index.
func Device(i int) string { return fmt.Sprintf("device-%d", i+1) }

// enroll makes a device's folder and tells its agent how this fleet's devices are probed and where their neighbours are.
func (f *Fleet) enroll(ctx context.Context, i int, token string) error {
	dir := filepath.Join(f.dir, Device(i))
	cmd := exec.CommandContext(ctx, filepath.Join(f.o.Bin, "waxwing-agent"), "enroll", "--server", f.listens.Device,
		"--token", token, "--data", dir, "--id", Device(i), "--hardware", Hardware, "--virtual",
		"--slot-size", fmt.Sprint(f.o.Image+16), "--label", "site="+Site)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("enrol %s: %w: %s", Device(i), err, out)
	}
	debugfs, err := find("debugfs")
	if err != nil {
		return err
	}
	config := filepath.Join(dir, "agent.json")
	b, err := os.ReadFile(config)
	if err != nil {
		return err
	}
	var c map[string]any
	if err := json.Unmarshal(b, &c); err != nil {
		return err
	}
	c["probes"] = []any{
		map[string]any{
			"name": "health", "timeout_seconds": 10,
			"command": []string{"sh", "-c", debugfs + ` -R "cat /etc/health" "$WAXWING_SLOT_PATH" 2>/dev/null | grep -qx well`},
		},
		map[string]any{"name": "broker", "mqtt": true},
	}
	if f.o.Route != nil {
		if c["server"], err = f.o.Route(f.listens.Device); err != nil {
			return err
		}
	}
	c["poll_seconds"] = 5
	c["mesh"] = map[string]any{"interfaces": []string{"lo"}, "listen": "127.0.0.1:0"}
	if b, err = json.MarshalIndent(c, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(config, append(bytes.TrimSpace(b), '\n'), 0o600)
}

// StartAgent switches a device on.
func (f *Fleet) StartAgent(i int) (err error) {
	f.Agents[i], err = f.start(Device(i), "waxwing-agent", "run", "--config", filepath.Join(f.dir, Device(i), "agent.json"))
	return err
}

// Stop ends everything that Start began.
func (f *Fleet) Stop() error {
	var errs []error
	for _, p := range append(f.Agents, f.Server) {
		if p != nil {
			_ = p.cmd.Process.Signal(os.Interrupt) // all at once; stop waits for each
		}
	}
	for _, p := range append(f.Agents, f.Server) {
		if p != nil {
			errs = append(errs, p.stop())
		}
	}
	if f.remove {
		errs = append(errs, os.RemoveAll(f.dir))
	}
	return errors.Join(errs...)
}
