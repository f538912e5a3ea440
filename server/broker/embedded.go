package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"golang.org/x/sync/errgroup"
)

// Options of [NewEmbedded].
type Options struct {
	Listener net.Listener // plain TCP; closed by Run
	TLS      *tls.Config  // with certificate and ClientCAs: identity.ServerTLS
	Fleet    Fleet
	// Changed waits for devices whose admission may have changed: Next of a feed of the fleet. Those that are no longer
	// welcome lose their connection. May be nil.
	Changed func(context.Context) ([]string, error)
	// Seen is told whence a device connects. May be nil.
	Seen func(device, remote string)
	Log  *slog.Logger
}

// Embedded is the broker inside the server. Devices come with a certificate of the fleet CA whose common name is their
// MQTT client id.
type Embedded struct {
	options Options
	server  *mqtt.Server
	hook    *hook
}

// NewEmbedded returns a broker that takes messages to publish at once and connections once it runs.
func NewEmbedded(o Options) (*Embedded, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := mqtt.NewDefaultServerCapabilities()
	// The default forgets retained messages after a day. A policy is retained until it is replaced.
	c.MaximumMessageExpiryInterval = 0
	// A device subscribes to at most 256 groups and itself and gets all their retained messages at once; what does not
	// fit into the queue is dropped. Each place costs eight bytes a connection.
	c.MaximumClientWritesPending = 320
	c.MaximumInflight = 320
	c.ReceiveMaximum = 64
	c.MaximumPacketSize = maxPacket
	// Devices need no queue of missed messages: all they read is retained.
	c.MaximumSessionExpiryInterval = uint32(time.Hour / time.Second)
	c.SharedSubAvailable = 0
	// An alias would be resolved after the topic was checked.
	c.TopicAliasMaximum = 0
	c.MaximumQos = 1
	s := mqtt.New(&mqtt.Options{
		Capabilities: c,
		InlineClient: true,
		// mochi warns of every client that hangs up.
		Logger:                   slog.New(slog.DiscardHandler),
		ClientNetReadBufferSize:  1 << 10,
		ClientNetWriteBufferSize: 1 << 10,
		SysTopicResendInterval:   int64(time.Hour / time.Second),
	})
	return &Embedded{options: o, server: s, hook: newHook(o.Fleet, o.Seen, o.Log)}, nil
}

// Publish implements Publisher. Messages are kept in memory only: a Mirror brings them again after a restart.
func (e *Embedded) Publish(_ context.Context, topic string, payload []byte) error {
	if err := e.server.Publish(topic, payload, true, 1); err != nil {
		return fmt.Errorf("publish on %s: %w", topic, err)
	}
	return nil
}

// Kick ends a device's connection, if it has one.
func (e *Embedded) Kick(device string) { e.hook.kick(device) }

// Connected returns how many clients are connected.
func (e *Embedded) Connected() int { return e.hook.count() }

// Addr returns the listener's address.
func (e *Embedded) Addr() net.Addr { return e.options.Listener.Addr() }

// Run serves until ctx ends.
func (e *Embedded) Run(ctx context.Context) error {
	config := e.options.TLS.Clone()
	config.ClientAuth = tls.RequireAndVerifyClientCert
	a := newAcceptor(e.options.Listener, config)
	e.hook.ingest = func(device string, report []byte, address string) error {
		return e.options.Fleet.Ingest(ctx, device, report, address)
	}
	if err := e.server.AddHook(e.hook, nil); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	if err := e.server.AddListener(listener{a}); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := e.server.Serve(); err != nil {
			return fmt.Errorf("broker: %w", err)
		}
		<-ctx.Done()
		a.closeAll()
		return e.server.Close()
	})
	if e.options.Changed != nil {
		g.Go(func() error {
			for {
				ids, err := e.options.Changed(ctx)
				if err != nil {
					return err
				}
				e.hook.review(ids)
			}
		})
	}
	if err := g.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
