package agenttest

import "github.com/waxwing-ota/waxwing/firmware"

// Index returns the index by which a payload is published.
func (c *Cloud) Index(payload []byte) *firmware.Index {
	c.t.Helper()
	return c.cut(payload)
}
