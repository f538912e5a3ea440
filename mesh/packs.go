package mesh

import (
	"sync"

	"github.com/waxwing-ota/waxwing/mesh/swarm"
)

// kept returns the groups whose patches can be passed on.
func (s *Swarm) kept() swarm.Set {
	out := swarm.NewSet(len(s.Groups))
	if s.Patches != nil {
		for _, g := range s.Patches.Held() {
			if g < len(s.Groups) {
				out.Add(g)
			}
		}
	}
	return out
}

// maxPacks is how many packs of others are remembered: one for each release that devices of the site come from.
const maxPacks = 16

// packs are what the packs of a swarm cover, by id. It is safe for concurrent use.
type packs struct {
	mu sync.Mutex
	by map[string]swarm.Pack
}

func (p *packs) put(one swarm.Pack) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.by == nil {
		p.by = map[string]swarm.Pack{}
	}
	if _, known := p.by[one.ID]; one.ID != "" && !known && len(p.by) < maxPacks {
		p.by[one.ID] = one
	}
}

// get returns a pack, or none when it is not known.
func (p *packs) get(id string) swarm.Pack {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.by[id]
}
