package api_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/api"
	"github.com/waxwing-ota/waxwing/server/release/attestation"
)

// statement is what a pipeline says of a release.
func statement(t *testing.T, rel *api.Release, predicateType, predicate string) []byte {
	t.Helper()
	c := (*rel.Components)[0]
	b, err := json.Marshal(attestation.Statement{
		Type: attestation.StatementType, PredicateType: predicateType, Predicate: json.RawMessage(predicate),
		Subject: []attestation.Subject{{Name: "image", Digest: map[string]string{"sha256": c.Sha256}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// What a pipeline says is kept with the release that it is about, and shown with who said and who signed it.
func TestAttestations(t *testing.T) {
	p := newPlane(t)
	img := bytes.Repeat([]byte("an image "), 10_000)
	rel := p.releaseOf("1.0.0", img)
	at := "/releases/edge-gw/1.0.0/attestations"
	sbom := statement(t, &rel, attestation.SPDXType, `{"packages": [{}, {}]}`)
	p.refused(400, "invalid", "no in-toto statement", "POST", at, sbom) // nobody signed it
	var a api.Attestation
	p.want(201, "POST", at+"?seal=true", sbom).into(t, &a)
	if a.Kind != api.AttestationSBOM || *a.Packages != 2 || len(a.SignedBy) != 1 || a.SignedBy[0] != (*rel.SignedBy)[0] || a.By != "first admin" || a.Builder != nil {
		t.Errorf("%+v", a)
	}
	again := p.want(200, "GET", at+"/"+a.Sha256, nil)
	if firmware.Sum(again.body).String() != a.Sha256 {
		t.Errorf("the envelope came back changed: %s", again.body)
	}
	p.want(201, "POST", at, again.body)
	var list struct{ Items []api.Attestation }
	p.want(200, "GET", at, nil).into(t, &list)
	if len(list.Items) != 1 {
		t.Errorf("again made %d", len(list.Items))
	}
	p.refused(404, "not-found", "", "GET", at+"/"+firmware.Sum(nil).String(), nil)
	p.refused(404, "not-found", "no release", "GET", "/releases/edge-gw/9/attestations", nil)

	// security case 72: for another release, it is refused; and for another product, even when the payload is the same.
	p.releaseOf("1.1.0", append([]byte("another "), img...))
	p.refused(422, "corrupt", "none of its 1 subjects", "POST", "/releases/edge-gw/1.1.0/attestations", again.body)
	var u api.Upload
	p.want(201, "POST", "/uploads", map[string]any{"size": len(img)}).into(t, &u)
	p.want(200, "PATCH", "/uploads/"+u.Id+"?offset=0", img)
	p.want(201, "POST", "/releases", map[string]any{"product": "other", "version": "1.0.0", "hardware": []string{"x"}, "upload": u.Id})
	p.until("the other release is built", func() bool {
		var r api.Release
		p.want(200, "GET", "/releases/other/1.0.0", nil).into(t, &r)
		return r.State == api.ReleaseStatePublished
	})
	p.refused(409, "conflict", "handed in for the product edge-gw", "POST", "/releases/other/1.0.0/attestations", again.body)

	// An upload token may hand in evidence, but not have the server's key sign it.
	as := func(path string, body []byte) *answer {
		r := p.request("POST", path, body)
		r.Header.Set("Authorization", "Bearer "+p.token("upload", "edge-gw"))
		return p.send(r)
	}
	p.problem(as(at+"?seal=true", sbom), 403, "forbidden", `"sign" is needed`)
	if answered := as(at, again.body); answered.StatusCode != 201 {
		t.Errorf("%d %s", answered.StatusCode, answered.body)
	}
	p.problem(as("/releases/other/1.0.0/attestations", again.body), 403, "forbidden", "for the product edge-gw")
	p.refused(413, "too-large", "over 8388608 bytes", "POST", at, make([]byte, attestation.MaxSize+1))
}
