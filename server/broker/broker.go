// Package broker carries documents and reports over MQTT: an [Embedded] broker inside the server, or a [Client] of an
// external one such as Mosquitto or EMQX. Either is a [Publisher], and a [Mirror] keeps the signed policies and
// memberships of the store on it as retained messages.
//
//	store ── Mirror ──► Publisher ──► devices         waxwing/v1/policy/…, retained, QoS 1
//	fleet ◄── Embedded or Client ◄── devices          waxwing/v1/device/<id>/{report,presence}
//
// A report is acknowledged to the device after it is durable: the embedded broker hands it to the fleet before it sends
// PUBACK, the client does not acknowledge to its broker before. So a report is lost nowhere, and a slow store slows its
// devices instead of filling queues.
//
// # An external broker
//
// It must demand client certificates of the fleet CA and take the common name as the user. The server comes as
// waxwing-server. For Mosquitto:
//
//	listener 8883
//	cafile ca.pem            # DIR/identity/ca.pem of the server
//	certfile …               # the broker's own; --mqtt-ca names its CA if it is not the fleet's
//	keyfile …
//	require_certificate true
//	use_identity_as_username true
//	allow_anonymous false
//	acl_file acl
//	message_size_limit 327680
//	persistence true
//
// and in the file acl:
//
//	user waxwing-server
//	topic readwrite waxwing/v1/#
//	pattern write waxwing/v1/device/%u/#
//	pattern read waxwing/v1/policy/device/%u
//	pattern read waxwing/v1/policy/group/+
//	pattern read waxwing/v1/site/%u
//
// Mosquitto knows no groups, so there a device may read the policies of all; they are signed and hold no secrets. The
// embedded broker shows a device only its own. A rejected device keeps its connection to an external broker until its
// certificate expires, but nothing that it says is taken.
package broker

import (
	"context"
	"errors"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

// Fleet is what a broker needs to know of devices; *fleet.Fleet is one.
type Fleet interface {
	// Authenticate says whether a device with this key may talk to the server.
	Authenticate(device, key string) (fleet.Admission, error)
	// Member reports whether a device is in a group.
	Member(device, group string) bool
	// Ingest makes a report durable.
	Ingest(ctx context.Context, device string, report []byte, address string) error
	// Presence notes that a device came or went.
	Presence(device string, online bool)
}

// Publisher publishes retained messages with QoS 1. An empty payload removes the message of a topic.
type Publisher interface {
	Publish(ctx context.Context, topic string, payload []byte) error
}

// ErrOffline says that the client has no connection to its broker now. A Mirror publishes again when it has.
var ErrOffline = errors.New("no connection to the MQTT broker")

// maxPacket bounds a packet that a device may send, in bytes: a document, its topic, and the header.
const maxPacket = protocol.MaxDocument + 4<<10

// never reports whether sending a report again would not help.
func never(err error) bool {
	return errors.Is(err, fleet.ErrReport) || errors.Is(err, fleet.ErrUnknown) || errors.Is(err, fleet.ErrRejected)
}
