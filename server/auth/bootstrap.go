package auth

import (
	"context"
	"fmt"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"
)

// Bootstrap makes sure that somebody can administer: when no living token may, it makes one, writes it to a file that
// only the owner can read, and returns true. That is so at the first start, and after the last one has expired.
//
// The file is written before the token is stored: killed in between, the next start finds no token and begins again.
func (a *Auth) Bootstrap(ctx context.Context, file string) (made bool, err error) {
	n, err := a.admins(ctx, "")
	if err != nil || n > 0 {
		return false, err
	}
	t, secret, err := a.mint("first admin", []Scope{Admin}, adminLife, "waxwing-server")
	if err != nil {
		return false, err
	}
	if err := atomicfile.Write(file, []byte(secret+"\n"), 0o600); err != nil {
		return false, fmt.Errorf("keep the first admin token: %w", err)
	}
	_, err = a.tokens.Create(ctx, t.ID, t)
	return err == nil, err
}
