package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/api/client"
	"github.com/waxwing-ota/waxwing/server/release/attestation"
	"github.com/waxwing-ota/waxwing/signing/keys"
)

// evidence is files that say how a release was made and what is in it.
type evidence struct {
	provenance, sbom []string
	key              string // that signs what is not signed yet; empty: the server's key of the product does
}

func (e *evidence) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&e.provenance, "provenance", nil, "`FILE` with SLSA provenance: an envelope, a statement, or the predicate; may be repeated")
	c.Flags().StringArrayVar(&e.sbom, "sbom", nil, "`FILE` with an SBOM, SPDX or CycloneDX as JSON; may be repeated")
}

// check finds what cannot be evidence, before a release is published that it should come with.
func (e *evidence) check() error {
	zero := firmware.Digest{}.String()
	for kind, files := range map[attestation.Kind][]string{attestation.Provenance: e.provenance, attestation.SBOM: e.sbom} {
		for _, file := range files {
			b, err := readEvidence(file)
			if err == nil {
				_, _, err = statementOf(b, &client.Release{Sha256: &zero}, kind)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return nil
}

func (a *app) releaseAttest() *cobra.Command {
	var e evidence
	c := &cobra.Command{
		Use: "attest PRODUCT@VERSION", Short: "Hand in how a release was built and what is in it", Args: cobra.ExactArgs(1),
		Long: `Hand in attestations of a release: SLSA provenance and SBOMs, as in-toto statements in DSSE envelopes. What is signed already,
an envelope or a Sigstore bundle, goes as it is. Anything else is made a statement about the release and signed with --key,
or without it by the server's key of the product. The server keeps only what is about this release.`,
		Example: "  waxwing release attest edge-gw@1.0.0 --provenance provenance.json --sbom rootfs.spdx.json",
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			product, version, err := parseRelease(args[0])
			if err != nil {
				return err
			}
			if len(e.provenance)+len(e.sbom) == 0 {
				return usage("give --provenance or --sbom")
			}
			r, err := call[client.Release](api.GetRelease(ctx, product, version))
			if err != nil {
				return err
			}
			kept, err := a.attest(ctx, api, &r, e)
			if err != nil {
				return err
			}
			return a.print(kept, func(w io.Writer) { attestationTable(w, kept) })
		}),
	}
	e.add(c)
	c.Flags().StringVar(&e.key, "key", "", "`KEY` that signs statements, as a rule the product's")
	return c
}

// attest hands in all evidence of a release.
func (a *app) attest(ctx context.Context, api *client.Client, r *client.Release, e evidence) ([]client.Attestation, error) {
	var kept []client.Attestation
	for _, file := range e.provenance {
		one, err := a.attestFile(ctx, api, r, file, attestation.Provenance, e.key)
		if err != nil {
			return kept, err
		}
		kept = append(kept, one)
	}
	for _, file := range e.sbom {
		one, err := a.attestFile(ctx, api, r, file, attestation.SBOM, e.key)
		if err != nil {
			return kept, err
		}
		kept = append(kept, one)
	}
	return kept, nil
}

func (a *app) attestFile(
	ctx context.Context, api *client.Client, r *client.Release, file string, kind attestation.Kind, keyFile string,
) (client.Attestation, error) {
	b, err := readEvidence(file)
	if err != nil {
		return client.Attestation{}, err
	}
	content, sealed, err := statementOf(b, r, kind)
	if err != nil {
		return client.Attestation{}, fmt.Errorf("%s: %w", file, err)
	}
	if !sealed && keyFile != "" {
		k, err := keys.Open(keyFile, a.keyOptions())
		if err != nil {
			return client.Attestation{}, err
		}
		if content, err = attestation.Seal(content, k); err != nil {
			return client.Attestation{}, err
		}
		sealed = true
	}
	seal := !sealed
	var kept client.Attestation
	err = again(ctx, func() (err error) {
		kept, err = call[client.Attestation](api.AttestReleaseWithBody(ctx, r.Product, r.Version,
			&client.AttestReleaseParams{Seal: &seal}, octets, bytes.NewReader(content)))
		return err
	})
	if err != nil {
		return kept, fmt.Errorf("%s: %w", file, err)
	}
	a.say("%s %s lies with %s %s", kept.Kind, file, r.Product, r.Version)
	return kept, nil
}

func readEvidence(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, attestation.MaxSize+1))
	if err == nil && len(b) > attestation.MaxSize {
		err = fmt.Errorf("%s: over %d bytes: %w", file, attestation.MaxSize, firmware.ErrTooLarge)
	}
	return b, err
}

