package lan_test

import (
	"testing"
	"time"

	"github.com/waxwing-ota/waxwing/mesh/meshtest/lan"
)

// TestUplink holds that what crosses takes its time, whoever asks: a device alone needs what the uplink needs.
func TestUplink(t *testing.T) {
	l := lan.New(lan.Site{Devices: 1, Chunks: 80, ChunkTime: 50 * time.Millisecond})
	if err := l.Run(); err != nil || l.Spent != 4*time.Second || l.Took < 4*time.Second || l.Took > 6*time.Second || l.Device(0).Have() != 80 {
		t.Errorf("%v spent, took %v: %v", l.Spent, l.Took, err)
	}
}

// TestApart holds that who cannot reach each other fetches alone.
func TestApart(t *testing.T) {
	l := lan.New(lan.Site{Devices: 3, Chunks: 80, Apart: func(a, b int, _ time.Duration) bool { return a != b }})
	if err := l.Run(); err != nil || l.Copies(80*l.ChunkTime) != 3 {
		t.Errorf("%v copies: %v", l.Copies(80*l.ChunkTime), err)
	}
}

// TestLeftBehind notices a device that nobody helps.
func TestLeftBehind(t *testing.T) {
	l := lan.New(lan.Site{Devices: 2, Chunks: 8})
	l.At(0, func() { l.Device(0).Nature = lan.Staller })
	l.At(time.Second, l.Device(0).Die)
	if err := l.Run(); err != nil {
		t.Errorf("the other one can help itself: %v", err)
	}
}
