// Package sourcetest is what every firmware.Source must do.
package sourcetest

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/waxwing-ota/waxwing/firmware"
)

// Run checks a source that holds exactly the given plain chunks.
func Run(t *testing.T, source firmware.Source, chunks [][]byte) {
	t.Helper()
	t.Run("holds its chunks", func(t *testing.T) {
		for _, plain := range chunks {
			id := firmware.Sum(plain)
			if !source.Has(id) {
				t.Fatalf("does not have %s", id)
			}
			got, err := source.Chunk(t.Context(), id)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%s: %d bytes, %v", id, len(got), err)
			}
			if len(got) > 0 {
				got[0] ^= 1 // the caller owns the bytes
			}
			if again, err := source.Chunk(t.Context(), id); err != nil || !bytes.Equal(again, plain) {
				t.Fatalf("%s changed with the caller's copy: %v", id, err)
			}
		}
	})
	t.Run("lacks others", func(t *testing.T) {
		id := firmware.Sum([]byte("a chunk that nobody has"))
		if source.Has(id) {
			t.Fatalf("claims %s", id)
		}
		if b, err := source.Chunk(t.Context(), id); !errors.Is(err, firmware.ErrNotFound) || b != nil {
			t.Fatalf("gives %d bytes, %v", len(b), err)
		}
	})
	t.Run("serves many at once", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for _, plain := range chunks {
					if got, err := source.Chunk(t.Context(), firmware.Sum(plain)); err != nil || !bytes.Equal(got, plain) {
						t.Errorf("%s: %v", firmware.Sum(plain), err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}
