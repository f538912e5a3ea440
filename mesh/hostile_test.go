package mesh_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/mesh"
	"github.com/waxwing-ota/waxwing/mesh/exchange"
	"github.com/waxwing-ota/waxwing/mesh/meshtest"
	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// crook puts a device beside others that is friendly and says where it stands; when it is asked for something under a path, it
// answers as it likes. It does have the payload.
func (s *site) crook(v meshtest.Vice, path string, stands func(all swarm.Set) swarm.PeerSeen) *meshtest.Crook {
	chunks := s.index.Distinct()
	all := swarm.NewSet(len(chunks))
	for c := range chunks {
		all.Add(c)
	}
	board := exchange.NewBoard("crook", len(chunks), swarm.Pack{})
	board.Post(stands(all))
	state, err := json.Marshal(board.Await(s.ctx, 0))
	if err != nil {
		s.t.Fatal(err)
	}
	plain, rest := map[firmware.ChunkID][]byte{}, s.whole
	for _, c := range s.index.Chunks {
		plain[c.ID], rest = rest[:c.Size], rest[c.Size:]
	}
	return meshtest.NewCrook(s.t, exchange.TLS(always(s.fleet.Device(s.t, "crook")), s.fleet.Pool), func(c net.Conn, r *http.Request) bool {
		what := strings.TrimPrefix(r.URL.Path, "/mesh/v1/")
		right, status := []byte("x"), http.StatusNotFound
		switch kind, id, _ := strings.Cut(what, "/"); kind {
		case "hello":
			status = http.StatusNoContent
		case "swarms":
			if r.URL.Query().Get("rev") != "0" { // it has no news, until the other hangs up or the time is over
				_ = c.SetReadDeadline(time.Now().Add(4 * time.Second))
				if _, err := c.Read(make([]byte, 1)); err == nil {
					return false
				}
				_ = c.SetReadDeadline(time.Time{})
			}
			right, status = state, http.StatusOK
		case "chunks":
			if sum, err := firmware.ParseDigest(id); err == nil && plain[sum] != nil {
				right, status = plain[sum], http.StatusOK
			}
		}
		if path != "" && strings.HasPrefix(what, path) {
			return v.Answer(c, right)
		}
		return meshtest.Reply(c, status, right)
	})
}

// has says that it has everything, and claims that it fetches everything.
func has(all swarm.Set) swarm.PeerSeen { return swarm.PeerSeen{Have: all} }

func claims(all swarm.Set) swarm.PeerSeen {
	none := all.Clone()
	for c := range 8 * len(all.Bytes()) {
		if all.Has(c) {
			none.Remove(c)
		}
	}
	return swarm.PeerSeen{Have: none, Claims: all}
}

// TestHostileNeighbours puts one with each vice beside two good devices that update together. Both have what is right as soon
// as twice the time that they need without it, and what it takes to notice; they serve nothing wrong, the uplink carries
// little more than one copy, and who offends is named.
func TestHostileNeighbours(t *testing.T) {
	const (
		stall  = 2 * time.Second  // of the devices: what a neighbour has lost is waited for so long, and twice what it claims
		answer = 12 * time.Second // two requests to a neighbour, one after the other, that each may take seconds
	)
	type row struct {
		name   string
		v      meshtest.Vice
		path   string
		stands func(swarm.Set) swarm.PeerSeen
		extra  time.Duration
		bears  bool // claims are borne for a while: the update lasts longer
		want   map[mesh.Offence]int
	}
	wrong, nothing := mesh.Offence{Neighbor: "crook", Kind: mesh.WrongBytes}, mesh.Offence{Neighbor: "crook", Kind: mesh.NoDeeds}
	rows := []row{{name: "nobody"}, {name: "claims without deeds", stands: claims, extra: 2 * stall, bears: true, want: map[mesh.Offence]int{nothing: 2}}}
	for _, v := range meshtest.Vices() {
		r := row{name: v.Name, v: v, path: "chunks/", stands: has}
		switch {
		case v.Deaf:
			continue
		case v.Provable:
			r.want = map[mesh.Offence]int{wrong: 2} // once by each
		case v.Slow:
			r.want, r.extra = map[mesh.Offence]int{nothing: 2}, answer
			rows = append(rows, row{name: v.Name + ", of where it stands", v: v, path: "swarms/", stands: has, extra: stall})
		default:
			r.want, r.extra = map[mesh.Offence]int{nothing: 2}, stall
		}
		rows = append(rows, r)
	}
	type device struct {
		m   *mesh.Mesh
		at  netip.AddrPort
		saw *witness
	}
	type result struct {
		took time.Duration
		err  error
	}
	began := make(chan struct{})
	results := make([]chan result, len(rows))
	sites, devices := make([]*site, len(rows)), make([][]device, len(rows))
	for i, r := range rows {
		s := newSite(t)
		if r.bears {
			_, _, byID := payload(t)
			s.origin = meshtest.NewOrigin(byID, 15*time.Millisecond)
		}
		var at []netip.AddrPort
		if r.stands != nil {
			at = append(at, s.crook(r.v, r.path, r.stands).At)
		}
		for n := range 2 {
			d := device{saw: &witness{}}
			d.m = s.device(fmt.Sprint("d-", n), func(o *mesh.Options) {
				o.Interfaces, o.Offended, o.Stall = []string{"none: they are introduced"}, d.saw.hear, stall
			})
			eventually(t, "it listens", func() bool { return len(d.m.Addresses()) > 0 })
			d.at = d.m.Addresses()[0]
			at = append(at, d.at)
			devices[i] = append(devices[i], d)
		}
		for _, d := range devices[i] {
			d.m.Introduce(at)
		}
		for _, d := range devices[i] {
			s.see(d.m, len(at)-1)
		}
		sites[i], results[i] = s, make(chan result, 2)
		for _, d := range devices[i] {
			go func() {
				<-began
				start := time.Now()
				_, _, err := s.fetch(d.m)
				results[i] <- result{time.Since(start), err}
			}()
		}
	}
	close(began) // all at once: mostly they wait, and so they are compared in the same weather
	var clean time.Duration
	for i, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			var took time.Duration
			for range devices[i] {
				got := <-results[i]
				if got.err != nil {
					t.Error(got.err)
				}
				took = max(took, got.took)
			}
			if r.name == "nobody" {
				clean = took
			}
			if t.Log(took); took > 2*clean+r.extra {
				t.Errorf("it took %s, and %s without it", took, clean)
			}
			if asked, _ := sites[i].origin.Asked(); asked > len(sites[i].index.Distinct())*5/4 {
				t.Errorf("%d chunks crossed the uplink for %d", asked, len(sites[i].index.Distinct()))
			}
			heard := map[mesh.Offence]int{}
			client := exchange.NewClient("x", exchange.TLS(always(sites[i].fleet.Device(t, "x")), sites[i].fleet.Pool))
			defer client.Close()
			for _, d := range devices[i] {
				for o, n := range d.saw.all() {
					heard[o] += n
				}
				for n := 0; n < len(sites[i].index.Chunks); n += 16 {
					if _, err := client.Chunk(sites[i].ctx, d.at, sites[i].index.Chunks[n]); err != nil {
						t.Errorf("it does not serve what it has: %v", err)
					}
				}
			}
			if d := cmp.Diff(r.want, heard, cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
		})
	}
}
