package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/waxwing-ota/waxwing/agent"
	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/remote"
	"github.com/waxwing-ota/waxwing/mesh"
	swarms "github.com/waxwing-ota/waxwing/mesh/swarm"
)

// neighbors is the mesh as the agent knows it.
type neighbors struct{ *mesh.Mesh }

func newMesh(c *agent.Config, id *agent.Identity, from agent.Sources, log *slog.Logger) (agent.Neighbors, error) {
	offended := func(o mesh.Offence) { from.Offended(o.Neighbor, protocol.OffenceKind(o.Kind)) }
	restraint := func() swarms.Link {
		switch uplink, lan := from.Shut(); {
		case uplink:
			return swarms.Limited
		case lan:
			return swarms.Silent
		}
		return ""
	}
	m, err := mesh.New(mesh.Options{
		Device: c.Device, Certificate: id.Certificate, FleetCA: id.Pool(), Fleet: c.Fleet,
		Interfaces: c.Mesh.Interfaces, Listen: c.Mesh.Listen, Link: swarms.Link(agent.LinkOf(c)), Objects: from.Objects, Offended: offended, Received: from.Received,
		Restraint: restraint, Serve: from.Serve, Closed: from.Closed, Log: log,
	})
	return neighbors{m}, err
}

// Sight implements agent.Neighbors.
func (n neighbors) Sight() (int, int64) { return len(n.Neighbors()), n.Served() }

// Share implements agent.Neighbors.
func (n neighbors) Share(s agent.Swarm) (stop func()) { return n.Mesh.Share(swarm(s)) }

// Fetch implements agent.Neighbors.
func (n neighbors) Fetch(ctx context.Context, s agent.Swarm, missing []firmware.Chunk, deliver func([]byte, firmware.ChunkID) error) error {
	_, err := n.Mesh.Fetch(ctx, swarm(s), missing, deliver)
	return err
}

func swarm(s agent.Swarm) mesh.Swarm {
	out := mesh.Swarm{
		ID: s.ID, Index: s.Index, Have: s.Have, Origin: source{s.Origin}, Groups: s.Groups, Patches: s.Patches, Patched: s.Patched,
	}
	if s.Came != nil {
		out.Came = func(d mesh.Delivery) {
			s.Came(agent.Delivery{From: d.From, Why: string(d.Why), Chunks: d.Chunks, Bytes: d.Bytes})
		}
	}
	return out
}

// source is an origin as the mesh knows it: what others of the site hold is said in the mesh's words.
type source struct{ agent.Origin }

// Fetch implements mesh.Origin.
func (s source) Fetch(ctx context.Context, batch []firmware.Chunk, deliver mesh.Deliver) (int64, error) {
	n, err := s.Origin.Fetch(ctx, batch, deliver)
	if errors.Is(err, remote.ErrHeld) {
		err = fmt.Errorf("%w: %w", mesh.ErrHeld, err)
	}
	return n, err
}

var _ agent.Vicinity = neighbors{}
