package api_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/api"
)

// reach says which kinds of tokens reach which operations, beside admin, which reaches all. It is written down a second
// time on purpose: to let somebody in one has to change the contract and this.
func reach() map[string]string {
	reader, all := "read release rollout device", "upload sign publish start read release rollout device"
	return map[string]string{
		"signIn": "*", "exchangeToken": "*",
		"getSession": all, "signOut": all, "listProducts": all, "getProductRole": all, "listReleases": all, "getRelease": all, "getRollout": all,
		"listAttestations": all, "getAttestation": all,
		"getOverview": reader, "streamEvents": reader, "listAudit": reader, "listDevices": reader, "getDevice": reader, "listSites": reader,
		"getSite": reader, "listGroups": reader, "listRollouts": reader, "listRolloutDevices": reader,
		"missingChunks": "upload release", "putChunk": "upload release", "putIndex": "upload release", "createUpload": "upload release",
		"getUpload": "upload release", "appendUpload": "upload release", "deleteUpload": "upload release", "attestRelease": "upload release",
		"signRelease": "sign release", "createRelease": "publish release", "createProduct": "release", "yankRelease": "release",
		"createRollout": "start rollout", "actOnRollout": "rollout",
		"labelDevice": "device", "acceptDevice": "device", "rejectDevice": "device", "putGroup": "device", "deleteGroup": "device",
		"listKeyRoles": reader, "importKeys": "", "listTokens": "", "createToken": "", "revokeToken": "", "listTrusts": "", "createTrust": "", "removeTrust": "",
	}
}

// inPath and inBody are the operations that name their product; free have to do with none. A token that is bound to a
// product reaches these and no others.
const (
	inPath  = "getProductRole getRelease yankRelease listAttestations getAttestation attestRelease"
	inBody  = "createProduct createRelease createRollout signRelease"
	handler = "listProducts listReleases getRollout actOnRollout"
	free    = "getSession signOut missingChunks putChunk putIndex createUpload getUpload appendUpload deleteUpload signIn exchangeToken"
)

func has(list, word string) bool { return slices.Contains(strings.Fields(list), word) }

// token makes an operator token.
func (p *plane) token(scope string, products ...string) string {
	p.Helper()
	var made api.CreatedToken
	body := map[string]any{"kind": "operator", "scopes": []string{scope}}
	if len(products) > 0 {
		body["products"] = products
	}
	p.want(http.StatusCreated, "POST", "/tokens", body).into(p.T, &made)
	return made.Secret
}

// status sends a request as somebody and returns how it was answered, without waiting for the end of a stream.
func (p *plane) status(as, method, path, contentType string, body []byte) int {
	p.Helper()
	r, err := http.NewRequestWithContext(p.Context(), method, p.Operator+"/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+as)
	r.Header.Set("Content-Type", contentType)
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		p.Fatal(err)
	}
	a.Body.Close()
	return a.StatusCode
}

// security case 70: each kind of token reaches exactly its operations. An upload token cannot publish, a publishing one
// cannot start a rollout, one that starts cannot promote.
func TestRights(t *testing.T) {
	p := newPlane(t)
	spec, err := api.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	table := reach()
	for _, kind := range strings.Fields("upload sign publish start read release rollout device admin") {
		secret := p.token(kind)
		for path, item := range spec.Paths.Map() {
			for method, op := range item.Operations() {
				id := strings.ToLower(op.OperationID[:1]) + op.OperationID[1:]
				kinds, listed := table[id]
				if !listed {
					t.Fatalf("%s: the table does not say who may do it", id)
				}
				if kinds == "*" {
					continue
				}
				may := kind == "admin" || has(kinds, kind)
				got := p.status(secret, method, path, "application/json", nil)
				if may == (got == http.StatusForbidden) || got == http.StatusUnauthorized || got >= 500 {
					t.Errorf("%s with a token that may %s: %d", id, kind, got)
				}
			}
		}
	}
}

// security case 68: a token of one product does nothing to another, on every route, and lists do not tell of it.
func TestBoundToProduct(t *testing.T) {
	p := newPlane(t)
	p.want(201, "POST", "/products", map[string]string{"name": "mine"})
	p.want(201, "POST", "/products", map[string]string{"name": "theirs"})
	spec, err := api.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range strings.Fields("upload sign publish start read release rollout") {
		secret := p.token(kind, "mine")
		for path, item := range spec.Paths.Map() {
			for method, op := range item.Operations() {
				id := strings.ToLower(op.OperationID[:1]) + op.OperationID[1:]
				at := strings.ReplaceAll(path, "{product}", "theirs")
				var body []byte
				if has(inBody, id) {
					body = []byte(`{"name": "theirs", "product": "theirs", "version": "1"}`)
				}
				got := p.status(secret, method, at, "application/json", body)
				switch {
				case has(free, id) || has(handler, id):
				case got != http.StatusForbidden:
					t.Errorf("%s of another product with a token that may %s: %d", id, kind, got)
				}
				if has(inPath, id) && has(reach()[id], kind) {
					if got := p.status(secret, method, strings.ReplaceAll(path, "{product}", "mine"), "application/json", nil); got == http.StatusForbidden {
						t.Errorf("%s of its own product with a token that may %s: %d", id, kind, got)
					}
				}
			}
		}
	}
	r := p.request("GET", "/products", nil)
	r.Header.Set("Authorization", "Bearer "+p.token("upload", "mine"))
	var list struct{ Items []api.Product }
	p.send(r).into(t, &list)
	if len(list.Items) != 1 || list.Items[0].Name != "mine" {
		t.Errorf("it sees %+v", list)
	}
	p.refused(400, "invalid", "know no products", "POST", "/tokens", map[string]any{"kind": "operator", "scopes": []string{"admin"}, "products": []string{"mine"}})
	p.refused(400, "invalid", "products are for operator", "POST", "/tokens", map[string]any{"kind": "enroll", "products": []string{"mine"}})
}

// Who may not look at the fleet is not told how many devices run what, and a rollout of another product is not theirs.
func TestPipelineSeesNoFleet(t *testing.T) {
	p := newPlane(t)
	d := p.enrol("d-1", "qemu-arm64", map[string]any{})
	rel := p.releaseOf("1.0.0", bytes.Repeat([]byte("an image "), 10_000))
	d.says("1.0.0", mustDigest(t, *rel.Sha256), nil)
	var r api.Rollout
	p.want(201, "POST", "/rollouts", map[string]any{"product": "edge-gw", "version": "1.0.0"}).into(t, &r)
	as := func(scope, product, path string) *answer {
		q := p.request("GET", path, nil)
		q.Header.Set("Authorization", "Bearer "+p.token(scope, product))
		return p.send(q)
	}
	var seen api.Release
	as("publish", "edge-gw", "/releases/edge-gw/1.0.0").into(t, &seen)
	if seen.Devices != nil || seen.Version != "1.0.0" {
		t.Errorf("%+v", seen)
	}
	if a := as("start", "edge-gw", "/rollouts/"+r.Id); a.StatusCode != 200 {
		t.Errorf("%d %s", a.StatusCode, a.body)
	}
	p.problem(as("start", "other", "/rollouts/"+r.Id), 403, "forbidden", "for the product other")
	q := p.request("POST", "/rollouts/"+r.Id+"/abort", nil)
	q.Header.Set("Authorization", "Bearer "+p.token("rollout", "other"))
	p.problem(p.send(q), 403, "forbidden", "for the product other")
}

func mustDigest(t *testing.T, text string) firmware.Digest {
	t.Helper()
	d, err := firmware.ParseDigest(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
