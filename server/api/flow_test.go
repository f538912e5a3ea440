package api_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/api"
)

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// The way of one release through the operator plane: upload, publish, roll out, follow to the end.
func TestReleaseToRollout(t *testing.T) {
	p := newPlane(t)
	d1 := p.enrol("d-1", "qemu-arm64", map[string]any{"labels": map[string]string{"site": "oslo"}})
	d2 := p.enrol("d-2", "qemu-arm64", map[string]any{"note": "second"})
	p.enrol("d-3", "other-board", map[string]any{})
	rel := p.releaseOf("1.0.0", bytes.Repeat([]byte("an image that compresses "), 40_000))
	if *rel.Devices != 0 || rel.Size.Payload != 1_000_000 || len(*rel.Components) != 1 {
		t.Errorf("release %+v", rel)
	}

	var dry, r api.Rollout
	body := map[string]any{"product": "edge-gw", "version": "1.0.0", "stages": []any{map[string]int{"count": 1}, map[string]int{"percent": 100}}}
	p.want(201, "POST", "/rollouts?dry_run=true", body).into(t, &dry)
	if dry.Id != "" || dry.Counts.Total != 3 || dry.Counts.Excluded != 1 || !strings.Contains(dry.Why, "2 devices would take part") {
		t.Errorf("dry run %+v", dry)
	}
	p.want(201, "POST", "/rollouts", body).into(t, &r)
	if r.State != api.RolloutStateRunning || *r.WaitingFor != api.RolloutWaitingForSuccess || r.Stages[0].Want != 1 || r.Stages[1].Want != 2 ||
		!r.Stages[0].Open || r.Stages[1].Open || (*r.Exclusions)[0].Reason != "wrong-hardware" {
		t.Errorf("rollout %+v", r)
	}
	p.refused(409, "conflict", "has not ended", "POST", "/rollouts", body)
	p.refused(409, "conflict", "still in use", "DELETE", "/groups/all", nil)

	// The canary, whichever it is, downloads and commits; then the other one.
	canary, other := d1, d2
	var devices api.RolloutDeviceList
	for i, stage := range r.Stages { // what a stage counts, before it opens too, is what its list holds
		var of api.RolloutDeviceList
		p.want(200, "GET", fmt.Sprintf("/rollouts/%s/devices?stage=%d", r.Id, i), nil).into(t, &of)
		if of.Total != stage.Counts.Total {
			t.Errorf("stage %d counts %d devices and lists %d", i, stage.Counts.Total, of.Total)
		}
	}
	p.want(404, "GET", "/rollouts/"+r.Id+"/devices?stage=9", nil)
	p.want(200, "GET", "/rollouts/"+r.Id+"/devices?stage=0", nil).into(t, &devices)
	if devices.Total != 1 {
		t.Fatalf("stage 0 holds %+v", devices)
	}
	if devices.Items[0].Id == "d-2" {
		canary, other = d2, d1
	}
	sum, err := firmware.ParseDigest(*rel.Sha256)
	if err != nil {
		t.Fatal(err)
	}
	at := func(phase protocol.Phase) *protocol.Update {
		return &protocol.Update{
			Rollout: r.Id, Product: "edge-gw", Version: "1.0.0", SHA256: sum, Phase: phase,
			Bytes: protocol.Bytes{Total: 1_000_000, Done: 500_000, Origin: 1000}, Millis: map[protocol.Phase]int64{protocol.Checking: 5},
		}
	}
	canary.says("0.9", firmware.Digest{}, at(protocol.Downloading))
	p.until("the canary is downloading", func() bool {
		p.want(200, "GET", "/rollouts/"+r.Id, nil).into(t, &r)
		return r.Counts.Downloading == 1
	})
	var v api.Device
	p.want(200, "GET", "/devices/"+canary.id, nil).into(t, &v)
	if v.Phase != api.PhaseDownloading || !strings.Contains(v.Why, "50 %") || v.LastSeen == nil {
		t.Errorf("canary %+v", v)
	}
	p.want(200, "GET", "/devices/"+other.id, nil).into(t, &v)
	if !strings.Contains(v.Why, "waits for its stage") {
		t.Errorf("the other one says %q", v.Why)
	}
	p.want(200, "GET", "/devices/d-3", nil).into(t, &v)
	if !strings.Contains(v.Why, "leaves it out") {
		t.Errorf("the excluded one says %q", v.Why)
	}
	p.want(200, "POST", "/rollouts/"+r.Id+"/pause", map[string]string{"reason": "lunch"}).into(t, &r)
	if r.State != api.RolloutStatePaused || !strings.Contains(r.Why, "Paused by first admin") {
		t.Errorf("paused: %+v", r)
	}
	p.refused(409, "conflict", "cannot pause", "POST", "/rollouts/"+r.Id+"/pause", nil)
	p.want(200, "POST", "/rollouts/"+r.Id+"/resume", nil)
	canary.says("1.0.0", sum, at(protocol.Committed))
	p.until("the second stage opens", func() bool {
		p.want(200, "GET", "/rollouts/"+r.Id, nil).into(t, &r)
		return r.Stage == 1
	})
	other.says("1.0.0", sum, at(protocol.Committed))
	id := r.Id
	p.until("it is completed", func() bool {
		r = api.Rollout{}
		p.want(200, "GET", "/rollouts/"+id, nil).into(t, &r)
		return r.State == api.RolloutStateCompleted
	})
	c := r.Counts
	if c.Succeeded != 2 || c.Excluded != 1 || c.Total != 3 || r.EndedAt == nil || r.WaitingFor != nil || r.Bytes.Origin != 2000 {
		t.Errorf("at the end %+v", r)
	}

	var list api.RolloutList
	p.want(200, "GET", "/rollouts", nil).into(t, &list)
	if len(list.Items) != 1 {
		t.Errorf("rollouts %+v", list)
	}
	var overview api.Overview
	p.want(200, "GET", "/overview", nil).into(t, &overview)
	if overview.Devices != 3 || len(overview.ActiveRollouts) != 0 || overview.Versions[0].Devices != 2 || overview.Phases["committed"] != 2 {
		t.Errorf("overview %+v", overview)
	}
	p.want(200, "GET", "/releases/edge-gw/1.0.0", nil).into(t, &rel)
	if *rel.Devices != 2 {
		t.Errorf("%d devices run it", *rel.Devices)
	}
	var trail api.AuditList
	p.want(200, "GET", "/audit", nil).into(t, &trail)
	var actions []string
	for _, e := range trail.Items {
		actions = append(actions, e.Action)
	}
	want := "rollout.resume rollout.pause rollout.create release.create token.create token.create token.create"
	if got := strings.Join(actions, " "); got != want || *trail.Items[1].Detail != "lunch" || trail.Items[2].Subject != r.Id {
		t.Errorf("trail: %s", got)
	}
}

