package agenttest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/chunker"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/policy"
	"github.com/waxwing-ota/waxwing/signing/public"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// Cloud is what a device sees of a server: a signed repository, documents, and a place for reports. The repository is
// real; there is no fleet and no rollout behind it.
type Cloud struct {
	t       testing.TB
	CA      *CA
	URL     string
	policy  *keys.File
	grants  *keys.File
	product *keys.File
	repo    *repository.Repository
	mux     *http.ServeMux
	addr    string
	server  *http.Server

	mu       sync.Mutex
	files    map[string][]byte
	members  map[string]json.RawMessage // device → membership
	policies []json.RawMessage
	seq      uint64
	reports  []protocol.Report
	heard    chan struct{} // closed and replaced with each report
	chunks   int           // that were fetched
	renewed  int
	gate     func(path string) // called before a file is served
	sites    map[string]protocol.Site
	lease    func(device, what string, isolated []string) *protocol.Holder
}

// Product is the one that the cloud publishes.
const Product = "edge"

// NewCloud starts one; it stops with the test.
func NewCloud(t testing.TB) *Cloud {
	t.Helper()
	key := func(name string) *keys.File {
		k, err := keys.Generate(filepath.Join(t.TempDir(), name))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	c := &Cloud{
		t: t, CA: NewCA(t), policy: key("policy"), grants: key("grants"), product: key("product"), files: map[string][]byte{}, addr: "127.0.0.1:0",
		members: map[string]json.RawMessage{}, heard: make(chan struct{}), mux: http.NewServeMux(),
	}
	online := key("online")
	var err error
	c.repo, err = repository.Create(context.Background(), repository.Options{
		Files: files{c}, PolicyKeys: public.Any(c.policy.Public()),
		Keys: repository.Keys{Root: key("root"), Targets: key("targets"), Snapshot: online, Timestamp: online},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.repo.AddProduct(context.Background(), Product, c.product.Public()); err != nil {
		t.Fatal(err)
	}
	c.mux.HandleFunc("GET "+protocol.PathRepo, c.serveFile)
	c.mux.HandleFunc("GET "+protocol.PathPolicy, c.serveDocuments)
	c.mux.HandleFunc("GET "+protocol.PathTime, func(w http.ResponseWriter, r *http.Request) { answer(w, protocol.Time{Now: time.Now()}) })
	c.mux.HandleFunc("POST "+protocol.PathReports, c.takeReport)
	c.mux.HandleFunc("POST "+protocol.PathRenew, c.renew)
	c.mux.HandleFunc("POST "+protocol.PathEnroll, c.enroll)
	c.Start()
	t.Cleanup(c.Stop)
	return c
}

// Start begins to serve, at the address of the first start.
func (c *Cloud) Start() {
	c.t.Helper()
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", c.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.addr, c.URL = l.Addr().String(), "https://"+l.Addr().String()
	c.server = &http.Server{Handler: c.mux, TLSConfig: c.CA.Server(tls.VerifyClientCertIfGiven), ErrorLog: log.New(io.Discard, "", 0)}
	go func(s *http.Server) { _ = s.ServeTLS(l, "", "") }(c.server)
}

// Stop ends all connections.
func (c *Cloud) Stop() { _ = c.server.Close() }

// Root returns root.json.
func (c *Cloud) Root() []byte {
	b, err := c.repo.Root(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// Publish cuts and signs a release and returns how a policy names it.
func (c *Cloud) Publish(version string, counter uint64, hardware string, payload []byte) policy.Release {
	c.t.Helper()
	ctx := context.Background()
	x := c.cut(payload)
	for i, chunk := range x.Chunks {
		span := x.Span(i)
		frame := firmware.EncodeChunk(payload[span.Offset : span.Offset+int64(span.Size)])
		if err := (files{c}).Put(ctx, "chunks/"+firmware.ChunkPath(chunk.ID), frame); err != nil {
			c.t.Fatal(err)
		}
	}
	index := x.Encode()
	m := firmware.Manifest{
		Schema: 1, Product: Product, Version: version, Counter: counter, Hardware: []string{hardware},
		Components: []firmware.Component{{
			Name: "rootfs", Handler: firmware.HandlerSlot, Size: int64(len(payload)), SHA256: firmware.Sum(payload),
			Index: firmware.File{Size: int64(len(index)), SHA256: firmware.Sum(index)},
		}},
	}
	manifest, err := m.Encode()
	if err != nil {
		c.t.Fatal(err)
	}
	name := firmware.ManifestTarget(Product, version)
	targets := map[string][]byte{name: manifest, firmware.IndexTarget(Product, version, "rootfs"): index}
	role, err := c.repo.Role(ctx, Product)
	if err != nil {
		c.t.Fatal(err)
	}
	if role, err = repository.SignRelease(role, Product, targets, c.product, time.Now()); err != nil {
		c.t.Fatal(err)
	}
	if err := c.repo.Publish(ctx, Product, role, targets); err != nil {
		c.t.Fatal(err)
	}
	return policy.Release{
		Product: Product, Version: version, Counter: counter, Target: name, Length: int64(len(manifest)), SHA256: firmware.Sum(manifest),
	}
}

func (c *Cloud) cut(payload []byte) *firmware.Index {
	c.t.Helper()
	var list []firmware.Chunk
	if err := chunker.Split(bytes.NewReader(payload), chunker.Default(), func(plain []byte) error {
		list = append(list, firmware.Chunk{ID: firmware.Sum(plain), Size: uint32(len(plain))})
		return nil
	}); err != nil {
		c.t.Fatal(err)
	}
	return firmware.NewIndex(chunker.Default(), list)
}

// Revoke replaces the policy key, as an operator does after a theft: nothing that the old one signed counts any more.
func (c *Cloud) Revoke() {
	c.t.Helper()
	next, err := keys.Generate(filepath.Join(c.t.TempDir(), "policy"))
	if err != nil {
		c.t.Fatal(err)
	}
	grants := public.Any(c.grants.Public())
	if err := c.repo.SetPolicyKeys(context.Background(), policy.Keys{Schema: 1, Policy: public.Any(next.Public()), Grants: &grants}); err != nil {
		c.t.Error(err) // also called while a file is served
		return
	}
	c.mu.Lock()
	c.policy = next
	c.mu.Unlock()
}

// Grant returns what lets group all go back to a release. The keys know of who may grant after a Revoke.
func (c *Cloud) Grant(r policy.Release) []byte {
	c.t.Helper()
	b, err := policy.Seal(&policy.Grant{
		Schema: 1, Audience: policy.Audience{Kind: policy.ForGroup, Name: "all"}, Release: r, IssuedAt: now(), ExpiresAt: now().Add(time.Hour),
	}, c.grants)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// Member returns the signed membership of a device, and puts it into the documents.
func (c *Cloud) Member(device string, groups ...string) json.RawMessage {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	c.members[device] = c.seal(&policy.Membership{
		Schema: 1, Device: device, Groups: groups, Seq: c.seq, IssuedAt: now(), ExpiresAt: now().Add(time.Hour),
	})
	return c.members[device]
}

// Wish returns a signed policy for group all, and puts it into the documents. edit may change it before.
func (c *Cloud) Wish(r policy.Release, edit func(*policy.Policy)) []byte {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	p := &policy.Policy{
		Schema: 1, Audience: policy.Audience{Kind: policy.ForGroup, Name: "all"}, Seq: c.seq, IssuedAt: now(),
		ExpiresAt: now().Add(time.Hour), Action: policy.Install, Rollout: "r-" + r.Version, Release: &r,
		Cohort: policy.Cohort{Salt: "s", Below: policy.Everyone}, Health: policy.Health{DeadlineSeconds: 30},
	}
	if edit != nil {
		edit(p)
	}
	b := c.seal(p)
	c.policies = []json.RawMessage{b}
	return b
}

func now() time.Time { return time.Now().UTC().Truncate(time.Second) }

func (c *Cloud) seal(document any) json.RawMessage {
	b, err := policy.Seal(document, c.policy)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

// Gate lets a test wait, or do harm, before a file of the repository is served. The path is below /repo/.
func (c *Cloud) Gate(f func(path string)) {
	c.mu.Lock()
	c.gate = f
	c.mu.Unlock()
}

// Chunks returns how many chunks were fetched so far, without those that were held elsewhere.
func (c *Cloud) Chunks() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.chunks
}

// Distinct returns how many chunks there are.
func (c *Cloud) Distinct() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for path := range c.files {
		if strings.HasPrefix(path, "chunks/") {
			n++
		}
	}
	return n
}

// Renewed returns how many certificates were renewed so far.
func (c *Cloud) Renewed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.renewed
}

// Take adds a report that came another way.
func (c *Cloud) Take(b []byte) {
	r, err := protocol.ParseReport(b)
	if err != nil {
		c.t.Error(err)
		return
	}
	c.mu.Lock()
	c.reports = append(c.reports, *r)
	close(c.heard)
	c.heard = make(chan struct{})
	c.mu.Unlock()
}

// Reports returns those that came so far.
func (c *Cloud) Reports() []protocol.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.reports)
}

// Await waits for a report for which ok holds, among those so far and those to come.
func (c *Cloud) Await(what string, ok func(protocol.Report) bool) protocol.Report {
	c.t.Helper()
	timeout := time.After(40 * time.Second)
	seen := 0
	for {
		c.mu.Lock()
		reports, heard := c.reports, c.heard
		c.mu.Unlock()
		for ; seen < len(reports); seen++ {
			if ok(reports[seen]) {
				return reports[seen]
			}
		}
		select {
		case <-heard:
		case <-timeout:
			last, _ := json.Marshal(reports[max(0, len(reports)-3):])
			c.t.Fatalf("no report says: %s; the last are %s", what, last)
		}
	}
}

// Introduce puts a hint about a device's site into its documents.
func (c *Cloud) Introduce(device string, peers ...protocol.Peer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sites == nil {
		c.sites = map[string]protocol.Site{}
	}
	c.seq++
	c.sites[device] = protocol.Site{Schema: 1, Device: device, Site: "test", Epoch: fmt.Sprint(c.seq), Peers: peers}
}

// Lease lets a test decide who holds what a device asks for when it takes part in leases: nil serves it. what is a path
// below /repo/ and a range.
func (c *Cloud) Lease(f func(device, what string, isolated []string) *protocol.Holder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lease = f
}
