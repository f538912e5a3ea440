package api

import (
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"

	"github.com/waxwing-ota/waxwing/server/auth"
)

// operation is what the guard needs to know of one operation of the contract.
type operation struct {
	scope  auth.Scope // empty: none is needed
	open   bool       // x-scope: none
	stream bool       // its body is bytes, not JSON
	keeps  string     // x-product: how it keeps to the products of a bound token; empty: a bound token may not do it
	route  *routers.Route
}

// operations lists the operations of the contract.
func operations(spec *openapi3.T) []operation {
	var all []operation
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			op.Security = &openapi3.SecurityRequirements{} // the guard has its own; the checker would read bodies for it
			scope, _ := op.Extensions["x-scope"].(string)
			keeps, _ := op.Extensions["x-product"].(string)
			o := operation{keeps: keeps, open: scope == "none", route: &routers.Route{
				Spec: spec, Path: path, PathItem: item, Method: method, Operation: op,
			}}
			if !o.open {
				o.scope = auth.Scope(scope)
			}
			if op.RequestBody != nil {
				o.stream = op.RequestBody.Value.Content.Get("application/octet-stream") != nil
			}
			all = append(all, o)
		}
	}
	return all
}

// echoRoute is the method and path of an operation as echo knows them.
func (op operation) echoRoute() string {
	path := strings.NewReplacer("{", ":", "}", "").Replace(op.route.Path)
	return op.route.Method + " " + basePath + path
}

// auditActions maps the name of a handler to the action that the trail records for it. Operations without one, or with
// "none", are not recorded.
func auditActions(spec *openapi3.T) map[string]string {
	actions := map[string]string{}
	for _, item := range spec.Paths.Map() {
		for _, op := range item.Operations() {
			if action, _ := op.Extensions["x-audit"].(string); action != "" && action != "none" {
				actions[handlerName(op.OperationID)] = action
			}
		}
	}
	return actions
}

// handlerName is the Go name of an operation, as the generated code has it.
func handlerName(id string) string { return strings.ToUpper(id[:1]) + id[1:] }
