package discovery

import (
	"net/netip"
	"time"
)

const (
	readRate, readBurst     = 5000, 1000 // packets a second on one socket; more wait in the kernel, and it drops them
	parseRate, parseBurst   = 300, 1000  // that concern this service
	sourceRate, sourceBurst = 50, 100    // of one address
	maxSources              = 256
)

// bucket lets so much through: rate a second in the long run, burst at once. The zero bucket is full.
type bucket struct {
	used   float64
	at     time.Time
	denied int
}

func (b *bucket) allow(now time.Time, rate, burst float64) bool {
	if !b.at.IsZero() {
		b.used = max(0, b.used-max(0, now.Sub(b.at).Seconds())*rate)
	}
	if b.used == 0 { // what was too much long ago is no part of this
		b.denied = 0
	}
	b.at = now
	if b.used+1 > burst {
		b.denied++
		return false
	}
	b.used++
	return true
}

// sources is what each address may say. When there are too many, those that have been silent the longest start anew: whoever
// changes address with every packet is stopped by the bucket for all.
type sources struct {
	each map[netip.Addr]*bucket
	all  bucket
}

func (s *sources) allow(now time.Time, from netip.Addr, shared bool) bool {
	if b := s.each[from]; b != nil && !b.allow(now, sourceRate, sourceBurst) {
		return false // and others may have what is left
	} else if !s.all.allow(now, parseRate, parseBurst) {
		return false
	} else if b == nil && !shared { // as the loopback's address is
		if len(s.each) >= maxSources {
			s.evict()
		}
		s.each[from] = &bucket{used: 1, at: now}
	}
	return true
}

// loud reports, once each time, that an address goes on saying too much.
func (s *sources) loud(a netip.Addr) bool {
	b := s.each[a]
	if b == nil || b.denied < muteAfter {
		return false
	}
	b.denied = 0
	return true
}

// crowded reports, once each time, that all together go on saying too much.
func (s *sources) crowded() bool {
	if s.all.denied < crowdAfter {
		return false
	}
	s.all.denied = 0
	return true
}

func (s *sources) evict() {
	var oldest netip.Addr
	for a, b := range s.each {
		if o := s.each[oldest]; o == nil || b.at.Before(o.at) {
			oldest = a
		}
	}
	delete(s.each, oldest)
}
