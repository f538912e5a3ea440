package api

import (
	"context"
	"time"

	"github.com/waxwing-ota/waxwing/server/auth"
)

// SignIn implements the operation.
func (s *Server) SignIn(ctx context.Context, q SignInRequestObject) (SignInResponseObject, error) {
	cookie, who, err := s.Auth.SignIn(ctx, q.Body.Token)
	if err != nil {
		return nil, err
	}
	header := auth.Cookie(cookie, who.ExpiresAt, callerOf(ctx).secure).String()
	return SignIn200JSONResponse{Body: session(who), Headers: SignIn200ResponseHeaders{SetCookie: &header}}, nil
}

// GetSession implements the operation.
func (s *Server) GetSession(ctx context.Context, _ GetSessionRequestObject) (GetSessionResponseObject, error) {
	return GetSession200JSONResponse(session(callerOf(ctx).Principal)), nil
}

// SignOut implements the operation. With a bearer token there is nothing to forget.
func (s *Server) SignOut(ctx context.Context, _ SignOutRequestObject) (SignOutResponseObject, error) {
	who := callerOf(ctx)
	if who.cookie != "" {
		if err := s.Auth.SignOut(ctx, who.cookie); err != nil {
			return nil, err
		}
	}
	header := auth.Cookie("", time.Time{}, who.secure).String()
	return SignOut204Response{Headers: SignOut204ResponseHeaders{SetCookie: &header}}, nil
}

func session(p auth.Principal) Session {
	v := Session{Name: p.Name, Scopes: scopes(p.Scopes), ExpiresAt: optional(p.ExpiresAt)}
	if p.Bound() {
		v.Products = &p.Products
	}
	return v
}

func scopes(in []auth.Scope) []Scope {
	out := make([]Scope, len(in))
	for i, s := range in {
		out[i] = Scope(s)
	}
	return out
}
