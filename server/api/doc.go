// Package api is the operator plane: everything that the dashboard and the waxwing command do, as HTTP under /api/v1.
//
// The contract is openapi.yaml; api.gen.go is made from it and so are the dashboard's types and server/api/client. A
// request passes one way whatever it asks:
//
//	find the operation ─► who is it (server/auth, x-scope) ─► cap the body ─► check it against the contract
//	  ─► handler: call one service, map its answer ─► audit trail (x-audit) ─► answer, or one problem (RFC 9457)
//
// Handlers hold no state and decide nothing: what may happen is decided by fleet, release and conductor; what is shown
// is mapped by the view functions (deviceView, rolloutView, why …), which are pure. Errors of every service become HTTP
// in one place, problemOf.
//
// [Server.StreamEvents] tells what changed: the id of an event is the etcd revision, so a client that was away goes on
// after the last one it saw, or is told to read everything again.
package api

//go:generate go tool -modfile=../../cross/tools.mod oapi-codegen -config oapi.yaml openapi.yaml
