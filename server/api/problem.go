package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/labstack/echo/v4"

	"github.com/waxwing-ota/waxwing/firmware"
	"github.com/waxwing-ota/waxwing/server/audit"
	"github.com/waxwing-ota/waxwing/server/auth"
	"github.com/waxwing-ota/waxwing/server/auth/oidc"
	"github.com/waxwing-ota/waxwing/server/conductor"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/server/release/attestation"
	"github.com/waxwing-ota/waxwing/server/release/build"
	"github.com/waxwing-ota/waxwing/server/rollout"
	"github.com/waxwing-ota/waxwing/server/site"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/repository"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

var (
	errCrossOrigin = errors.New("this request came from another site and was refused")
	errInUse       = errors.New("still in use")
	errBusy        = errors.New("too many event streams are open; close some and try again")
	errPageToken   = errors.New("this page token is not one that this server gave out; begin with the first page")
)

// kinds lists what errors mean to a client: the first that matches counts. Errors of this list are written for people and
// shown as they are; any other is an internal error, logged and not shown.
func kinds() []problemKind {
	return []problemKind{
		{http.StatusUnauthorized, "not-signed-in", "Not signed in", []error{auth.ErrMissing, auth.ErrInvalid, auth.ErrExpired, oidc.ErrToken}},
		{http.StatusForbidden, "forbidden", "Not allowed", []error{auth.ErrForbidden, auth.ErrUntrusted, errCrossOrigin}},
		{http.StatusRequestEntityTooLarge, "too-large", "Too large", []error{firmware.ErrTooLarge}},
		{http.StatusServiceUnavailable, "busy", "Busy", []error{errBusy, auth.ErrRush, oidc.ErrIssuer}},
		{http.StatusConflict, "conflict", "Conflict", []error{
			release.ErrConflict, auth.ErrLastAdmin, store.ErrExists, store.ErrConflict, repository.ErrExists, repository.ErrOffline, errInUse,
			conductor.ErrBusy, conductor.ErrState,
		}},
		{http.StatusNotFound, "not-found", "Not found", []error{store.ErrNotFound, fleet.ErrUnknown, fleet.ErrGroup, fleet.ErrTokenUnknown, site.ErrUnknown}},
		{http.StatusUnprocessableEntity, "corrupt", "Damaged or not genuine", []error{
			firmware.ErrCorrupt, trust.ErrUntrusted, trust.ErrMismatch, trust.ErrExpired,
		}},
		{http.StatusBadRequest, "invalid", "Invalid request", []error{
			release.ErrInvalid, attestation.ErrMalformed, firmware.ErrMalformed, repository.ErrInvalid, auth.ErrScopes, auth.ErrTrust, auth.ErrProducts, audit.ErrToken,
			build.ErrEmpty, errPageToken, fs.ErrInvalid, fleet.ErrInvalid, fleet.ErrLabelUnknown, rollout.ErrSpec,
		}},
	}
}

type problemKind struct {
	status int
	name   string
	title  string
	of     []error
}

// problemOf is the one place where errors become HTTP.
func problemOf(err error) Problem {
	var offset *release.OffsetError
	var tooLong *http.MaxBytesError
	var he *echo.HTTPError
	switch {
	case errors.As(err, &offset):
		p := problem(http.StatusConflict, "wrong-offset", "Wrong offset", err.Error())
		p.Offset = &offset.Want
		return p
	case errors.As(err, &tooLong):
		return problem(http.StatusRequestEntityTooLarge, "too-large", "Too large",
			fmt.Sprintf("the body has over %d bytes", tooLong.Limit))
	}
	if fields := contractErrors(err); fields != nil {
		p := problem(http.StatusBadRequest, "invalid", "Invalid request", "the request does not fit the contract, see /openapi.yaml: "+fields[0].Detail)
		p.Errors = &fields
		return p
	}
	for _, k := range kinds() {
		for _, of := range k.of {
			if errors.Is(err, of) {
				return problem(k.status, k.name, k.title, err.Error())
			}
		}
	}
	if errors.As(err, &he) {
		name := strings.ToLower(strings.ReplaceAll(http.StatusText(he.Code), " ", "-"))
		return problem(he.Code, name, http.StatusText(he.Code), fmt.Sprintf("%v; the operations are in /openapi.yaml", he.Message))
	}
	return problem(http.StatusInternalServerError, "internal", "Internal error",
		"the server could not do this; its log says why, under this request id")
}

func problem(status int, name, title, detail string) Problem {
	return Problem{Type: "/problems/" + name, Title: title, Status: status, Detail: &detail}
}

// contractErrors returns what of a request does not fit the contract, field by field; nil for any other error.
func contractErrors(err error) []FieldError {
	switch e := err.(type) { //nolint:errorlint // errors.As would look past the parameter that an error belongs to
	case openapi3.MultiError:
		var all []FieldError
		for _, one := range e {
			all = append(all, contractErrors(one)...)
		}
		return all
	case *openapi3filter.RequestError:
		field := "body"
		if e.Parameter != nil {
			field = e.Parameter.Name
		}
		return schemaErrors(field, e.Err, e.Error())
	}
	return nil
}

// schemaErrors returns the fields of a parameter or body that do not fit; otherwise stands for what is no matter of fields.
func schemaErrors(field string, err error, otherwise string) []FieldError {
	switch e := err.(type) { //nolint:errorlint // likewise
	case openapi3.MultiError:
		var all []FieldError
		for _, one := range e {
			all = append(all, schemaErrors(field, one, otherwise)...)
		}
		return all
	case *openapi3.SchemaError:
		if path := e.JSONPointer(); len(path) > 0 {
			field = strings.Join(path, ".")
		}
		otherwise = e.Reason
	}
	return []FieldError{{Field: field, Detail: field + ": " + otherwise}}
}

// answerProblem is echo's error handler.
func (s *Server) answerProblem(err error, c echo.Context) {
	p := problemOf(err)
	id := c.Response().Header().Get(echo.HeaderXRequestID)
	p.RequestId = &id
	r := c.Request()
	if r.Context().Err() != nil {
		return // nobody waits for the answer
	}
	if p.Status >= http.StatusInternalServerError {
		s.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "request_id", id, "error", err)
	}
	if c.Response().Committed {
		return
	}
	if p.Status == http.StatusUnauthorized {
		c.Response().Header().Set("WWW-Authenticate", `Bearer realm="waxwing"`)
	}
	c.Response().Header().Set(echo.HeaderContentType, "application/problem+json")
	c.Response().WriteHeader(p.Status)
	if err := json.NewEncoder(c.Response()).Encode(p); err != nil {
		s.Log.Debug("a problem could not be sent", "request_id", id, "error", err)
	}
}
