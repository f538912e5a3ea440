package origin_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/blob/dir"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/fleet/fleettest"
	"github.com/waxwing-ota/waxwing/server/origin"
	"github.com/waxwing-ota/waxwing/server/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("gopkg.in/natefinch/lumberjack%2ev2.(*Logger).millRun"),
		goleak.IgnoreAnyFunction("google.golang.org/grpc/internal/grpcsync.(*CallbackSerializer).run"),
	)
}

// plane is a running device plane.
type plane struct {
	*fleettest.World
	t      *testing.T
	server *origin.Server
	blobs  *dir.Store
	url    string
}

func newPlane(t *testing.T, change func(*origin.Options)) *plane {
	t.Helper()
	p := &plane{World: fleettest.New(t), t: t}
	var err error
	if p.blobs, err = dir.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.url = "https://" + l.Addr().String()
	o := origin.Options{
		Listener: l, TLS: p.Identity.ServerTLS(nil), Fleet: p.Fleet, Blobs: p.blobs,
		FleetCA: p.Identity.PEM(), Tag: p.Identity.Fleet(), Root: func(context.Context) ([]byte, error) { return []byte(`{"root":1}`), nil },
		Server: p.url, Brokers: []string{"tls://127.0.0.1:8883"},
	}
	if change != nil {
		change(&o)
	}
	p.server = origin.New(o)
	fleettest.Run(t, p.server.Run)
	return p
}

