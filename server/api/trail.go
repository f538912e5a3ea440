package api

import (
	"context"
	"fmt"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/waxwing-ota/waxwing/server/audit"
)

// record writes to the audit trail what was done, after it was. It sits around every handler, so no change can forget
// it. When the trail cannot be written the change has happened all the same; the log then has what the trail lacks.
func (s *Server) record(actions map[string]string) StrictMiddlewareFunc {
	return func(next StrictHandlerFunc, operation string) StrictHandlerFunc {
		action := actions[operation]
		if action == "" {
			return next
		}
		return func(c echo.Context, request any) (any, error) {
			response, err := next(c, request)
			if err != nil {
				return response, err
			}
			ctx := c.Request().Context()
			e := audit.Entry{Actor: callerOf(ctx).Name, Action: action, Subject: strings.Join(c.ParamValues(), "/")}
			describe(&e, request, response)
			if e.Action == "" {
				return response, nil
			}
			if err := s.Audit.Record(context.WithoutCancel(ctx), e); err != nil {
				s.Log.Error("the audit trail could not be written", "actor", e.Actor, "action", e.Action, "subject", e.Subject, "error", err)
			}
			return response, nil
		}
	}
}

// describe fills in what the path alone does not tell. An empty action means that nothing was done.
func describe(e *audit.Entry, request, response any) {
	switch q := request.(type) {
	case SignInRequestObject:
		if r, ok := response.(SignIn200JSONResponse); ok {
			e.Actor = r.Body.Name
		}
	case ExchangeTokenRequestObject:
		if r, ok := response.(ExchangeToken200JSONResponse); ok {
			e.Actor, e.Subject, e.Detail = r.Name, r.Product, r.Scope
		}
	case CreateTrustRequestObject:
		if r, ok := response.(CreateTrust201JSONResponse); ok {
			e.Subject, e.Detail = r.Id, fmt.Sprintf("%s %s for %v: %v", r.Platform, r.Product, r.Scopes, r.Claims)
		}
	case AttestReleaseRequestObject:
		if r, ok := response.(AttestRelease201JSONResponse); ok {
			e.Detail = string(r.Kind) + " " + r.Sha256
		}
	case CreateTokenRequestObject:
		if r, ok := response.(CreateToken201JSONResponse); ok {
			e.Subject, e.Detail = r.Token.Id, string(r.Token.Kind)+" "+value(r.Token.Note)
		}
	case CreateProductRequestObject:
		e.Subject = q.Body.Name
	case SignReleaseRequestObject:
		e.Subject = q.Body.Product + "/" + q.Body.Version
	case CreateReleaseRequestObject:
		e.Subject = q.Body.Product + "/" + q.Body.Version
	case CreateRolloutRequestObject:
		if value(q.Params.DryRun) {
			e.Action = ""
		} else if r, ok := response.(CreateRollout201JSONResponse); ok {
			e.Subject, e.Detail = r.Id, r.Product+" "+r.Version+" to group "+r.Group
		}
	case ActOnRolloutRequestObject:
		e.Action, e.Subject = "rollout."+string(q.Action), q.Id
		if q.Body != nil {
			e.Detail = value(q.Body.Reason)
		}
	case PutGroupRequestObject:
		e.Detail = q.Body.Selector
	case LabelDeviceRequestObject:
		e.Detail = labelChanges(q.Body.Labels)
	}
}

// ListAudit implements the operation.
func (s *Server) ListAudit(ctx context.Context, q ListAuditRequestObject) (ListAuditResponseObject, error) {
	entries, next, err := s.Audit.List(ctx, value(q.Params.PageToken), pageSize(q.Params.PageSize))
	if err != nil {
		return nil, err
	}
	list := AuditList{Items: make([]AuditEntry, 0, len(entries)), NextPageToken: optional(next)}
	for _, e := range entries {
		list.Items = append(list.Items, AuditEntry{
			Id: e.ID, At: e.At, Actor: e.Actor, Action: e.Action, Subject: e.Subject, Detail: optional(e.Detail),
		})
	}
	return ListAudit200JSONResponse(list), nil
}
