package keys

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/signing/public"
)

// Options say how keys that are not simply read are reached.
type Options struct {
	Passphrase func(file string) (string, error) // asked when a file is encrypted; nil: nobody can be asked
	Agent      string                            // socket of ssh-agent, as in SSH_AUTH_SOCK
	Timeout    time.Duration                     // of one answer of a program or an agent; 0: 2 minutes, for tokens that are touched
}

func (o Options) timeout() time.Duration {
	if o.Timeout == 0 {
		return 2 * time.Minute
	}
	return o.Timeout
}

const (
	execPrefix  = "exec:"
	agentPrefix = "ssh-agent:"
)

// ErrSigner says that what holds a key did not sign with it.
var ErrSigner = errors.New("no signature was made")

// Open returns the signer that a reference names; the package comment says how one is written.
func Open(ref string, o Options) (Signer, error) {
	var s Signer
	var err error
	switch {
	case strings.HasPrefix(ref, execPrefix):
		s, err = NewCommand(strings.TrimPrefix(ref, execPrefix), o.timeout())
	case strings.HasPrefix(ref, agentPrefix):
		s, err = newAgentKey(o.Agent, strings.TrimPrefix(ref, agentPrefix), o.timeout())
	default:
		s, err = load(ref, o)
	}
	if err != nil {
		return nil, err // and no nil pointer that is no nil Signer
	}
	return s, nil
}

// OpenPublic returns the public key that a reference names: a PEM file with a PUBLIC KEY, or what Open takes.
func OpenPublic(ref string, o Options) (public.Key, error) {
	if !strings.HasPrefix(ref, execPrefix) && !strings.HasPrefix(ref, agentPrefix) {
		b, err := small(ref)
		if err != nil {
			return public.Key{}, err
		}
		if k, err := ParsePublic(b); err == nil {
			return k, nil
		}
	}
	s, err := Open(ref, o)
	if err != nil {
		return public.Key{}, err
	}
	return s.Public(), nil
}

const publicBlock = "PUBLIC KEY"

// EncodePublic writes a public key as PEM (SubjectPublicKeyInfo, RFC 5280), as openssl and every KMS do.
func EncodePublic(k public.Key) ([]byte, error) {
	parsed, err := k.Crypto()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(parsed)
	return pem.EncodeToMemory(&pem.Block{Type: publicBlock, Bytes: der}), err
}

// ParsePublic reads the PEM form of a public key. The error matches public.ErrKey.
func ParsePublic(b []byte) (public.Key, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != publicBlock {
		return public.Key{}, fmt.Errorf("%w: not PEM with a %s", public.ErrKey, publicBlock)
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return public.Key{}, fmt.Errorf("%w: %w", public.ErrKey, err)
	}
	return public.Of(parsed)
}
