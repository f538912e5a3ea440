package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/labstack/echo/v4"

	"github.com/waxwing-ota/waxwing/server/auth"
)

const (
	maxJSON = 8 << 20 // bytes of a JSON body: ten thousand chunk ids, or a signed role
	// A request that sends nothing for this long is given up; a slow but living one is not.
	patience = 30 * time.Second
)

// caller is who asks, kept with the request for its handler.
type caller struct {
	auth.Principal
	cookie string
	secure bool // over TLS
}

type callerKey struct{}

// callerOf returns who asks; the guard has put it there for every operation.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// unknownPath is the route of everything below the base that is no operation.
const unknownPath = basePath + "/*"

// guardAll puts each operation's guard before its route. A route below the base that no operation of the contract
// describes is shut: a mistake in the wiring cannot leave a door open.
func (s *Server) guardAll(all []operation) echo.MiddlewareFunc {
	guards := map[string]echo.MiddlewareFunc{}
	for _, op := range all {
		guards[op.echoRoute()] = s.guard(op)
	}
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if path := c.Path(); !strings.HasPrefix(path, basePath) || path == unknownPath {
				return next(c)
			}
			if guard, ok := guards[c.Request().Method+" "+c.Path()]; ok {
				return guard(next)(c)
			}
			return fmt.Errorf("the route %s has no guard", c.Path())
		}
	}
}

// guard lets a request of one operation through when the caller may do it and it fits the contract.
func (s *Server) guard(op operation) echo.MiddlewareFunc {
	crossOrigin := http.NewCrossOriginProtection()
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			who, err := s.identify(r, op)
			if err != nil {
				return err
			}
			if err := op.keep(c, who); err != nil {
				return err
			}
			// Only what a browser adds by itself can be abused from another site: a cookie, or the act of signing in.
			if who.Cookie || op.open {
				if err := crossOrigin.Check(r); err != nil {
					return fmt.Errorf("%w: %w", errCrossOrigin, err)
				}
			}
			r = r.WithContext(context.WithValue(r.Context(), callerKey{}, who))
			r.Body = patient(c.Response(), r.Body)
			if !op.stream {
				r.Body = http.MaxBytesReader(c.Response(), r.Body, maxJSON)
			}
			c.SetRequest(r)
			if err := op.check(c, r); err != nil {
				return err
			}
			return next(c)
		}
	}
}

// identify finds out who asks and whether the operation is allowed to them. A bearer token goes before a cookie.
func (s *Server) identify(r *http.Request, op operation) (caller, error) {
	who := caller{secure: r.TLS != nil}
	if cookie, err := r.Cookie(auth.CookieName); err == nil {
		who.cookie = cookie.Value
	}
	if op.open {
		return who, nil
	}
	var err error
	if header := r.Header.Get("Authorization"); header != "" {
		secret, ok := strings.CutPrefix(header, "Bearer ")
		if !ok {
			return who, auth.ErrMissing
		}
		who.Principal, err = s.Auth.Bearer(r.Context(), strings.TrimSpace(secret))
	} else {
		who.Principal, err = s.Auth.Session(r.Context(), who.cookie)
	}
	if err != nil {
		return who, err
	}
	return who, who.Require(op.scope)
}

// keep holds a token that is bound to products to them.
func (op operation) keep(c echo.Context, who caller) error {
	switch {
	case !who.Bound() || op.keeps == "free" || op.keeps == "body" || op.keeps == "handler":
		return nil
	case op.keeps == "path":
		return who.RequireProduct(c.Param("product"))
	}
	return fmt.Errorf("%s %w: its token is bound to the product %s, and this is no matter of a product",
		who.Name, auth.ErrForbidden, strings.Join(who.Products, ", "))
}

// check compares parameters and JSON body with the contract. Bodies of bytes are read by their handlers, which bound and
// verify them.
func (op operation) check(c echo.Context, r *http.Request) error {
	if op.stream { // a checker that reads such a body would hold all of an image in memory
		r = r.WithContext(r.Context())
		r.Body = http.NoBody
	}
	params := map[string]string{}
	for i, name := range c.ParamNames() {
		params[name] = c.ParamValues()[i]
	}
	return openapi3filter.ValidateRequest(r.Context(), &openapi3filter.RequestValidationInput{
		Request: r, PathParams: params, Route: op.route,
		Options: &openapi3filter.Options{
			ExcludeRequestBody: op.stream, MultiError: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	})
}

// patient moves the read deadline on with every read of a body, so that a body may take long but never stall.
func patient(w http.ResponseWriter, body io.ReadCloser) io.ReadCloser {
	return &patientBody{ReadCloser: body, control: http.NewResponseController(w)}
}

type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *patientBody) Read(p []byte) (int, error) {
	// An in-memory ResponseWriter has no deadlines; then there is no connection to stall either.
	_ = b.control.SetReadDeadline(time.Now().Add(patience))
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