func TestDevicesAndGroups(t *testing.T) {
	p := newPlane(t)
	for i := range 5 {
		token := map[string]any{"labels": map[string]string{"site": []string{"oslo", "bergen"}[i%2]}}
		if i == 4 {
			token["approve"] = true
		}
		p.enrol("d-"+strconv.Itoa(i), "qemu-arm64", token)
	}
	var list api.DeviceList
	p.want(200, "GET", "/devices?page_size=2", nil).into(t, &list)
	seen := len(list.Items)
	for list.NextPageToken != nil {
		token := *list.NextPageToken
		list = api.DeviceList{}
		p.want(200, "GET", "/devices?page_size=2&page_token="+token, nil).into(t, &list)
		seen += len(list.Items)
	}
	if seen != 5 || list.Total != 5 || list.AsOf == 0 {
		t.Errorf("%d devices on all pages, total %d", seen, list.Total)
	}
	p.want(200, "GET", "/devices?filter=site%3Doslo", nil).into(t, &list)
	if list.Total != 3 {
		t.Errorf("%d in oslo", list.Total)
	}
	p.want(200, "GET", "/devices?search=berg", nil).into(t, &list)
	if list.Total != 2 {
		t.Errorf("%d found", list.Total)
	}
	p.refused(400, "invalid", "column", "GET", "/devices?filter=site%3D%3D%3D", nil)
	p.refused(400, "invalid", "labels in use are site", "GET", "/devices?filter=sight%3Doslo", nil)
	p.refused(400, "invalid", "page token", "GET", "/devices?page_token=!", nil)
	p.refused(400, "invalid", "page_size", "GET", "/devices?page_size=500", nil)
	p.refused(404, "not-found", "no such device", "GET", "/devices/nobody", nil)

	var d api.Device
	p.want(200, "GET", "/devices/d-4", nil).into(t, &d)
	if d.Admission != api.DeviceAdmissionPending || !strings.Contains(d.Why, "waits for a person") {
		t.Errorf("%+v", d)
	}
	var overview api.Overview
	p.want(200, "GET", "/overview", nil).into(t, &overview)
	if len(overview.NeedsYou) != 1 || overview.NeedsYou[0].Kind != api.NeedsYouKindPendingDevice {
		t.Errorf("needs you: %+v", overview.NeedsYou)
	}
	p.want(200, "POST", "/devices/d-4/accept", nil).into(t, &d)
	if d.Admission != api.DeviceAdmissionAccepted {
		t.Errorf("%+v", d)
	}
	p.want(200, "POST", "/devices/d-4/reject", nil).into(t, &d)
	if d.Admission != api.DeviceAdmissionRejected || !strings.Contains(d.Why, "shut out") {
		t.Errorf("%+v", d)
	}
	d = api.Device{}
	p.want(200, "PATCH", "/devices/d-0", `{"labels": {"site": null, "rack": "7"}}`).into(t, &d)
	if len(d.Labels) != 1 || d.Labels["rack"] != "7" {
		t.Errorf("labels %v", d.Labels)
	}
	p.refused(400, "invalid", "cannot be called", "PATCH", "/devices/d-0", `{"labels": {"version": "1"}}`)

	var g api.Group
	p.want(200, "PUT", "/groups/bergen", `{"selector": "site=bergen", "priority": 3}`).into(t, &g)
	if g.Devices != 2 || g.Priority != 3 {
		t.Errorf("group %+v", g)
	}
	p.refused(400, "invalid", "labels in use", "PUT", "/groups/x", `{"selector": "sight=x"}`)
	p.want(200, "PUT", "/groups/x?force=true", `{"selector": "sight=x"}`)
	p.refused(400, "invalid", "priority", "PUT", "/groups/x", `{"selector": "", "priority": 5000}`)
	p.refused(404, "not-found", "no such group", "DELETE", "/groups/nobody", nil)
	p.want(204, "DELETE", "/groups/bergen", nil)
}

