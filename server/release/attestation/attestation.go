// Package attestation reads what a pipeline says about a release: in-toto statements in DSSE envelopes. It is pure.
//
//	envelope   DSSE v1: payload, payloadType, signatures over the pre-authentication encoding of both
//	statement  in-toto Statement v1: subjects by digest, a predicate of some type
//	predicate  SLSA provenance v1 (how it was built), SPDX or CycloneDX (what is in it), or any other, kept as it is
//
// Nothing that a device does depends on it: it is evidence for people. What it says is shown as said; that its subject is
// the release, and whose key signed it, is checked.
package attestation

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/signing/document"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// Types of what is read.
const (
	PayloadType   = "application/vnd.in-toto+json"
	StatementType = "https://in-toto.io/Statement/v1"

	ProvenanceType = "https://slsa.dev/provenance/v1"
	SPDXType       = "https://spdx.dev/Document"
	CycloneDXType  = "https://cyclonedx.org/bom"
)

// Bounds of one attestation.
const (
	MaxSize       = 8 << 20 // bytes of an envelope: an SBOM of a distribution image has two or three million
	maxSubjects   = 256
	maxSignatures = 16
	maxText       = 512 // bytes of each text of a summary
)

// ErrMalformed says that something is no attestation.
var ErrMalformed = errors.New("this is no in-toto statement in a DSSE envelope")

// Kind is what an attestation is about.
type Kind string

// The kinds there are.
const (
	Provenance Kind = "provenance"
	SBOM       Kind = "sbom"
	Other      Kind = "other"
)

// Envelope is a signed document (DSSE v1).
type Envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     string      `json:"payload"` // base64
	Signatures  []Signature `json:"signatures"`
}

// Signature is one key's.
type Signature struct {
	KeyID string `json:"keyid,omitempty"`
	Sig   string `json:"sig"` // base64
}

// Subject is what a statement is about.
type Subject struct {
	Name   string            `json:"name,omitempty"`
	Digest map[string]string `json:"digest"`
}

// Statement is an in-toto statement.
type Statement struct {
	Type          string          `json:"_type"`
	Subject       []Subject       `json:"subject"`
	PredicateType string          `json:"predicateType"`
	Predicate     json.RawMessage `json:"predicate"`
}

// Summary is what people look for in an attestation. All of it is what its author says.
type Summary struct {
	Builder    string `json:"builder,omitempty"`    // who built: an id, as a rule the URL of a workflow
	Source     string `json:"source,omitempty"`     // from what: the URI of the first material that has a commit
	Commit     string `json:"commit,omitempty"`     // of it
	Invocation string `json:"invocation,omitempty"` // which run
	Packages   int    `json:"packages,omitempty"`   // that an SBOM lists
}

// Attestation is a parsed envelope.
type Attestation struct {
	Envelope
	Statement Statement
	Kind      Kind
	Summary   Summary

	payload []byte
	sigs    [][]byte
}

// Parse reads an envelope. The error matches ErrMalformed, or firmware.ErrTooLarge.
func Parse(b []byte) (*Attestation, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("an attestation of over %d bytes: %w", MaxSize, firmware.ErrTooLarge)
	}
	a := &Attestation{}
	if err := document.Decode(b, MaxSize, &a.Envelope); err != nil {
		return nil, bad("%v", err)
	}
	if a.PayloadType != PayloadType {
		return nil, bad("its payload is %.80q, not %s", a.PayloadType, PayloadType)
	}
	if n := len(a.Signatures); n == 0 || n > maxSignatures {
		return nil, bad("it has %d signatures", n)
	}
	var err error
	if a.payload, err = decode(a.Payload); err != nil {
		return nil, bad("its payload: %v", err)
	}
	for _, s := range a.Signatures {
		sig, err := decode(s.Sig)
		if err != nil || len(sig) == 0 || len(s.KeyID) > maxText {
			return nil, bad("a signature is not readable")
		}
		a.sigs = append(a.sigs, sig)
	}
	return a, a.read()
}

// read reads the statement.
func (a *Attestation) read() error {
	st := &a.Statement
	if err := document.Decode(a.payload, MaxSize, st); err != nil {
		return bad("%v", err)
	}
	if st.Type != StatementType && st.Type != "https://in-toto.io/Statement/v0.1" {
		return bad("its statement has the type %.80q", st.Type)
	}
	if n := len(st.Subject); n == 0 || n > maxSubjects {
		return bad("it has %d subjects", n)
	}
	if st.PredicateType == "" || len(st.PredicateType) > maxText {
		return bad("its predicate has the type %.80q", st.PredicateType)
	}
	a.Kind = kindOf(st.PredicateType)
	return a.summarise()
}

