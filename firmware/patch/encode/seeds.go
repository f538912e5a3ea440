package encode

import "encoding/binary"

const (
	seedSize  = 12 // bytes of an exact match that suggests an alignment
	seedBits  = 20 // of the hash that finds it
	seedTries = 4  // places with that hash that are looked at
)

// seeds finds places of a base that begin with given bytes.
type seeds struct {
	base []byte
	head []int32 // by hash: the last place + 1
	prev []int32 // by place: the one before with the same hash
}

// init forgets what was there and takes up a base. places is memory for it, one for each byte.
func (s *seeds) init(base []byte, places []int32) {
	s.base, s.prev = base, places
	if s.head == nil {
		s.head = make([]int32, 1<<seedBits)
	}
	clear(s.head)
	for i := 0; i+seedSize <= len(base); i++ {
		h := seedHash(base[i:])
		s.prev[i] = s.head[h]
		s.head[h] = int32(i + 1)
	}
}

func seedHash(b []byte) uint32 {
	v := binary.LittleEndian.Uint64(b) ^ uint64(binary.LittleEndian.Uint32(b[8:]))*0x9e3779b97f4a7c15
	return uint32(v * 0x9fb21c651e98df25 >> (64 - seedBits))
}

// look calls f with places that begin as b does.
func (s *seeds) look(b []byte, f func(at int)) {
	if len(b) < seedSize {
		return
	}
	at := int(s.head[seedHash(b)]) - 1
	for tries := seedTries; at >= 0 && tries > 0; tries-- {
		if string(s.base[at:at+seedSize]) == string(b[:seedSize]) {
			f(at)
		}
		at = int(s.prev[at]) - 1
	}
}
