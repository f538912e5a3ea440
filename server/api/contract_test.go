package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/waxwing-ota/waxwing/server/api"
)

// Every operation says who may do it, and every change says what the trail calls it.
func TestEveryOperationHasScopeAndAction(t *testing.T) {
	spec, err := api.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	scopes := []string{"none", "any", "upload", "sign", "publish", "start", "read", "release", "rollout", "device", "admin"}
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			scope, _ := op.Extensions["x-scope"].(string)
			if !slices.Contains(scopes, scope) {
				t.Errorf("%s %s: x-scope is %q", method, path, scope)
			}
			if scope == "none" && path != "/session" && path != "/token/exchange" {
				t.Errorf("%s %s is open to everybody", method, path)
			}
			if keeps, given := op.Extensions["x-product"]; given && !slices.Contains([]any{"path", "body", "handler", "free"}, keeps) ||
				strings.Contains(path, "{product}") && keeps != "path" {
				t.Errorf("%s %s: x-product is %v", method, path, keeps)
			}
			action, _ := op.Extensions["x-audit"].(string)
			if (method == http.MethodGet) != (action == "") {
				t.Errorf("%s %s: x-audit is %q", method, path, action)
			}
		}
	}
}

// Without a token nothing is told, and with too little of a token nothing is done.
func TestEveryOperationIsGuarded(t *testing.T) {
	p := newPlane(t)
	var reader struct{ Secret string }
	p.want(http.StatusCreated, "POST", "/tokens", map[string]any{"kind": "operator", "scopes": []string{"read"}}).into(t, &reader)
	spec, err := api.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			if op.Extensions["x-scope"] == "none" {
				continue
			}
			r := p.request(method, path, nil)
			r.Header.Del("Authorization")
			p.problem(p.send(r), http.StatusUnauthorized, "not-signed-in", "sign in")
			if scope := op.Extensions["x-scope"]; scope == "read" || scope == "any" {
				continue
			}
			r = p.request(method, path, nil)
			r.Header.Set("Authorization", "Bearer "+reader.Secret)
			p.problem(p.send(r), http.StatusForbidden, "forbidden", "is needed")
		}
	}
}