func kindOf(predicate string) Kind {
	switch {
	case strings.HasPrefix(predicate, "https://slsa.dev/provenance/"):
		return Provenance
	case predicate == SPDXType || strings.HasPrefix(predicate, SPDXType+"/") || predicate == CycloneDXType || strings.HasPrefix(predicate, CycloneDXType+"/"):
		return SBOM
	}
	return Other
}

// predicate is what is read of the predicates that are known.
type predicate struct {
	BuildDefinition struct {
		ResolvedDependencies []struct {
			URI    string            `json:"uri"`
			Digest map[string]string `json:"digest"`
		} `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
		Metadata struct {
			InvocationID string `json:"invocationId"`
		} `json:"metadata"`
	} `json:"runDetails"`
	Packages   []json.RawMessage `json:"packages"`   // SPDX
	Components []json.RawMessage `json:"components"` // CycloneDX
}

func (a *Attestation) summarise() error {
	if a.Kind == Other {
		return nil
	}
	var p predicate
	if err := document.Decode(a.Statement.Predicate, MaxSize, &p); err != nil {
		return bad("its predicate: %v", err)
	}
	s := &a.Summary
	if a.Kind == SBOM {
		s.Packages = len(p.Packages) + len(p.Components)
		return nil
	}
	s.Builder, s.Invocation = short(p.RunDetails.Builder.ID), short(p.RunDetails.Metadata.InvocationID)
	for _, d := range p.BuildDefinition.ResolvedDependencies {
		if c := d.Digest["gitCommit"]; c != "" {
			s.Source, s.Commit = short(d.URI), short(c)
			break
		}
	}
	return nil
}

func short(text string) string { return strings.ToValidUTF8(text[:min(len(text), maxText)], "") }

// About reports whether the statement is about a release: why not, or nil. At least one subject must be a payload or the
// manifest of it by SHA-256, and none may be named like the manifest of another release: so a statement that Waxwing wrote
// for one product does not pass for another with the same payload.
func (a *Attestation) About(m *firmware.Manifest, manifest firmware.Digest) error {
	want := []string{manifest.String()}
	for _, c := range m.Components {
		want = append(want, c.SHA256.String())
	}
	ours, found := firmware.ManifestTarget(m.Product, m.Version), false
	for _, s := range a.Statement.Subject {
		found = found || slices.Contains(want, s.Digest["sha256"])
		if strings.HasSuffix(s.Name, "/release.json") && s.Name != ours {
			return fmt.Errorf("it is about %.200q, not about %s %s: %w", s.Name, m.Product, m.Version, firmware.ErrCorrupt)
		}
		if s.Name == ours && s.Digest["sha256"] != manifest.String() {
			return fmt.Errorf("it is about another manifest of %s %s: %w", m.Product, m.Version, firmware.ErrCorrupt)
		}
	}
	if !found {
		return fmt.Errorf("none of its %d subjects has the digest of %s %s (payload %s): %w",
			len(a.Statement.Subject), m.Product, m.Version, want[len(want)-1], firmware.ErrCorrupt)
	}
	return nil
}

// SignedBy returns which of some keys signed the envelope, by id. What a signature calls its key is not believed.
func (a *Attestation) SignedBy(keys []public.Key) []string {
	var ids []string
	message := dsse.PAE(a.PayloadType, a.payload)
	for _, k := range keys {
		if slices.ContainsFunc(a.sigs, func(sig []byte) bool { return k.Verify(message, sig) }) {
			ids = append(ids, k.ID())
		}
	}
	return ids
}

// Subjects returns the subjects by which a statement names a release.
func Subjects(m *firmware.Manifest, manifest firmware.Digest) []Subject {
	all := []Subject{{Name: firmware.ManifestTarget(m.Product, m.Version), Digest: map[string]string{"sha256": manifest.String()}}}
	for _, c := range m.Components {
		all = append(all, Subject{Name: c.Name, Digest: map[string]string{"sha256": c.SHA256.String()}})
	}
	return all
}

// Signer signs with one key; keys.Signer is it.
type Signer interface {
	Public() public.Key
	Sign(message []byte) ([]byte, error)
}

// Seal returns the envelope of a statement.
func Seal(statement []byte, by Signer) ([]byte, error) {
	sig, err := by.Sign(dsse.PAE(PayloadType, statement))
	if err != nil {
		return nil, err
	}
	return json.Marshal(Envelope{
		PayloadType: PayloadType, Payload: base64.StdEncoding.EncodeToString(statement),
		Signatures: []Signature{{KeyID: by.Public().ID(), Sig: base64.StdEncoding.EncodeToString(sig)}},
	})
}

// decode reads base64 of either alphabet, as DSSE asks for.
func decode(text string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		b, err = base64.URLEncoding.DecodeString(text)
	}
	return b, err
}

func bad(format string, v ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, v...))
}
