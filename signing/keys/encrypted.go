package keys

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// maxCost bounds what an encrypted file may ask of who opens it: scrypt's log2(N). 20 takes 1 GiB for some seconds.
const maxCost = 20

// encryptedBlock is how an armored age file calls itself.
const encryptedBlock = "AGE ENCRYPTED FILE"

// ErrPassphrase says that a key file is encrypted and no passphrase, or a wrong one, was given.
var ErrPassphrase = errors.New("the key file is encrypted and this passphrase does not open it")

func encrypt(content []byte, passphrase string, cost int) ([]byte, error) {
	to, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		return nil, err
	}
	if cost != 0 {
		to.SetWorkFactor(cost)
	}
	var out bytes.Buffer
	a := armor.NewWriter(&out)
	w, err := age.Encrypt(a, to)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(content)
	err = errors.Join(err, w.Close(), a.Close())
	return append(out.Bytes(), '\n'), err
}

// decrypt returns the PEM block inside an armored age file.
func decrypt(b []byte, path string, o Options) (*pem.Block, error) {
	if o.Passphrase == nil {
		return nil, fmt.Errorf("%w: none was given", ErrPassphrase)
	}
	passphrase, err := o.Passphrase(path)
	if err != nil {
		return nil, err
	}
	with, err := age.NewScryptIdentity(passphrase)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPassphrase, err)
	}
	with.SetMaxWorkFactor(maxCost)
	plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(b)), with)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPassphrase, err)
	}
	content, err := io.ReadAll(io.LimitReader(plain, maxFile))
	if err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	block, _ := pem.Decode(content)
	return block, nil
}
