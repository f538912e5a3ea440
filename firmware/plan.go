package firmware

// Plan is what it takes to complete a payload.
type Plan struct {
	Missing      []Chunk // each distinct chunk that no source has, in order of first use
	MissingBytes int64   // their plain bytes
	LocalBytes   int64   // plain bytes of the payload that the sources hold, repeats included
}

// MakePlan compares an index with what is at hand. It looks at names only and reads no payload.
func MakePlan(want *Index, have func(ChunkID) bool) Plan {
	var p Plan
	missing := make(map[ChunkID]bool)
	for _, c := range want.Chunks {
		switch {
		case have(c.ID):
			p.LocalBytes += int64(c.Size)
		case !missing[c.ID]:
			missing[c.ID] = true
			p.Missing = append(p.Missing, c)
			p.MissingBytes += int64(c.Size)
		}
	}
	return p
}

// Distinct returns each distinct chunk of the index, in order of first use. A chunk's place in it is its number: patches
// and the mesh name chunks so, in a byte or two instead of 32.
func (x *Index) Distinct() []Chunk {
	seen := make(map[ChunkID]struct{}, len(x.Chunks))
	var all []Chunk
	for _, c := range x.Chunks {
		if _, repeated := seen[c.ID]; !repeated {
			seen[c.ID] = struct{}{}
			all = append(all, c)
		}
	}
	return all
}
