package auth

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
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
	if err := writePrivate(file, []byte(secret+"\n")); err != nil {
		return false, fmt.Errorf("keep the first admin token: %w", err)
	}
	_, err = a.tokens.Create(ctx, t.ID, t)
	return err == nil, err
}

func writePrivate(file string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".token-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if _, err = tmp.Write(b); err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