// statementOf returns what to hand in: an envelope as it is (sealed), or a statement about the release.
func statementOf(b []byte, r *client.Release, kind attestation.Kind) (content []byte, sealed bool, err error) {
	var is struct {
		PayloadType     string          `json:"payloadType"`     // an envelope
		DSSE            json.RawMessage `json:"dsseEnvelope"`    // a Sigstore bundle
		Type            string          `json:"_type"`           // a statement
		BuildDefinition json.RawMessage `json:"buildDefinition"` // provenance
		SPDX            string          `json:"spdxVersion"`
		CycloneDX       string          `json:"bomFormat"`
	}
	if err := json.Unmarshal(b, &is); err != nil {
		return nil, false, fmt.Errorf("%w; give JSON", err)
	}
	var predicate string
	switch {
	case is.PayloadType != "":
		return b, true, nil
	case is.DSSE != nil:
		return is.DSSE, true, nil
	case is.Type != "":
		return b, false, nil
	case kind == attestation.Provenance && is.BuildDefinition != nil:
		predicate = attestation.ProvenanceType
	case kind == attestation.SBOM && is.SPDX != "":
		predicate = attestation.SPDXType
	case kind == attestation.SBOM && is.CycloneDX == "CycloneDX":
		predicate = attestation.CycloneDXType
	case kind == attestation.SBOM:
		return nil, false, fmt.Errorf("this is no SBOM: neither SPDX (spdxVersion) nor CycloneDX (bomFormat); %w", errUsage)
	default:
		return nil, false, fmt.Errorf("this is no SLSA v1 provenance: there is no buildDefinition; %w", errUsage)
	}
	about := &firmware.Manifest{Product: r.Product, Version: r.Version}
	for _, c := range value(r.Components) {
		sum, err := firmware.ParseDigest(c.Sha256)
		if err != nil {
			return nil, false, err
		}
		about.Components = append(about.Components, firmware.Component{Name: c.Name, SHA256: sum})
	}
	sum, err := firmware.ParseDigest(value(r.Sha256))
	if err != nil {
		return nil, false, fmt.Errorf("release %s %s is %s; attest it once it is published: %w", r.Product, r.Version, r.State, err)
	}
	content, err = json.Marshal(attestation.Statement{
		Type: attestation.StatementType, Subject: attestation.Subjects(about, sum), PredicateType: predicate, Predicate: b,
	})
	return content, false, err
}

// attestations are those of a release.
func attestations(ctx context.Context, api *client.Client, product, version string) ([]client.Attestation, error) {
	list, err := call[struct {
		Items []client.Attestation `json:"items"`
	}](api.ListAttestations(ctx, product, version))
	return list.Items, err
}

// jobTable says which CI job made a release, as its platform vouched for it.
func jobTable(w io.Writer, j *client.Job) {
	if j == nil {
		return
	}
	row(w)
	row(w, "MADE BY", "REF", "COMMIT", "WORKFLOW", "RUN")
	who := value(j.Repository)
	if who == "" {
		who = j.Subject
	}
	row(w, j.Platform+" "+who, dash(value(j.Ref)), dash(value(j.Commit)), dash(value(j.Workflow)), dash(value(j.Run)))
}

func attestationTable(w io.Writer, all []client.Attestation) {
	if len(all) == 0 {
		return
	}
	row(w)
	row(w, "ATTESTATION", "SAYS", "SIGNED BY", "HANDED IN BY", "SHA-256")
	for _, t := range all {
		says := t.PredicateType
		switch t.Kind {
		case client.AttestationProvenance:
			says = strings.TrimSpace("built by " + dash(value(t.Builder)) + " from " + dash(value(t.Source)) + " at " + dash(value(t.Commit)))
		case client.AttestationSBOM:
			says = fmt.Sprintf("%d packages", value(t.Packages))
		}
		by := "a key that the server does not know"
		if len(t.SignedBy) > 0 {
			by = "product key " + t.SignedBy[0][:16]
		}
		row(w, t.Kind, says, by, t.By, t.Sha256[:16])
	}
}
