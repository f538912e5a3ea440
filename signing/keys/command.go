package keys

import (
	"bytes"
	"context"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os/exec"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/signing/public"
)

// Command is a Signer whose key a program holds. The program is run for each signature:
//
//	COMMAND ARG… public      prints the public key, PEM with a PUBLIC KEY
//	COMMAND ARG… sign        reads the message from standard input and prints the signature, raw bytes and nothing else
//
// The signature is RFC 8032's for ed25519; for ECDSA over the SHA-256 of the message, in ASN.1 DER or as the 64 bytes r‖s of
// PKCS#11. What goes wrong the program says on standard error, and ends with a code other than 0.
type Command struct {
	args    []string
	timeout time.Duration
	public  public.Key
}

// NewCommand asks a program for its public key. The command is split at spaces and run without a shell: what needs more
// than that is put into a script.
func NewCommand(command string, timeout time.Duration) (*Command, error) {
	c := &Command{args: strings.Fields(command), timeout: timeout}
	if len(c.args) == 0 {
		return nil, fmt.Errorf("%w: exec: names no command", ErrSigner)
	}
	b, err := c.run("public", nil)
	if err != nil {
		return nil, err
	}
	if c.public, err = ParsePublic(b); err != nil {
		return nil, fmt.Errorf("`%s public`: %w", command, err)
	}
	return c, nil
}

// Public implements Signer.
func (c *Command) Public() public.Key { return c.public }

// Sign implements Signer. The error matches ErrSigner.
func (c *Command) Sign(message []byte) ([]byte, error) {
	sig, err := c.run("sign", message)
	if err != nil {
		return nil, err
	}
	return signed(c.public, message, sig, strings.Join(c.args, " "))
}

// signed returns a signature that verifies, in the form that signing/public has, or an error that matches ErrSigner.
func signed(k public.Key, message, sig []byte, by string) ([]byte, error) {
	forms := [][]byte{sig}
	if k.Algorithm == public.ECDSA && len(sig) == 64 {
		der, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])})
		if err == nil {
			forms = append(forms, der)
		}
	}
	for _, form := range forms {
		if k.Verify(message, form) {
			return form, nil
		}
	}
	return nil, fmt.Errorf("%w: what %s returned is no signature by key %s", ErrSigner, by, k.ID())
}

// maxAnswer bounds what a program may print, in bytes, and maxWords what of its complaint is shown.
const (
	maxAnswer = 16 << 10
	maxWords  = 1 << 10
)

func (c *Command) run(what string, stdin []byte) ([]byte, error) {
	ctx, stop := context.WithTimeout(context.Background(), c.timeout) // Sign has none: a signature is waited for
	defer stop()
	cmd := exec.CommandContext(ctx, c.args[0], append(c.args[1:len(c.args):len(c.args)], what)...)
	out, words := &bounded{limit: maxAnswer, strict: true}, &bounded{limit: maxWords}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), out, words
	cmd.WaitDelay = time.Second // for children that keep the pipes open
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		err = fmt.Errorf("no answer within %s", c.timeout)
	case out.over:
		err = fmt.Errorf("an answer over %d bytes", maxAnswer)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: `%s %s`: %w: %s", ErrSigner, strings.Join(c.args, " "), what, err,
			strings.TrimSpace(words.String()))
	}
	return out.Bytes(), nil
}

// bounded keeps the first bytes that are written to it; a strict one refuses more.
type bounded struct {
	bytes.Buffer
	limit        int
	strict, over bool
}

var errOver = errors.New("too much was written")

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	room := b.limit - b.Len()
	if len(p) > room {
		b.over = true
		b.Buffer.Write(p[:room])
		if b.strict {
			return room, errOver
		}
		return len(p), nil
	}
	return b.Buffer.Write(p)
}

// ReadFrom hides the one of bytes.Buffer, which knows no limit.
func (b *bounded) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{b}, r)
}
