// Package keys holds the private keys that sign: releases, roles and policies. A [Signer] is one key, wherever it lives;
// [Open] finds one by what a person writes on a command line:
//
//	FILE                     a key file: PKCS#8 in PEM, mode 0600, or the same encrypted to a passphrase with age, armored
//	exec:COMMAND ARG…        a program that holds the key, as a KMS, a smart card or a PKCS#11 token needs: [Command]
//	ssh-agent:SHA256:…       a key that ssh-agent holds, named as `ssh-add -l` does
//
// A file without a passphrase is what the development trust and a CI job's secret mount use; [Make] and [Generate] make
// key files. `age --decrypt` reads an encrypted one, so no key depends on this program.
//
// Keys are ed25519, or ECDSA on P-256, which every KMS and token knows. What a key is called is its public half's business
// (signing/public); people pass that around as a PEM file ([EncodePublic]). TUF derives an id of its own from the same key
// ([TUF]). Whatever a program or an agent says it signed is verified before it is used.
package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/waxwing-ota/waxwing/signing/public"
)

// Signer signs with one key.
type Signer interface {
	Public() public.Key
	Sign(message []byte) ([]byte, error)
}

// File is a Signer whose key was read from a file.
type File struct {
	key    crypto.Signer
	public public.Key
}

func newFile(key any) (*File, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: a %T", public.ErrKey, key)
	}
	p, err := public.Of(signer.Public())
	return &File{signer, p}, err
}

// Public implements Signer.
func (f *File) Public() public.Key { return f.public }

// Sign implements Signer.
func (f *File) Sign(message []byte) ([]byte, error) {
	if f.public.Algorithm == public.ECDSA {
		sum := sha256.Sum256(message)
		return f.key.Sign(rand.Reader, sum[:], crypto.SHA256)
	}
	return f.key.Sign(rand.Reader, message, crypto.Hash(0))
}

// maxFile bounds a key file, in bytes.
const maxFile = 16 << 10

// New says what key to make.
type New struct {
	Algorithm  public.Algorithm // empty: ed25519
	Passphrase string           // that the file is encrypted to; empty: it is not encrypted
	Cost       int              // of guessing the passphrase: scrypt's log2(N); 0: 18, about a second
}

// Generate makes an ed25519 key in a new file, not encrypted; it never replaces one. The error for an existing file
// matches fs.ErrExist.
func Generate(path string) (*File, error) { return Make(path, New{}) }

// Make makes a key in a new file; it never replaces one. The error for an existing file matches fs.ErrExist.
func Make(path string, n New) (*File, error) {
	var key any
	var err error
	switch n.Algorithm {
	case "", public.Ed25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case public.ECDSA:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		err = fmt.Errorf("%w: algorithm %q; write %s or %s", public.ErrKey, n.Algorithm, public.Ed25519, public.ECDSA)
	}
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	content := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if n.Passphrase != "" {
		if content, err = encrypt(content, n.Passphrase, n.Cost); err != nil {
			return nil, fmt.Errorf("make key %s: %w", path, err)
		}
	}
	if err := create(path, content); err != nil {
		return nil, fmt.Errorf("make key %s: %w", path, err)
	}
	return newFile(key)
}

// create writes a file that did not exist, whole or not at all, and makes it survive a power cut.
func create(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // fails when path exists, unlike a rename
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Load reads a key file that is not encrypted.
func Load(path string) (*File, error) { return load(path, Options{}) }

func load(path string, o Options) (*File, error) {
	b, err := small(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block != nil && block.Type == encryptedBlock {
		if block, err = decrypt(b, path, o); err != nil {
			return nil, fmt.Errorf("key %s: %w", path, err)
		}
	}
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fmt.Errorf("key %s: not a PEM file with a PRIVATE KEY; make one with `waxwing keys generate`", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	f, err := newFile(parsed)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	return f, nil
}

// small reads a file that is no larger than keys are.
func small(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("key %s: a %s of %d bytes is no key file", path, info.Mode().Type(), info.Size())
	}
	return os.ReadFile(path)
}

// LoadOrGenerate reads a key file and makes it when there is none.
func LoadOrGenerate(path string) (*File, error) {
	f, err := Load(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Generate(path)
	}
	return f, err
}

// TUF returns a public key as TUF metadata lists it, with its TUF key id.
func TUF(k public.Key) (*metadata.Key, string, error) {
	parsed, err := k.Crypto()
	if err != nil {
		return nil, "", err
	}
	listed, err := metadata.KeyFromPublicKey(parsed)
	if err != nil {
		return nil, "", err
	}
	id, err := listed.ID()
	return listed, id, err
}

// OfTUF returns the key that TUF metadata lists.
func OfTUF(listed *metadata.Key) (public.Key, error) {
	parsed, err := listed.ToPublicKey()
	if err != nil {
		return public.Key{}, fmt.Errorf("%w: %w", public.ErrKey, err)
	}
	return public.Of(parsed)
}
