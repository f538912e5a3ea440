package broker

import (
	"strings"

	"github.com/waxwing-ota/waxwing/agent/protocol"
)

// mayWrite reports whether a device may publish on a topic: below its own prefix.
func mayWrite(device, topic string) bool {
	return strings.HasPrefix(topic, protocol.DeviceTopics(device))
}

// mayRead reports whether a device may read a topic: its own policies and site, and the policies of its groups. The same
// question is asked of filters, and a filter with a wildcard is none of these topics.
func mayRead(device, topic string, member func(device, group string) bool) bool {
	if topic == protocol.DevicePolicyTopic(device) || topic == protocol.SiteTopic(device) {
		return true
	}
	group, ok := strings.CutPrefix(topic, protocol.GroupPolicyTopic(""))
	return ok && !strings.ContainsAny(group, "/+#") && member(device, group)
}

// deviceOf returns the device and the last part of a topic waxwing/v1/device/<id>/<kind>.
func deviceOf(topic string) (device, kind string, ok bool) {
	prefix := strings.TrimSuffix(protocol.AllReports, "+/report")
	rest, ok := strings.CutPrefix(topic, prefix)
	if !ok {
		return "", "", false
	}
	device, kind, ok = strings.Cut(rest, "/")
	return device, kind, ok && device != ""
}

const (
	kindReport   = "report"
	kindPresence = "presence"
)
