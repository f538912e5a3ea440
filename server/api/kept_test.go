package api

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k kept[int]
		made := 0
		slow := func() (int, error) {
			time.Sleep(20 * time.Millisecond) // of the bubble
			made++
			return made, nil
		}
		ask := func(want int) {
			t.Helper()
			if n, err := k.get(slow); n != want || err != nil {
				t.Errorf("%d %v, want %d", n, err, want)
			}
		}
		ask(1)
		time.Sleep(199 * time.Millisecond)
		ask(1)
		time.Sleep(time.Millisecond)
		ask(2)
		time.Sleep(time.Second)
		broken := errors.New("broken")
		if _, err := k.get(func() (int, error) { return 0, broken }); !errors.Is(err, broken) {
			t.Error(err)
		}
		ask(3) // an error is not kept
	})
}
