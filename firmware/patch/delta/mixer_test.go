package delta

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"testing"
)

// TestTables pins what is computed in floating point: a device must come to the same numbers as whoever made the patch, on
// any processor.
func TestTables(t *testing.T) {
	h := sha256.New()
	for i := range stretched {
		if err := binary.Write(h, binary.LittleEndian, []uint16{uint16(stretched[i]), squashed[i]}); err != nil {
			t.Fatal(err)
		}
	}
	const want = "34aa1bcf1580d5e9416995a5ddda6e2d0ea26a7d42530aadca67d4bcd7bbbf1b"
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		t.Fatalf("the tables are %s", got)
	}
}
