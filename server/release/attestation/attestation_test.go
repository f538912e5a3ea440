package attestation_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/release/attestation"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
)

func key(t testing.TB) *keys.File {
	t.Helper()
	k, err := keys.Generate(filepath.Join(t.TempDir(), "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func manifest(product, version string) *firmware.Manifest {
	return &firmware.Manifest{
		Schema: 1, Product: product, Version: version, Counter: 1, Hardware: []string{"x"},
		Components: []firmware.Component{{Name: "rootfs", SHA256: firmware.Sum([]byte("an image"))}},
	}
}

func sealed(t testing.TB, k *keys.File, predicateType, predicate string, subjects ...attestation.Subject) []byte {
	t.Helper()
	st, err := json.Marshal(attestation.Statement{
		Type: attestation.StatementType, Subject: subjects, PredicateType: predicateType, Predicate: json.RawMessage(predicate),
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := attestation.Seal(st, k)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const slsa = `{"buildDefinition": {"buildType": "x", "resolvedDependencies": [{"uri": "pkg:deb/gcc"}, {"uri": "git+https://example.org/acme/gw", "digest": {"gitCommit": "abc"}}]},
	"runDetails": {"builder": {"id": "https://ci.example"}, "metadata": {"invocationId": "run 7"}}}`

func TestSummary(t *testing.T) {
	k, m := key(t), manifest("gw", "1")
	subjects := attestation.Subjects(m, firmware.Sum([]byte("manifest")))
	for _, c := range []struct {
		predicateType, predicate string
		kind                     attestation.Kind
		want                     attestation.Summary
	}{
		{attestation.ProvenanceType, slsa, attestation.Provenance, attestation.Summary{
			Builder: "https://ci.example", Source: "git+https://example.org/acme/gw", Commit: "abc", Invocation: "run 7",
		}},
		{attestation.SPDXType, `{"spdxVersion": "SPDX-2.3", "packages": [{}, {}, {}]}`, attestation.SBOM, attestation.Summary{Packages: 3}},
		{attestation.CycloneDXType + "/v1.6", `{"components": [{}]}`, attestation.SBOM, attestation.Summary{Packages: 1}},
		{"https://example.org/review", `"fine"`, attestation.Other, attestation.Summary{}},
	} {
		a, err := attestation.Parse(sealed(t, k, c.predicateType, c.predicate, subjects...))
		if err != nil {
			t.Fatal(err)
		}
		if a.Kind != c.kind || cmp.Diff(c.want, a.Summary) != "" {
			t.Errorf("%s: %s %s", c.predicateType, a.Kind, cmp.Diff(c.want, a.Summary))
		}
		if got := a.SignedBy([]public.Key{key(t).Public(), k.Public()}); len(got) != 1 || got[0] != k.Public().ID() {
			t.Errorf("signed by %v", got)
		}
	}
}

// security case 72: a statement about another digest, or about another product with the same payload, is not about this
// release; and one that was changed is signed by nobody.
func TestAbout(t *testing.T) {
	k, m, sum := key(t), manifest("gw", "1"), firmware.Sum([]byte("manifest"))
	payload := map[string]string{"sha256": m.Components[0].SHA256.String()}
	for what, c := range map[string]struct {
		subjects []attestation.Subject
		about    bool
	}{
		"all of it":                {attestation.Subjects(m, sum), true},
		"the payload":              {[]attestation.Subject{{Name: "rootfs.img", Digest: payload}}, true},
		"the payload among others": {[]attestation.Subject{{Name: "x", Digest: map[string]string{"sha256": "00"}}, {Digest: payload}}, true},
		"another digest":           {[]attestation.Subject{{Name: "rootfs.img", Digest: map[string]string{"sha256": firmware.Sum(nil).String()}}}, false},
		"the digest as another":    {[]attestation.Subject{{Name: "rootfs.img", Digest: map[string]string{"sha512": m.Components[0].SHA256.String()}}}, false},
		"no digest":                {[]attestation.Subject{{Name: "rootfs.img", Digest: map[string]string{}}}, false},
		"another product":          {attestation.Subjects(manifest("gw2", "1"), firmware.Sum([]byte("another"))), false},
		"another version":          {attestation.Subjects(manifest("gw", "2"), firmware.Sum([]byte("another"))), false},
		"another manifest":         {attestation.Subjects(m, firmware.Sum([]byte("another"))), false},
	} {
		a, err := attestation.Parse(sealed(t, k, attestation.ProvenanceType, slsa, c.subjects...))
		if err != nil {
			t.Fatal(err)
		}
		if err := a.About(m, sum); (err == nil) != c.about || err != nil && !errors.Is(err, firmware.ErrCorrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	var e attestation.Envelope
	if err := json.Unmarshal(sealed(t, k, attestation.ProvenanceType, slsa, attestation.Subjects(m, sum)...), &e); err != nil {
		t.Fatal(err)
	}
	other, err := base64.StdEncoding.DecodeString(e.Payload)
	if err != nil {
		t.Fatal(err)
	}
	e.Payload = base64.URLEncoding.EncodeToString([]byte(strings.Replace(string(other), "run 7", "run 8", 1)))
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	a, err := attestation.Parse(b)
	if err != nil || len(a.SignedBy([]public.Key{k.Public()})) != 0 {
		t.Errorf("a changed statement counts as signed: %v", err)
	}
}

func TestMalformed(t *testing.T) {
	statement := func(text string) string {
		return `{"payloadType": "application/vnd.in-toto+json", "payload": "` + base64.StdEncoding.EncodeToString([]byte(text)) + `", "signatures": [{"sig": "AA=="}]}`
	}
	good := `{"_type": "https://in-toto.io/Statement/v1", "subject": [{"digest": {}}], "predicateType": "https://slsa.dev/provenance/v1", "predicate": {}}`
	if _, err := attestation.Parse([]byte(statement(good))); err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{
		"nothing": "", "no JSON": "{", "another payload": `{"payloadType": "text/plain", "payload": "", "signatures": [{"sig": "AA=="}]}`,
		"no signatures":       strings.Replace(statement(good), `{"sig": "AA=="}`, "", 1),
		"an empty signature":  strings.Replace(statement(good), "AA==", "", 1),
		"seventeen":           strings.Replace(statement(good), `{"sig": "AA=="}`, strings.Repeat(`{"sig": "AA=="}, `, 16)+`{"sig": "AA=="}`, 1),
		"no base64":           strings.Replace(statement(good), `"payload": "`, `"payload": "*`, 1),
		"the payload twice":   strings.Replace(statement(good), `"payload":`, `"payload": "e30=", "payload":`, 1),
		"a key in two cases":  strings.Replace(statement(good), `"payload":`, `"Payload": "e30=", "payload":`, 1),
		"no statement":        statement("{}"),
		"another type":        statement(strings.Replace(good, "Statement/v1", "Statement/v9", 1)),
		"no subject":          statement(strings.Replace(good, `{"digest": {}}`, "", 1)),
		"no predicate type":   statement(strings.Replace(good, `"https://slsa.dev/provenance/v1"`, `""`, 1)),
		"a list as predicate": statement(strings.Replace(good, `"predicate": {}`, `"predicate": []`, 1)),
		"too deep":            statement(strings.Replace(good, `"predicate": {}`, `"predicate": `+strings.Repeat("[", 5000)+strings.Repeat("]", 5000), 1)),
	} {
		if a, err := attestation.Parse([]byte(text)); !errors.Is(err, attestation.ErrMalformed) {
			t.Errorf("%s: %+v %v", what, a, err)
		}
	}
	if _, err := attestation.Parse(make([]byte, attestation.MaxSize+1)); !errors.Is(err, firmware.ErrTooLarge) {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	m := manifest("gw", "1")
	f.Add(sealed(f, key(f), attestation.ProvenanceType, slsa, attestation.Subjects(m, firmware.Sum(nil))...))
	f.Add([]byte(`{"payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": [{"sig": "AA=="}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := attestation.Parse(b)
		if err != nil {
			return
		}
		if n := len(a.Summary.Builder) + len(a.Summary.Source) + len(a.Summary.Commit) + len(a.Summary.Invocation); n > 4*512 {
			t.Errorf("a summary of %d bytes", n)
		}
		_ = a.About(m, firmware.Sum(nil))
		if len(a.SignedBy([]public.Key{{Algorithm: public.Ed25519, Bytes: make([]byte, 32)}})) > 1 {
			t.Error("one key signed twice")
		}
	})
}
