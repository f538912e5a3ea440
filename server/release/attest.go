package release

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/auth"
	"github.com/waxwing-ota/waxwing/server/release/attestation"
	"github.com/waxwing-ota/waxwing/server/release/build"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// Collections of attestations.
const (
	AttestationsName = "attestations" // product/version/digest → Attestation
	EnvelopesName    = "envelopes"    // digest → product, so that none is handed in for two products
)

// attestationPrefix is where envelopes lie in the blob store: not below the repository, devices have no use for them.
const attestationPrefix = "attestations/"

// maxAttestations bounds what is kept of one release.
const maxAttestations = 32

// Attestation is what a pipeline said about a release, as it is kept. The envelope itself is a blob.
type Attestation struct {
	Digest        firmware.Digest     `json:"digest"` // of the envelope
	Size          int64               `json:"size"`   // of the envelope, bytes
	Kind          attestation.Kind    `json:"kind"`
	PredicateType string              `json:"predicate_type"`
	Summary       attestation.Summary `json:"summary"`
	SignedBy      []string            `json:"signed_by,omitempty"` // ids of keys of the product that did; none: somebody else's key
	Signers       []string            `json:"signers,omitempty"`   // what the signatures call their keys; nobody checked it
	At            time.Time           `json:"at"`
	By            string              `json:"by"`
	Job           *auth.Job           `json:"job,omitempty"` // that handed it in
}

// Attestations of a release, oldest first. The error matches store.ErrNotFound.
func (r *Releases) Attestations(ctx context.Context, product, version string) ([]Attestation, error) {
	if _, err := r.Get(ctx, product, version); err != nil {
		return nil, err
	}
	entries, _, err := r.attestations.List(ctx, store.Page{Prefix: product + "/" + version + "/"})
	all := make([]Attestation, 0, len(entries))
	for _, e := range entries {
		all = append(all, e.Value)
	}
	slices.SortStableFunc(all, func(a, b Attestation) int { return a.At.Compare(b.At) })
	return all, err
}

// Envelope returns an attestation of a release as it was handed in. The error matches store.ErrNotFound.
func (r *Releases) Envelope(ctx context.Context, product, version string, sum firmware.Digest) ([]byte, error) {
	if _, err := r.attestations.Get(ctx, attestationKey(product, version, sum)); err != nil {
		return nil, err
	}
	return build.Read(ctx, r.Blob, attestationPrefix+sum.String()+".json", attestation.MaxSize)
}

// Attest keeps an envelope with the release that it is about. With seal, content is a bare statement, and the server's key
// of the product signs it. Doing it again changes nothing.
func (r *Releases) Attest(
	ctx context.Context, product, version string, content io.Reader, seal bool, by string, job *auth.Job,
) (Attestation, error) {
	rel, err := r.Get(ctx, product, version)
	if err != nil {
		return Attestation{}, err
	}
	if rel.Manifest == nil {
		return Attestation{}, fmt.Errorf("release %s is %s; attest it once it is published: %w", rel.Name(), rel.State, ErrConflict)
	}
	b, err := io.ReadAll(io.LimitReader(content, attestation.MaxSize+1))
	if err != nil {
		return Attestation{}, err
	}
	p, err := r.product(ctx, product)
	if err != nil {
		return Attestation{}, err
	}
	if seal {
		if b, err = r.seal(p.Value, b); err != nil {
			return Attestation{}, err
		}
	}
	a, err := attestation.Parse(b)
	if err != nil {
		return Attestation{}, err
	}
	if err := a.About(rel.Manifest, rel.Digest); err != nil {
		return Attestation{}, err
	}
	if said := a.Summary.Commit; job != nil && job.Commit != "" && said != "" && said != job.Commit {
		return Attestation{}, fmt.Errorf("it says that commit %s was built, but the job that hands it in is of %s: %w", said, job.Commit, firmware.ErrCorrupt)
	}
	held, err := r.publicKeys(p.Value)
	if err != nil {
		return Attestation{}, err
	}
	doc := Attestation{
		Digest: firmware.Sum(b), Size: int64(len(b)), Kind: a.Kind, PredicateType: a.Statement.PredicateType, Summary: a.Summary,
		SignedBy: a.SignedBy(held), At: r.Now().UTC(), By: by, Job: job,
	}
	for _, s := range a.Signatures {
		doc.Signers = append(doc.Signers, s.KeyID)
	}
	return r.keepAttestation(ctx, &rel, doc, b)
}

// seal signs a statement with the server's key of a product.
func (r *Releases) seal(p Product, statement []byte) ([]byte, error) {
	if len(statement) > attestation.MaxSize {
		return nil, fmt.Errorf("a statement of over %d bytes: %w", attestation.MaxSize, firmware.ErrTooLarge)
	}
	if p.Signing != SigningServer {
		return nil, fmt.Errorf("the server holds no key of %s; sign the statement with --key: %w", p.Name, ErrConflict)
	}
	key, err := keys.Load(r.productKey(p.Name))
	if err != nil {
		return nil, fmt.Errorf("signing key of product %s: %w", p.Name, err)
	}
	return attestation.Seal(statement, key)
}

// publicKeys returns the keys of a product, as far as they are known: products of older servers have ids only.
func (r *Releases) publicKeys(p Product) ([]public.Key, error) {
	if len(p.Public) > 0 || p.Signing != SigningServer {
		return p.Public, nil
	}
	key, err := keys.Load(r.productKey(p.Name))
	if err != nil {
		return nil, fmt.Errorf("signing key of product %s: %w", p.Name, err)
	}
	return []public.Key{key.Public()}, nil
}

func (r *Releases) keepAttestation(ctx context.Context, rel *Release, doc Attestation, envelope []byte) (Attestation, error) {
	key, sum := attestationKey(rel.Product, rel.Version, doc.Digest), doc.Digest.String()
	if old, err := r.attestations.Get(ctx, key); err == nil {
		return old.Value, nil
	}
	all, _, err := r.attestations.List(ctx, store.Page{Prefix: rel.Name() + "/"})
	if err != nil {
		return Attestation{}, err
	}
	if len(all) >= maxAttestations {
		return Attestation{}, fmt.Errorf("release %s has %d attestations already: %w", rel.Name(), len(all), ErrConflict)
	}
	seen, err := r.envelopes.Get(ctx, sum)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Attestation{}, err
	}
	if err == nil && seen.Value != rel.Product {
		return Attestation{}, fmt.Errorf("this attestation was handed in for the product %s: %w", seen.Value, ErrConflict)
	}
	// The blob goes first: cut short in between, nothing names it, and the next attempt writes it again.
	if err := r.Blob.Put(ctx, attestationPrefix+sum+".json", bytes.NewReader(envelope), doc.Size); err != nil {
		return Attestation{}, err
	}
	b := store.NewBatch(r.Store)
	r.envelopes.UnchangedIn(b, sum, seen.Revision)
	r.attestations.UnchangedIn(b, key, 0)
	err = errors.Join(r.envelopes.PutIn(b, sum, rel.Product), r.attestations.PutIn(b, key, doc))
	if err == nil {
		err = b.Commit(ctx)
	}
	return doc, err
}

func attestationKey(product, version string, sum firmware.Digest) string {
	return strings.Join([]string{product, version, sum.String()}, "/")
}
