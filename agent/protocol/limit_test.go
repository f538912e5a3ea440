package protocol_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// TestLimitsAreBounded holds that a device cannot make the server remember much.
func TestLimitsAreBounded(t *testing.T) {
	parse := func(l ...protocol.Limit) (*protocol.Report, error) {
		b, err := json.Marshal(protocol.Report{Schema: 1, Device: "d", Limits: l})
		if err != nil {
			t.Fatal(err)
		}
		return protocol.ParseReport(b)
	}
	r, err := parse(make([]protocol.Limit, 100)...)
	if err != nil || len(r.Limits) != protocol.MaxLimits {
		t.Errorf("%+v: %v", r, err)
	}
	r, err = parse(protocol.Limit{Of: protocol.LimitUplink, Why: "used-up", Detail: strings.Repeat("long ", 1000)})
	if err != nil || len(r.Limits[0].Detail) != 200 {
		t.Errorf("%+v: %v", r, err)
	}
	if _, err = parse(protocol.Limit{Why: strings.Repeat("x", 33)}); err == nil {
		t.Error("a long code is taken")
	}
}
