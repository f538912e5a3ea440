package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/waxwing-ota/waxwing/server/auth"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/store"
)

// ListTokens implements the operation.
func (s *Server) ListTokens(ctx context.Context, _ ListTokensRequestObject) (ListTokensResponseObject, error) {
	operators, err := s.Auth.List(ctx)
	if err != nil {
		return nil, err
	}
	enrolment, err := s.Fleet.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	list := ListTokens200JSONResponse{Items: []Token{}}
	for _, t := range operators {
		list.Items = append(list.Items, operatorToken(t))
	}
	for _, t := range enrolment {
		list.Items = append(list.Items, enrolToken(t))
	}
	slices.SortFunc(list.Items, func(a, b Token) int {
		if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.Id, b.Id)
	})
	return list, nil
}

// CreateToken implements the operation.
func (s *Server) CreateToken(ctx context.Context, q CreateTokenRequestObject) (CreateTokenResponseObject, error) {
	life := time.Duration(value(q.Body.TtlSeconds)) * time.Second
	by := callerOf(ctx).Name
	if q.Body.Kind == NewTokenKindOperator {
		if q.Body.Uses != nil || q.Body.Labels != nil || value(q.Body.Approve) {
			return nil, fmt.Errorf("uses, labels and approve are for enrolment tokens: %w", auth.ErrScopes)
		}
		var may []auth.Scope
		for _, scope := range value(q.Body.Scopes) {
			may = append(may, auth.Scope(scope))
		}
		t, secret, err := s.Auth.Create(ctx, value(q.Body.Note), may, value(q.Body.Products), life, by)
		if err != nil {
			return nil, err
		}
		return CreateToken201JSONResponse{Token: operatorToken(t), Secret: secret, Command: optional("waxwing login --token " + secret)}, nil
	}
	if q.Body.Scopes != nil || q.Body.Products != nil {
		return nil, fmt.Errorf("%w: scopes and products are for operator tokens", fleet.ErrInvalid)
	}
	t, secret, err := s.Fleet.CreateToken(ctx, fleet.TokenSpec{
		Note: value(q.Body.Note), Labels: value(q.Body.Labels), Approve: value(q.Body.Approve), Uses: value(q.Body.Uses), Life: life,
	}, by)
	if err != nil {
		return nil, err
	}
	return CreateToken201JSONResponse{Token: enrolToken(t), Secret: secret, Command: optional(s.EnrolCommand(secret))}, nil
}

// RevokeToken implements the operation, for tokens of both kinds: their ids never meet by chance.
func (s *Server) RevokeToken(ctx context.Context, q RevokeTokenRequestObject) (RevokeTokenResponseObject, error) {
	err := s.Auth.Revoke(ctx, q.Id)
	if errors.Is(err, store.ErrNotFound) {
		err = s.Fleet.RevokeToken(ctx, q.Id)
	}
	if err != nil {
		return nil, err
	}
	return RevokeToken204Response{}, nil
}

func operatorToken(t auth.Token) Token {
	may := scopes(t.Scopes)
	v := Token{
		Id: t.ID, Kind: TokenKindOperator, Note: optional(t.Note), Scopes: &may, Job: jobView(t.Job),
		CreatedAt: t.CreatedAt, CreatedBy: t.CreatedBy, ExpiresAt: t.ExpiresAt,
	}
	if len(t.Products) > 0 {
		v.Products = &t.Products
	}
	return v
}

func enrolToken(t fleet.Token) Token {
	v := Token{
		Id: t.ID, Kind: TokenKindEnroll, Note: optional(t.Note), Approve: optional(t.Approve),
		CreatedAt: t.CreatedAt, CreatedBy: t.CreatedBy, ExpiresAt: t.ExpiresAt,
	}
	if len(t.Labels) > 0 {
		v.Labels = &t.Labels
	}
	if t.Uses >= 0 {
		uses := t.Uses
		v.UsesLeft = &uses
	}
	return v
}
