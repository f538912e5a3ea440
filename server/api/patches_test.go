package api_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/api"
)

// A release tells what it costs to come to it from the version that devices run, without anybody asking for it.
func TestReleaseTellsOfPatches(t *testing.T) {
	p := newPlane(t)
	old := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(old)
	next := append(bytes.Clone(old), "and grows a bit"...)
	first := p.releaseOf("1.0.0", old)
	if first.Patches == nil || len(*first.Patches) != 0 {
		t.Errorf("the first release has patches: %+v", first.Patches)
	}
	device := p.enrol("d-1", "qemu-arm64", map[string]any{})
	device.says("1.0.0", firmware.Sum([]byte("any")), &protocol.Update{Phase: protocol.Idle})
	p.releaseOf("1.1.0", next)

	var rel api.Release
	p.until("the patches are ready", func() bool {
		rel = api.Release{}
		p.want(200, "GET", "/releases/edge-gw/1.1.0", nil).into(t, &rel)
		return len(*rel.Patches) == 1 && (*rel.Patches)[0].State == api.PatchesStateReady
	})
	one := (*rel.Patches)[0]
	if one.Base != "1.0.0" || one.Bytes == 0 || one.Bytes <= one.IndexBytes || one.Groups == 0 || one.Chunks == 0 || one.Error != nil {
		t.Errorf("%+v", one)
	}
	if one.Devices == nil || *one.Devices != 1 {
		t.Errorf("devices on the base: %v", one.Devices)
	}
}