// event is one server-sent event.
type event struct {
	name, id string
	api      struct {
		Kind, ID string
		Revision int64
	}
}

// events opens the stream and hands over what comes.
func (p *plane) events(last string) <-chan event {
	p.Helper()
	r := p.request("GET", "/events", nil)
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.Fatal(err)
	}
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/event-stream" || answer.Header.Get("Cache-Control") != "no-store" {
		p.Fatalf("%d %v", answer.StatusCode, answer.Header)
	}
	p.Cleanup(func() { answer.Body.Close() })
	out := make(chan event, 100)
	go func() {
		defer close(out)
		var e event
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			field, v, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "event":
				e.name = v
			case "id":
				e.id = v
			case "data":
				if err := json.Unmarshal([]byte(v), &e.api); err != nil {
					return
				}
			case "":
				if e.name != "" {
					out <- e
				}
				e = event{}
			}
		}
	}()
	return out
}

func (p *plane) next(stream <-chan event) event {
	p.Helper()
	select {
	case e, ok := <-stream:
		if !ok {
			p.Fatal("the stream ended")
		}
		return e
	case <-time.After(10 * time.Second):
		p.Fatal("no event came")
	}
	return event{}
}

func TestEvents(t *testing.T) {
	p := newPlane(t)
	stream := p.events("")
	if e := p.next(stream); e.name != "ready" || e.id == "" {
		t.Fatalf("first event %+v", e)
	}
	begun := time.Now()
	p.want(200, "PUT", "/groups/one?force=true", `{"selector": "a=b"}`)
	e := p.next(stream)
	if e.name != "group" || e.api.ID != "one" || strconv.FormatInt(e.api.Revision, 10) != e.id {
		t.Errorf("event %+v", e)
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("the change was seen after %s", took)
	}

	// While nobody listened, two changes of one group and one of another; the stream goes on after the last id seen.
	p.want(200, "PUT", "/groups/two?force=true", `{"selector": "a=b"}`)
	p.want(200, "PUT", "/groups/two?force=true", `{"selector": "a=c"}`)
	p.want(204, "DELETE", "/groups/one", nil)
	again := p.events(e.id)
	if r := p.next(again); r.name != "ready" || r.id != e.id {
		t.Errorf("resumed with %+v after %s", r, e.id)
	}
	got := map[string]bool{}
	for len(got) < 2 {
		got[p.next(again).api.ID] = true
	}
	if !got["one"] || !got["two"] {
		t.Errorf("events of %v", got)
	}

	// A client of another life of the server reads everything again.
	if e := p.next(p.events("999999999")); e.name != "reset" {
		t.Errorf("an id of the future begins with %+v", e)
	}
	r := p.request("GET", "/events", nil)
	r.Header.Set("Last-Event-ID", "yesterday")
	p.problem(p.send(r), 400, "invalid", "no revision")

	// A server that stops ends its streams at once.
	begun = time.Now()
	p.Stop()
	if took := time.Since(begun); took > 4*time.Second {
		t.Errorf("stopping took %s with a stream open", took)
	}
}
