package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/waxwing-ota/waxwing/server/auth"
)

// ExchangeToken implements the operation.
func (s *Server) ExchangeToken(ctx context.Context, q ExchangeTokenRequestObject) (ExchangeTokenResponseObject, error) {
	var asked []auth.Scope
	for name := range strings.FieldsSeq(value(q.Body.Scope)) {
		asked = append(asked, auth.Scope(name))
	}
	t, secret, err := s.Auth.Exchange(ctx, auth.Exchange{
		Identity: q.Body.SubjectToken, Product: value(q.Body.Product), Scopes: asked,
	})
	if err != nil {
		return nil, err
	}
	names := make([]string, len(t.Scopes))
	for i, scope := range t.Scopes {
		names[i] = string(scope)
	}
	return ExchangeToken200JSONResponse{
		AccessToken: secret, IssuedTokenType: "urn:ietf:params:oauth:token-type:access_token", TokenType: "Bearer",
		ExpiresIn: int(t.ExpiresAt.Sub(t.CreatedAt) / time.Second), Scope: strings.Join(names, " "), Product: t.Products[0], Name: t.Note,
	}, nil
}

// ListTrusts implements the operation.
func (s *Server) ListTrusts(ctx context.Context, _ ListTrustsRequestObject) (ListTrustsResponseObject, error) {
	all, err := s.Auth.Trusts(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b auth.Trust) int {
		if c := strings.Compare(a.Product, b.Product); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	list := ListTrusts200JSONResponse{Items: make([]Trust, 0, len(all))}
	for _, t := range all {
		list.Items = append(list.Items, trustView(t))
	}
	return list, nil
}

// CreateTrust implements the operation. The product must exist: a trust for one that is mistyped would wait for somebody
// to make it.
func (s *Server) CreateTrust(ctx context.Context, q CreateTrustRequestObject) (CreateTrustResponseObject, error) {
	if _, err := s.Releases.Product(ctx, q.Body.Product); err != nil {
		return nil, err
	}
	t := auth.Trust{
		Platform: auth.Platform(q.Body.Platform), Product: q.Body.Product, Issuer: value(q.Body.Issuer), Audience: q.Body.Audience,
		Claims: q.Body.Claims, Life: time.Duration(value(q.Body.TtlSeconds)) * time.Second,
	}
	for _, scope := range q.Body.Scopes {
		t.Scopes = append(t.Scopes, auth.Scope(scope))
	}
	if t.Issuer == "" {
		t.Issuer = map[auth.Platform]string{auth.GitHub: auth.GitHubIssuer, auth.GitLab: auth.GitLabIssuer}[t.Platform]
	}
	made, err := s.Auth.AddTrust(ctx, t, callerOf(ctx).Name)
	if err != nil {
		return nil, err
	}
	return CreateTrust201JSONResponse(trustView(made)), nil
}

// RemoveTrust implements the operation.
func (s *Server) RemoveTrust(ctx context.Context, q RemoveTrustRequestObject) (RemoveTrustResponseObject, error) {
	if err := s.Auth.RemoveTrust(ctx, q.Id); err != nil {
		return nil, err
	}
	return RemoveTrust204Response{}, nil
}

func trustView(t auth.Trust) Trust {
	return Trust{
		Id: t.ID, Platform: TrustPlatform(t.Platform), Product: t.Product, Scopes: scopes(t.Scopes), Issuer: t.Issuer, Audience: t.Audience,
		Claims: t.Claims, TtlSeconds: int(t.Life / time.Second), CreatedAt: t.CreatedAt, CreatedBy: t.CreatedBy,
	}
}

func jobView(j *auth.Job) *Job {
	if j == nil {
		return nil
	}
	return &Job{
		Platform: string(j.Platform), Issuer: j.Issuer, Subject: j.Subject, Repository: optional(j.Repository), Ref: optional(j.Ref),
		Commit: optional(j.Commit), Workflow: optional(j.Workflow), Run: optional(j.Run), Actor: optional(j.Actor),
	}
}

// bound keeps a token that is for some products from the others, where the request's body names the product. The guard has
// looked at those that the path names, and let a bound token reach no operation that does not say how it keeps to them.
func (s *Server) bound(next StrictHandlerFunc, _ string) StrictHandlerFunc {
	return func(c echo.Context, request any) (any, error) {
		var product string
		switch q := request.(type) {
		case CreateProductRequestObject:
			product = q.Body.Name
		case CreateReleaseRequestObject:
			product = q.Body.Product
		case SignReleaseRequestObject:
			product = q.Body.Product
		case CreateRolloutRequestObject:
			product = q.Body.Product
		default:
			return next(c, request)
		}
		if err := callerOf(c.Request().Context()).RequireProduct(product); err != nil {
			return nil, err
		}
		return next(c, request)
	}
}

// mayCreate says whether the caller may have a release made that the server is to sign.
func (s *Server) mayCreate(ctx context.Context, product string) error {
	who := callerOf(ctx)
	if err := who.Require(auth.Sign); err != nil {
		return err
	}
	if auth.May(who.Scopes, auth.Release) {
		return nil
	}
	if _, err := s.Releases.Product(ctx, product); err != nil { // it would be made along with the release
		return fmt.Errorf("product %s: %w", product, err)
	}
	return nil
}