// client returns an HTTP client with a certificate, or without for the zero one.
func (p *plane) client(cert tls.Certificate, http2 bool) *http.Client {
	config := &tls.Config{RootCAs: p.Identity.Pool()}
	if len(cert.Certificate) > 0 {
		config.Certificates = []tls.Certificate{cert}
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: http2}
	p.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// do sends a request and returns the answer with its body.
func (p *plane) do(c *http.Client, method, path string, body any, header ...string) (*http.Response, []byte) {
	p.t.Helper()
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		r = bytes.NewReader(b)
	default:
		j, err := json.Marshal(b)
		if err != nil {
			p.t.Fatal(err)
		}
		r = bytes.NewReader(j)
	}
	request, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, r)
	if err != nil {
		p.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := c.Do(request)
	if err != nil {
		p.t.Fatal(method, path, err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		p.t.Fatal(method, path, err)
	}
	return response, got
}

// refused checks that an answer is a problem with a status and a sentence.
func (p *plane) refused(what string, r *http.Response, body []byte, status int, says string) {
	p.t.Helper()
	var problem struct {
		Type, Title, Detail string
		Status              int
	}
	if err := json.Unmarshal(body, &problem); err != nil || r.StatusCode != status || problem.Status != status ||
		r.Header.Get("Content-Type") != "application/problem+json" || !strings.HasPrefix(problem.Type, "/problems/") ||
		!strings.Contains(problem.Detail, says) || problem.Detail == "" {
		p.t.Errorf("%s: %d %s, want %d with %q", what, r.StatusCode, body, status, says)
	}
}

func (p *plane) put(name, content string) {
	p.t.Helper()
	if err := p.blobs.Put(p.t.Context(), name, strings.NewReader(content), int64(len(content))); err != nil {
		p.t.Fatal(err)
	}
}

func TestLifeOfADevice(t *testing.T) {
	p := newPlane(t, nil)
	stranger := p.client(tls.Certificate{}, true)
	key := fleettest.NewKey(t)
	request := protocol.EnrollRequest{
		Token: p.Token(t, fleet.TokenSpec{Uses: 1}), CSR: fleettest.Request(t, key), ID: "d-1", Hardware: "hw", Labels: map[string]string{"site": "oslo"},
	}
	r, b := p.do(stranger, "POST", protocol.PathEnroll, request)
	var e protocol.EnrollResponse
	if err := json.Unmarshal(b, &e); err != nil || r.StatusCode != http.StatusOK {
		t.Fatal(r.Status, string(b), err)
	}
	want := protocol.EnrollResponse{
		ID: "d-1", Certificate: e.Certificate, FleetCA: p.Identity.PEM(), Fleet: p.Identity.Fleet(), Root: []byte(`{"root":1}`),
		Server: p.url, Brokers: []string{"tls://127.0.0.1:8883"},
	}
	if d := cmp.Diff(want, e); d != "" {
		t.Fatal(d)
	}
	for _, http2 := range []bool{false, true} {
		device := p.client(fleettest.Pair(t, e.Certificate, key), http2)
		r, b = p.do(device, "GET", protocol.PathTime, nil)
		var now protocol.Time
		if err := json.Unmarshal(b, &now); err != nil || time.Since(now.Now).Abs() > time.Minute {
			t.Fatal(string(b), err)
		}
		if r.ProtoMajor != map[bool]int{false: 1, true: 2}[http2] {
			t.Fatal(r.Proto)
		}
	}
	device := p.client(fleettest.Pair(t, e.Certificate, key), true)

	if r, b := p.do(device, "POST", protocol.PathReports, fleettest.Report(t, "d-1", 1, nil)); r.StatusCode != http.StatusNoContent {
		t.Fatal(r.Status, string(b))
	}
	states := store.NewCollection[fleet.State](p.Store, fleet.StatesName)
	if s, err := states.Get(t.Context(), "d-1"); err != nil || s.Value.Address != "127.0.0.1" {
		t.Fatal(s, err)
	}
	r, b = p.do(device, "POST", protocol.PathReports, fleettest.Report(t, "d-2", 1, nil))
	p.refused("a report for another", r, b, 422, "d-2")

	policies := store.NewCollection[fleet.PolicyRecord](p.Store, fleet.PoliciesName)
	if err := policies.Put(t.Context(), fleet.AllGroup, fleet.PolicyRecord{Seq: 1, Envelope: []byte(`{"p":1}`)}); err != nil {
		t.Fatal(err)
	}
	var documents protocol.Documents
	fleettest.Eventually(t, "membership and policy are served", func() bool {
		r, b = p.do(device, "GET", protocol.PathPolicy, nil)
		return json.Unmarshal(b, &documents) == nil && len(documents.Membership) > 0 && len(documents.Policies) == 1
	})
	etag := r.Header.Get("ETag")
	if r, b := p.do(device, "GET", protocol.PathPolicy, nil, "If-None-Match", etag); r.StatusCode != http.StatusNotModified || len(b) != 0 {
		t.Fatal(r.Status, string(b))
	}
	if err := policies.Put(t.Context(), fleet.AllGroup, fleet.PolicyRecord{Seq: 2, Envelope: []byte(`{"p":2}`)}); err != nil {
		t.Fatal(err)
	}
	fleettest.Eventually(t, "another policy, another tag", func() bool {
		r, _ := p.do(device, "GET", protocol.PathPolicy, nil, "If-None-Match", etag)
		return r.StatusCode == http.StatusOK && r.Header.Get("ETag") != etag
	})

	r, b = p.do(device, "POST", protocol.PathRenew, protocol.RenewRequest{CSR: fleettest.Request(t, key)})
	var renewed protocol.RenewResponse
	if err := json.Unmarshal(b, &renewed); err != nil || r.StatusCode != http.StatusOK {
		t.Fatal(r.Status, string(b), err)
	}
	again := p.client(fleettest.Pair(t, renewed.Certificate, key), true)
	if r, _ := p.do(again, "GET", protocol.PathTime, nil); r.StatusCode != http.StatusOK {
		t.Fatal(r.Status)
	}
	r, b = p.do(device, "POST", protocol.PathRenew, protocol.RenewRequest{CSR: fleettest.Request(t, fleettest.NewKey(t))})
	p.refused("renewal of another key", r, b, 403, "another key")

	if _, err := p.Reject(t.Context(), "d-1"); err != nil {
		t.Fatal(err)
	}
	p.put("repo/metadata/timestamp.json", "{}")
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{"GET", protocol.PathTime, nil},
		{"GET", protocol.PathPolicy, nil},
		{"POST", protocol.PathReports, []byte("{}")},
		{"POST", protocol.PathRenew, protocol.RenewRequest{CSR: fleettest.Request(t, key)}},
		{"GET", "/repo/metadata/timestamp.json", nil},
	} {
		r, b := p.do(device, c.method, c.path, c.body)
		p.refused("a rejected device at "+c.path, r, b, 403, "accept it again")
	}
}

func TestRefusals(t *testing.T) {
	p := newPlane(t, nil)
	stranger := p.client(tls.Certificate{}, false)
	device := p.client(p.Device(t, "d-1", nil), true)
	for _, path := range []string{protocol.PathTime, protocol.PathPolicy, "/repo/metadata/timestamp.json"} {
		r, b := p.do(stranger, "GET", path, nil)
		p.refused("no certificate at "+path, r, b, 401, "certificate")
	}
	for _, path := range []string{"/", "/device/v1", "/api/v1/devices", "/device/v1/time/", "//device/v1/time", "/device/v1/../v1/time"} {
		r, b := p.do(device, "GET", path, nil)
		p.refused(path, r, b, 404, "nothing here")
	}
	r, b := p.do(device, "DELETE", protocol.PathTime, nil)
	p.refused("DELETE", r, b, 405, "method")
	r, b = p.do(device, "POST", protocol.PathReports, make([]byte, protocol.MaxDocument+1))
	p.refused("long body", r, b, 413, "262144")
	r, b = p.do(device, "GET", protocol.PathTime, []byte("body"))
	p.refused("a GET with a body", r, b, 400, "none here")
	r, b = p.do(stranger, "POST", protocol.PathEnroll, []byte("{"))
	p.refused("no JSON", r, b, 400, "body")
	r, b = p.do(stranger, "POST", protocol.PathEnroll, protocol.EnrollRequest{Token: "wxe_a_b_c"})
	p.refused("token", r, b, 403, "token")
	if r, _ := p.do(stranger, "GET", protocol.PathTime, nil, "X-Big", strings.Repeat("x", 40<<10)); r.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error("header of 40 KiB:", r.Status)
	}
	// TLS itself refuses certificates of other fleets.
	other := newPlane(t, nil)
	foreign := p.client(other.Device(t, "d-1", nil), true)
	if r, err := foreign.Get(p.url + protocol.PathTime); err == nil {
		_ = r.Body.Close()
		t.Error("a device of another fleet:", r.Status)
	}
	old := p.client(p.Device(t, "d-3", nil), false)
	old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS11
	old.Transport.(*http.Transport).TLSClientConfig.MinVersion = tls.VersionTLS10
	if r, err := old.Get(p.url + protocol.PathTime); err == nil {
		_ = r.Body.Close()
		t.Error("TLS 1.1:", r.Status)
	}
}

