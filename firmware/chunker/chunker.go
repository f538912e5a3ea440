// Package chunker cuts a payload where its content says so, so that an insertion moves boundaries only near itself and two
// versions of an image share most of their chunks. Only publishers cut; a device never links this package, because an
// index already holds the boundaries.
//
// The algorithm is FastCDC (Xia et al., USENIX ATC 2016) as go-cdc-chunkers implements it under the name
// "fastcdc-v1.0.0". Algorithm, gear table and sizes are part of the format in practice: other boundaries would end all
// sharing with releases that exist. A test holds them.
package chunker

import (
	"errors"
	"fmt"
	"io"

	chunkers "github.com/PlakarKorp/go-cdc-chunkers"
	_ "github.com/PlakarKorp/go-cdc-chunkers/chunkers/fastcdc" // registers the algorithm

	"github.com/waxwing-ota/waxwing/firmware"
)

// Default returns the sizes that releases are cut with: 16, 64 and 256 KiB, casync's own.
func Default() firmware.Chunking {
	return firmware.Chunking{Min: 16 << 10, Avg: 64 << 10, Max: 256 << 10}
}

// Split calls each with every chunk of r in order. The bytes are valid only during the call. An empty payload is refused,
// as an index cannot describe it.
func Split(r io.Reader, c firmware.Chunking, each func(plain []byte) error) error {
	if c.Max > firmware.MaxChunkSize {
		return fmt.Errorf("chunks of up to %d bytes: %w", c.Max, firmware.ErrTooLarge)
	}
	cut, err := chunkers.NewChunker("fastcdc-v1.0.0", r,
		&chunkers.ChunkerOpts{MinSize: int(c.Min), NormalSize: int(c.Avg), MaxSize: int(c.Max)})
	if err != nil {
		return fmt.Errorf("chunk sizes %d/%d/%d: %w", c.Min, c.Avg, c.Max, err)
	}
	any := false
	for {
		plain, err := cut.Next() // the last chunk may come with io.EOF, or nothing may
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read the payload: %w", err)
		}
		if len(plain) > 0 {
			any = true
			if err := each(plain); err != nil {
				return err
			}
		}
		if err != nil && any {
			return nil
		}
		if err != nil {
			return fmt.Errorf("the payload is empty: %w", firmware.ErrMalformed)
		}
	}
}
