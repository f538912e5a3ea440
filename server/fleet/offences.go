package fleet

import (
	"slices"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// accuses returns what a report says of neighbours that the one before did not.
func (m *mirror) accuses(r *protocol.Report) (news []protocol.Offence) {
	if len(r.Offences) == 0 {
		return nil
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var known []protocol.Offence
	if old := m.devices[r.Device]; old != nil {
		known = old.state.Report.Offences
	}
	for _, x := range r.Offences {
		if !slices.ContainsFunc(known, func(y protocol.Offence) bool { return x.Neighbor == y.Neighbor && x.Kind == y.Kind }) {
			news = append(news, x)
		}
	}
	return news
}

// accused lets people know of new accusations. Nothing else comes of them: they are one device's word, and one that lies
// could have honest devices shut out.
func (f *Fleet) accused(device, address string, news []protocol.Offence) {
	if len(news) == 0 {
		return
	}
	words := make([]string, len(news))
	for i, x := range news {
		words[i] = x.Neighbor + " " + string(x.Kind)
	}
	f.log.Warn("a device accuses neighbours", "device", device, "address", address, "of", words)
}