func TestGuessingIsSlowedDown(t *testing.T) {
	p := newPlane(t, func(o *origin.Options) { o.EnrollFailures = 3 })
	stranger := p.client(tls.Certificate{}, true)
	good := protocol.EnrollRequest{Token: p.Token(t, fleet.TokenSpec{}), CSR: fleettest.Request(t, fleettest.NewKey(t)), Hardware: "hw"}
	for range 10 { // a site that enrols all its devices
		good.CSR = fleettest.Request(t, fleettest.NewKey(t))
		if r, b := p.do(stranger, "POST", protocol.PathEnroll, good); r.StatusCode != http.StatusOK {
			t.Fatal(r.Status, string(b))
		}
	}
	for range 3 {
		r, b := p.do(stranger, "POST", protocol.PathEnroll, protocol.EnrollRequest{Token: "guess"})
		p.refused("guess", r, b, 403, "token")
	}
	r, b := p.do(stranger, "POST", protocol.PathEnroll, good)
	p.refused("after three guesses", r, b, 429, "try again")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestRepository(t *testing.T) {
	p := newPlane(t, nil)
	chunk := strings.Repeat("0123456789", 20_000)
	id := strings.Repeat("ab", 32)
	names := map[string]string{ // name → Cache-Control
		"metadata/timestamp.json":                        "no-cache",
		"metadata/3.root.json":                           "public, max-age=31536000, immutable",
		"targets/gw/1.0.0/" + id + ".release.json":       "public, max-age=31536000, immutable",
		"targets/gw/1.0.0/release.json":                  "no-cache",
		"chunks/abab/" + id + ".cacnk":                   "public, max-age=31536000, immutable",
		"patches/" + id + "/" + id + ".pack":             "public, max-age=3600",
		"metadata/12.snapshot.json":                      "public, max-age=31536000, immutable",
		"targets/gw/1.0.0+build_7/" + id + ".root.caibx": "public, max-age=31536000, immutable",
	}
	for name := range names {
		p.put("repo/"+name, chunk)
	}
	p.put("repo/keys/secret", "secret")
	p.put("uploads/image", "secret")
	for _, http2 := range []bool{false, true} {
		device := p.client(p.Device(t, fmt.Sprintf("d-%t", http2), nil), http2)
		for name, caching := range names {
			r, b := p.do(device, "GET", "/repo/"+name, nil)
			if r.StatusCode != http.StatusOK || string(b) != chunk || r.Header.Get("Cache-Control") != caching {
				t.Fatalf("%s: %s, %d bytes, %q", name, r.Status, len(b), r.Header.Get("Cache-Control"))
			}
		}
		name := "/repo/chunks/abab/" + id + ".cacnk"
		r, b := p.do(device, "GET", name, nil, "Range", "bytes=5-14")
		if r.StatusCode != http.StatusPartialContent || string(b) != "5678901234" {
			t.Fatal(r.Status, string(b))
		}
		if r, b := p.do(device, "HEAD", name, nil); r.StatusCode != http.StatusOK || r.ContentLength != int64(len(chunk)) || len(b) != 0 {
			t.Fatal(r.Status, r.ContentLength)
		}
		if r, b := p.do(device, "GET", name, nil, "If-None-Match", r.Header.Get("ETag")); r.StatusCode != http.StatusNotModified || len(b) != 0 {
			t.Fatal(r.Status)
		}
		if r, _ := p.do(device, "GET", name, nil, "Range", "bytes=999999-"); r.StatusCode != http.StatusRequestedRangeNotSatisfiable {
			t.Fatal(r.Status)
		}
		for _, missing := range []string{
			"", "metadata", "metadata/", "metadata/4.root.json", "chunks/abab", "keys/secret", "../uploads/image", "metadata/../keys/secret",
			"metadata/%2e%2e/keys/secret", "metadata/..%2fkeys/secret", "metadata//3.root.json", "metadata/.hidden", "metadata/a%00b", "Metadata/3.root.json",
			"chunks/abab/" + strings.Repeat("x", 2000),
		} {
			r, b := p.do(device, "GET", "/repo/"+missing, nil)
			p.refused("/repo/"+missing, r, b, 404, "nothing here")
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			r, b := p.do(device, method, name, nil)
			p.refused(method, r, b, 405, "method")
		}
		want := int64(len(names)*len(chunk) + 10)
		fleettest.Eventually(t, "the bytes are counted for the device", func() bool {
			got := p.server.Served()[fmt.Sprintf("d-%t", http2)]
			return got >= want && got < want+100 // the sentence that says 416
		})
	}
}

// A pack that was made anew under the same name is another one to whoever asks for a part of it.
func TestPacksHaveTags(t *testing.T) {
	p := newPlane(t, nil)
	device := p.client(p.Device(t, "d-1", nil), true)
	id := strings.Repeat("ab", 32)
	name := "/repo/patches/" + id + "/" + id + ".pack"
	tags := map[string]bool{}
	pack := strings.Repeat("0123456789", 20_000)
	for _, content := range []string{pack, pack + "0", pack[:len(pack)-1] + "x", "x" + pack[1:], "short", ""} {
		p.put(strings.TrimPrefix(name, "/"), content)
		r, b := p.do(device, "GET", name, nil)
		tag := r.Header.Get("ETag")
		if string(b) != content || tag == "" || tags[tag] {
			t.Fatalf("%d bytes, %s, seen before: %t", len(b), tag, tags[tag])
		}
		tags[tag] = true
		if len(content) < 10 {
			continue
		}
		if r, b := p.do(device, "GET", name, nil, "Range", "bytes=1-3", "If-Range", tag); r.StatusCode != http.StatusPartialContent || string(b) != content[1:4] {
			t.Fatal(r.Status, string(b))
		}
		if r, _ := p.do(device, "GET", name, nil, "Range", "bytes=1-3", "If-Range", `"another"`); r.StatusCode != http.StatusOK {
			t.Fatal(r.Status)
		}
	}
}

func TestOpenRepository(t *testing.T) {
	p := newPlane(t, func(o *origin.Options) { o.OpenRepo = true })
	p.put("repo/metadata/timestamp.json", "{}")
	stranger := p.client(tls.Certificate{}, true)
	if r, b := p.do(stranger, "GET", "/repo/metadata/timestamp.json", nil); r.StatusCode != http.StatusOK || string(b) != "{}" {
		t.Fatal(r.Status, string(b))
	}
	r, b := p.do(stranger, "GET", protocol.PathTime, nil)
	p.refused("the rest stays closed", r, b, 401, "certificate")
	fleettest.Eventually(t, "bytes of nobody", func() bool { return p.server.Served()[""] == 2 })
}

func TestPendingDeviceWaits(t *testing.T) {
	p := newPlane(t, nil)
	p.put("repo/metadata/timestamp.json", "{}")
	key := fleettest.NewKey(t)
	e, err := p.Enroll(t.Context(), protocol.EnrollRequest{
		Token: p.Token(t, fleet.TokenSpec{Approve: true}), CSR: fleettest.Request(t, key), ID: "d-1", Hardware: "hw",
	})
	if err != nil {
		t.Fatal(err)
	}
	device := p.client(fleettest.Pair(t, e.Certificate, key), true)
	for _, path := range []string{protocol.PathTime, protocol.PathPolicy} {
		if r, b := p.do(device, "GET", path, nil); r.StatusCode != http.StatusOK {
			t.Error(path, r.Status, string(b))
		}
	}
	r, b := p.do(device, "GET", "/repo/metadata/timestamp.json", nil)
	p.refused("the repository", r, b, 403, "waits for approval")
	if _, err := p.Accept(t.Context(), "d-1"); err != nil {
		t.Fatal(err)
	}
	if r, b := p.do(device, "GET", "/repo/metadata/timestamp.json", nil); r.StatusCode != http.StatusOK {
		t.Error(r.Status, string(b))
	}
}

func TestEndOfTheFleetIsNotTheDevicesFault(t *testing.T) {
	p := newPlane(t, nil)
	device := p.client(p.Device(t, "d-1", nil), true)
	p.Stop()
	r, b := p.do(device, "POST", protocol.PathReports, fleettest.Report(t, "d-1", 1, nil))
	p.refused("a report to a server that ends", r, b, 503, "ended")
	if !slices.Contains([]string{"60"}, r.Header.Get("Retry-After")) {
		t.Error("no Retry-After")
	}
}
