package agenttest

import (
	"bytes"
	"context"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/firmware/patch"
	"github.com/waxwing-ota/waxwing/firmware/patch/encode"
)

// Pack offers patches from one payload to another that was published, and returns their pack.
func (c *Cloud) Pack(base, target []byte) *patch.Pack {
	c.t.Helper()
	ctx := context.Background()
	payload := func(b []byte) encode.Payload {
		return encode.Payload{Bytes: bytes.NewReader(b), Index: c.cut(b), SHA256: firmware.Sum(b)}
	}
	built, err := encode.Build(ctx, encode.Options{
		Base: payload(base), Target: payload(target), Workers: 1,
		Frame: func(ctx context.Context, id firmware.ChunkID) (int64, error) {
			b, err := files{c}.Get(ctx, "chunks/"+firmware.ChunkPath(id))
			return int64(len(b)), err
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	var file bytes.Buffer
	if _, err := built.WriteTo(&file); err != nil {
		c.t.Fatal(err)
	}
	if err := (files{c}).Put(ctx, patch.Path(built.Base, built.Target), file.Bytes()); err != nil {
		c.t.Fatal(err)
	}
	return built.Pack
}
