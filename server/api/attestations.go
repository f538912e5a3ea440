package api

import (
	"bytes"
	"context"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/auth"
	"github.com/waxwing-ota/waxwing/server/release"
)

// ListAttestations implements the operation.
func (s *Server) ListAttestations(ctx context.Context, q ListAttestationsRequestObject) (ListAttestationsResponseObject, error) {
	all, err := s.Releases.Attestations(ctx, q.Product, q.Version)
	if err != nil {
		return nil, err
	}
	list := ListAttestations200JSONResponse{Items: make([]Attestation, 0, len(all))}
	for i := range all {
		list.Items = append(list.Items, attestationView(&all[i]))
	}
	return list, nil
}

// AttestRelease implements the operation.
func (s *Server) AttestRelease(ctx context.Context, q AttestReleaseRequestObject) (AttestReleaseResponseObject, error) {
	who, seal := callerOf(ctx), value(q.Params.Seal)
	if seal {
		if err := who.Require(auth.Sign); err != nil {
			return nil, err
		}
	}
	a, err := s.Releases.Attest(ctx, q.Product, q.Version, q.Body, seal, who.Name, who.Job)
	if err != nil {
		return nil, err
	}
	return AttestRelease201JSONResponse(attestationView(&a)), nil
}

// GetAttestation implements the operation.
func (s *Server) GetAttestation(ctx context.Context, q GetAttestationRequestObject) (GetAttestationResponseObject, error) {
	sum, err := firmware.ParseDigest(q.Sha256)
	if err != nil {
		return nil, err
	}
	b, err := s.Releases.Envelope(ctx, q.Product, q.Version, sum)
	if err != nil {
		return nil, err
	}
	return GetAttestation200ApplicationoctetStreamResponse{Body: bytes.NewReader(b), ContentLength: int64(len(b))}, nil
}

func attestationView(a *release.Attestation) Attestation {
	v := Attestation{
		Sha256: a.Digest.String(), Size: a.Size, Kind: AttestationKind(a.Kind), PredicateType: a.PredicateType,
		SignedBy: append([]string{}, a.SignedBy...), Signers: append([]string{}, a.Signers...),
		Builder: optional(a.Summary.Builder), Source: optional(a.Summary.Source), Commit: optional(a.Summary.Commit),
		Invocation: optional(a.Summary.Invocation), At: a.At, By: a.By, Job: jobView(a.Job),
	}
	if a.Kind == "sbom" {
		v.Packages = &a.Summary.Packages
	}
	return v
}
