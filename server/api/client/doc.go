// Package client calls the operator API: it is made from server/api/openapi.yaml, so it cannot differ from what the
// server offers. The waxwing command uses it; so may any Go program with a token.
package client

//go:generate go tool -modfile=../../../cross/tools.mod oapi-codegen -config oapi.yaml ../openapi.yaml
