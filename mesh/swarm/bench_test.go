package swarm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// BenchmarkNews is what a device pays for each word of a neighbour while it waits: 50 neighbours, the 8,192 chunks of half a
// gigabyte, of which 1,000 are lacking and come by patches that others fetch.
func BenchmarkNews(b *testing.B) {
	const chunks, lacking = 8192, 1000
	o := swarm.Options{ID: "s", Self: "me", Chunks: chunks, HoldOff: time.Second, Stall: 5 * time.Second}
	have, claims, covers := swarm.NewSet(chunks), swarm.NewSet(chunks), swarm.NewSet(chunks)
	for c := range chunks {
		if c >= lacking {
			o.Have = append(o.Have, c)
			have.Add(c)
			continue
		}
		claims.Add(c)
		covers.Add(c)
		if c%100 == 0 {
			o.Groups = append(o.Groups, nil)
		}
		o.Groups[c/100] = append(o.Groups[c/100], c)
	}
	s := swarm.New(o)
	now := time.Unix(1, 0)
	s.Step(swarm.Began{}, now)
	said := make([]swarm.PeerSeen, 50)
	for i := range said {
		said[i] = swarm.PeerSeen{Peer: fmt.Sprint("d-", i), Have: have, Claims: claims, Pack: s.Pack()}
	}
	b.ReportAllocs()
	for i := range b.N {
		now = now.Add(2 * time.Millisecond)
		e := said[i%len(said)]
		e.Received = int64(i)
		if out := s.Step(e, now); len(out) > 0 {
			b.Fatalf("%v", out)
		}
		s.Wake(now)
	}
}
