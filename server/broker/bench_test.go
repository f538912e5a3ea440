package broker_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/waxwing-ota/waxwing/agent/protocol"
	"github.com/waxwing-ota/waxwing/server/fleet"
)

// BenchmarkPolicyToAll is the time from a policy in the store to its arrival at each of many devices, and the memory of
// a connection, both ends of it together.
func BenchmarkPolicyToAll(b *testing.B) {
	const devices = 1000
	p, e := embedded(b)
	before := memory()
	arrived := make(chan int, devices)
	for i := range devices {
		id := fmt.Sprintf("d-%d", i)
		listen(b, p, id, p.world.Device(b, id, nil), arrived)
	}
	if n := e.Connected(); n != devices {
		b.Fatalf("%d are connected", n)
	}
	pair := float64(memory()-before) / devices / 1024
	payload := make([]byte, 1500)
	for b.Loop() {
		putPolicy(b, p.world.Store, fleet.AllGroup, string(payload))
		for range devices {
			select {
			case <-arrived:
			case <-time.After(30 * time.Second):
				b.Fatal("a device heard nothing")
			}
		}
	}
	b.ReportMetric(pair, "KiB/connection-pair")
	b.ReportMetric(devices*float64(b.N)/b.Elapsed().Seconds(), "devices/s")
}

func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// listen is a device of as little as possible: it subscribes to the policy of all and acknowledges.
func listen(b *testing.B, p *place, id string, cert tls.Certificate, arrived chan<- int) {
	b.Helper()
	c, err := tls.Dial("tcp", p.address, &tls.Config{RootCAs: p.world.Identity.Pool(), Certificates: []tls.Certificate{cert}})
	if err != nil {
		b.Fatal(err)
	}
	hello := packets.NewControlPacket(packets.Connect).(*packets.ConnectPacket)
	hello.ProtocolName, hello.ProtocolVersion, hello.ClientIdentifier, hello.CleanSession, hello.Keepalive = "MQTT", 4, id, true, 600
	subscribe := packets.NewControlPacket(packets.Subscribe).(*packets.SubscribePacket)
	subscribe.MessageID, subscribe.Topics, subscribe.Qoss = 1, []string{protocol.GroupPolicyTopic(fleet.AllGroup)}, []byte{1}
	ready := make(chan struct{})
	var once sync.Once
	var running sync.WaitGroup
	running.Go(func() {
		for {
			packet, err := packets.ReadPacket(io.Reader(c))
			if err != nil {
				return
			}
			switch got := packet.(type) {
			case *packets.SubackPacket:
				once.Do(func() { close(ready) })
			case *packets.PublishPacket:
				ack := packets.NewControlPacket(packets.Puback).(*packets.PubackPacket)
				ack.MessageID = got.MessageID
				if ack.Write(c) != nil {
					return
				}
				arrived <- 1
			}
		}
	})
	b.Cleanup(func() {
		_ = c.Close()
		running.Wait()
	})
	for _, packet := range []packets.ControlPacket{hello, subscribe} {
		if err := packet.Write(c); err != nil {
			b.Fatal(err)
		}
	}
	<-ready
}
