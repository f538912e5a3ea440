package keys

import (
	"encoding/asn1"
	"fmt"
	"math/big"
	"net"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/waxwing-ota/waxwing/signing/public"
)

// agentKey is a Signer whose key an ssh-agent holds (draft-ietf-sshm-ssh-agent), on this machine or behind a forwarded
// socket. SSH signs messages as they are with ed25519 and with ecdsa-sha2-nistp256; other kinds of keys are not taken.
type agentKey struct {
	socket  string
	timeout time.Duration
	ssh     ssh.PublicKey
	public  public.Key
}

// newAgentKey finds a key by its fingerprint, "SHA256:…".
func newAgentKey(socket, fingerprint string, timeout time.Duration) (*agentKey, error) {
	if socket == "" {
		return nil, fmt.Errorf("%w: no ssh-agent is known; start one, `ssh-add` the key and set SSH_AUTH_SOCK", ErrSigner)
	}
	a := &agentKey{socket: socket, timeout: timeout}
	err := a.ask(func(c agent.ExtendedAgent) error {
		held, err := c.List()
		if err != nil {
			return err
		}
		for _, k := range held {
			if ssh.FingerprintSHA256(k) != fingerprint {
				continue
			}
			if a.ssh, err = ssh.ParsePublicKey(k.Blob); err != nil {
				return err
			}
			return nil
		}
		return fmt.Errorf("the agent holds no key %s; `ssh-add -l` lists what it holds", fingerprint)
	})
	if err != nil {
		return nil, err
	}
	k, ok := a.ssh.(ssh.CryptoPublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: a %s", public.ErrKey, a.ssh.Type())
	}
	a.public, err = public.Of(k.CryptoPublicKey())
	return a, err
}

// ask opens a conversation for one question.
func (a *agentKey) ask(question func(agent.ExtendedAgent) error) error {
	conn, err := net.DialTimeout("unix", a.socket, a.timeout) //nolint:noctx // Sign has no context; the deadline bounds it
	if err != nil {
		return fmt.Errorf("%w: ssh-agent: %w", ErrSigner, err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(a.timeout)); err != nil {
		return err
	}
	if err := question(agent.NewClient(conn)); err != nil {
		return fmt.Errorf("%w: ssh-agent: %w", ErrSigner, err)
	}
	return nil
}

// Public implements Signer.
func (a *agentKey) Public() public.Key { return a.public }

// Sign implements Signer. The error matches ErrSigner.
func (a *agentKey) Sign(message []byte) ([]byte, error) {
	var s *ssh.Signature
	err := a.ask(func(c agent.ExtendedAgent) (err error) {
		s, err = c.Sign(a.ssh, message)
		return err
	})
	if err != nil {
		return nil, err
	}
	sig := s.Blob
	if a.public.Algorithm == public.ECDSA { // RFC 5656, 3.1.2: two mpints
		var parts struct{ R, S *big.Int }
		if err := ssh.Unmarshal(s.Blob, &parts); err != nil {
			return nil, fmt.Errorf("%w: ssh-agent: %w", ErrSigner, err)
		}
		if sig, err = asn1.Marshal(parts); err != nil {
			return nil, err
		}
	}
	return signed(a.public, message, sig, "ssh-agent")
}
