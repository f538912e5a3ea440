package public_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"slices"
	"testing"

	"github.com/waxwing-ota/waxwing/signing/public"
)

type signer struct {
	public.Key
	sign func(message []byte) []byte
}

func ed(t testing.TB) signer {
	t.Helper()
	p, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := public.Of(p)
	if err != nil {
		t.Fatal(err)
	}
	return signer{k, func(m []byte) []byte { return ed25519.Sign(key, m) }}
}

func ec(t testing.TB) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := public.Of(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return signer{k, func(m []byte) []byte {
		sum := sha256.Sum256(m)
		sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}}
}

func (s signer) signs(m []byte) public.Signature {
	return public.Signature{KeyID: s.ID(), Algorithm: s.Algorithm, Sig: s.sign(m)}
}

// TestKeysThatAreNone refuses keys of other lengths, curves and kinds, without a panic (security case 18).
func TestKeysThatAreNone(t *testing.T) {
	big, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []any{big.Public(), other.Public(), ed25519.PublicKey{1, 2, 3}, nil, "key"} {
		if _, err := public.Of(k); !errors.Is(err, public.ErrKey) {
			t.Errorf("%T: %v", k, err)
		}
	}
	der := func(k any) []byte {
		b, err := x509.MarshalPKIXPublicKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := ec(t).Key
	for name, k := range map[string]public.Key{
		"nothing":                {},
		"short":                  {public.Ed25519, make([]byte, 3)},
		"P-521":                  {public.ECDSA, der(big.Public())},
		"RSA":                    {public.ECDSA, der(other.Public())},
		"ed25519 called ECDSA":   {public.ECDSA, ed(t).Bytes},
		"ECDSA called ed25519":   {public.Ed25519, good.Bytes},
		"bytes behind the key":   {public.ECDSA, append(slices.Clone(good.Bytes), 0)},
		"an algorithm to come":   {"ml-dsa-65", good.Bytes},
		"algorithm's other case": {"Ed25519", ed(t).Bytes},
	} {
		if err := k.Check(); !errors.Is(err, public.ErrKey) || k.Verify(nil, nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRule holds thresholds of different keys, and that one of each algorithm has signed.
func TestRule(t *testing.T) {
	m := []byte("what is signed")
	a, b, c := ed(t), ed(t), ec(t)
	two := public.Rule{Keys: []public.Key{a.Key, b.Key, c.Key}, Threshold: 2}
	each := public.Rule{Keys: two.Keys, Threshold: 1, Each: []public.Algorithm{public.Ed25519, public.ECDSA}}
	renamed := a.signs(m)
	renamed.KeyID = b.ID()
	called := c.signs(m)
	called.Algorithm = public.Ed25519
	for name, tc := range map[string]struct {
		rule public.Rule
		by   []public.Signature
		good bool
	}{
		"two":                       {two, []public.Signature{a.signs(m), c.signs(m)}, true},
		"all":                       {two, []public.Signature{c.signs(m), b.signs(m), a.signs(m)}, true},
		"one":                       {two, []public.Signature{a.signs(m)}, false},
		"one twice":                 {two, []public.Signature{a.signs(m), a.signs(m)}, false},
		"one under another's id":    {two, []public.Signature{a.signs(m), renamed}, false},
		"one of another message":    {two, []public.Signature{a.signs(m), b.signs([]byte("other"))}, false},
		"a stranger":                {two, []public.Signature{a.signs(m), ed(t).signs(m)}, false},
		"one bad among good":        {two, []public.Signature{renamed, a.signs(m), c.signs(m)}, true},
		"more than are tried":       {two, slices.Repeat([]public.Signature{a.signs(m), c.signs(m)}, 9), false},
		"nobody":                    {two, nil, false},
		"each":                      {each, []public.Signature{b.signs(m), c.signs(m)}, true},
		"one algorithm":             {each, []public.Signature{a.signs(m), b.signs(m)}, false},
		"called another algorithm":  {each, []public.Signature{a.signs(m), called}, false},
		"a threshold of nothing":    {public.Rule{Keys: two.Keys}, []public.Signature{a.signs(m)}, false},
		"a threshold below nothing": {public.Rule{Keys: two.Keys, Threshold: -1}, []public.Signature{a.signs(m)}, false},
		"more than there are keys":  {public.Rule{Keys: two.Keys, Threshold: 4}, []public.Signature{a.signs(m), b.signs(m), c.signs(m)}, false},
		"a key listed twice":        {public.Rule{Keys: []public.Key{a.Key, a.Key}, Threshold: 2}, []public.Signature{a.signs(m), a.signs(m)}, false},
		"an algorithm without key":  {public.Rule{Keys: []public.Key{a.Key}, Threshold: 1, Each: []public.Algorithm{public.ECDSA}}, []public.Signature{a.signs(m)}, false},
	} {
		err := tc.rule.Verify(m, tc.by)
		if (err == nil) != tc.good || err != nil && !errors.Is(err, public.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzVerify holds that no bytes are a signature but those that the key made, and no key makes it panic.
func FuzzVerify(f *testing.F) {
	m := []byte("what is signed")
	a, c := ed(f), ec(f)
	f.Add(string(a.Algorithm), a.Bytes, a.sign(m))
	f.Add(string(c.Algorithm), c.Bytes, c.sign(m))
	f.Add(string(c.Algorithm), a.Bytes, []byte{})
	f.Fuzz(func(t *testing.T, algorithm string, key, sig []byte) {
		k := public.Key{Algorithm: public.Algorithm(algorithm), Bytes: key}
		if k.Verify(m, sig) && (k.Check() != nil || k.Verify([]byte("other"), sig)) {
			t.Fatalf("%v verifies what it did not sign", k)
		}
	})
}
