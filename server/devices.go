package server

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/waxwing-ota/waxwing/server/broker"
	"github.com/waxwing-ota/waxwing/server/origin"
)

// wireDevices makes the device plane and the broker.
func (s *Server) wireDevices(p *parts) error {
	names := append([]string{s.o.Advertise}, addresses()...)
	plane := origin.New(origin.Options{
		Listener: p.fronts.device, TLS: p.identity.ServerTLS(names), Fleet: p.fleet, Blobs: p.blob, OpenRepo: s.o.OpenRepo,
		Sites:   p.sites,
		FleetCA: p.identity.PEM(), Tag: p.identity.Fleet(), Root: p.repo.Root, Server: s.at.Device, Brokers: []string{s.at.MQTT},
		Now: s.o.Now, Log: s.o.Log,
	})
	p.fronts.run = append(p.fronts.run, plane.Run)
	p.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "waxwing_origin_bytes_total", Help: "Bytes served below /repo: what crossed the uplinks of the sites.",
	}, func() float64 {
		var sum int64
		for _, n := range plane.Served() {
			sum += n
		}
		return float64(sum)
	}))
	p.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "waxwing_origin_held_total", Help: "Requests below /repo that were left to another device of the same site.",
	}, func() float64 { return float64(p.sites.Held()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "waxwing_devices_isolated", Help: "Devices that could not reach another one of their site lately.",
	}, func() float64 { return float64(p.sites.Isolated(context.Background())) }))
	return s.wireBroker(p, names)
}

// wireBroker makes the embedded broker, or connects to an external one.
func (s *Server) wireBroker(p *parts, names []string) error {
	if s.o.MQTTBroker != "" {
		roots, err := brokerRoots(s.o.MQTTCA)
		if err != nil {
			return err
		}
		// The mirror needs the client to publish, the client the mirror to publish again after it has connected.
		var mirror *broker.Mirror
		client, err := broker.NewClient(broker.ClientOptions{
			Broker: s.o.MQTTBroker, TLS: p.identity.ClientTLS(roots), Fleet: p.fleet, Log: s.o.Log,
			Connected: func() { mirror.Republish(); p.sites.Republish() },
		})
		if err != nil {
			return err
		}
		mirror = broker.NewMirror(broker.MirrorOptions{Store: p.store, Publisher: client, Log: s.o.Log})
		p.fronts.run = append(p.fronts.run, client.Run, mirror.Run, func(ctx context.Context) error { return p.sites.Run(ctx, client) })
		return nil
	}
	changed := p.fleet.Subscribe()
	p.closers = append(p.closers, closeFunc(changed.Close))
	embedded, err := broker.NewEmbedded(broker.Options{
		Listener: p.fronts.mqtt, TLS: p.identity.ServerTLS(names), Fleet: p.fleet, Log: s.o.Log,
		Changed: changed.Next, Seen: func(device, remote string) { p.sites.Seen(device, remote, true) },
	})
	if err != nil {
		return err
	}
	mirror := broker.NewMirror(broker.MirrorOptions{Store: p.store, Publisher: embedded, Log: s.o.Log})
	p.fronts.run = append(p.fronts.run, embedded.Run, mirror.Run, func(ctx context.Context) error { return p.sites.Run(ctx, embedded) })
	p.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "waxwing_mqtt_connections", Help: "Devices that are connected to the embedded broker.",
	}, func() float64 { return float64(embedded.Connected()) }))
	return nil
}

// brokerRoots reads the CA of an external broker; nil stands for the fleet's.
func brokerRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("CA of the MQTT broker: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%w: --mqtt-ca %s holds no certificate", ErrOptions, file)
	}
	return pool, nil
}

// closeFunc makes a function that cannot fail an io.Closer.
type closeFunc func()

func (f closeFunc) Close() error {
	f()
	return nil
}
