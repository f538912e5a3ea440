package api

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/waxwing-ota/waxwing/server/audit"
	"github.com/waxwing-ota/waxwing/server/auth"
	"github.com/waxwing-ota/waxwing/server/conductor"
	"github.com/waxwing-ota/waxwing/server/fleet"
	"github.com/waxwing-ota/waxwing/server/release"
	"github.com/waxwing-ota/waxwing/server/site"
	"github.com/waxwing-ota/waxwing/server/store"
	"github.com/waxwing-ota/waxwing/signing/repository"
)

// basePath is where the operations of the contract begin.
const basePath = "/api/v1"

//go:embed openapi.yaml
var contract []byte

// Options of New.
type Options struct {
	Store     *store.Store // for events and health
	Auth      *auth.Auth
	Audit     *audit.Trail
	Fleet     *fleet.Fleet
	Sites     *site.Sites
	Releases  *release.Releases
	Rollouts  *conductor.Conductor
	Keys      Keys
	Dashboard http.Handler        // everything that is not the API
	Metrics   prometheus.Gatherer // nil: none
	// EnrolCommand returns the command by which a device uses an enrolment token.
	EnrolCommand func(secret string) string
	Log          *slog.Logger
	Now          func() time.Time // nil: the clock of the machine
}

// Keys is who signs the repository, and what changes that.
type Keys interface {
	Status(ctx context.Context) ([]repository.Standing, error)
	Import(ctx context.Context, drafts ...*repository.Draft) error
}

// Server is the operator plane, an http.Handler.
type Server struct {
	Options
	echo    *echo.Echo
	counter counter
	priced  kept[prices]
	sites   kept[[]site.View]
	ending  chan struct{} // closed when streams shall end
	end     sync.Once
}

var _ StrictServerInterface = (*Server)(nil)

// New wires the operator plane.
func New(o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{Options: o, echo: echo.New(), ending: make(chan struct{})}
	spec, err := GetSpec()
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	s.echo.HTTPErrorHandler = s.answerProblem
	s.echo.Use(requestID, s.recover, harden, s.guardAll(operations(spec)))
	strict := NewStrictHandler(s, []StrictMiddlewareFunc{s.record(auditActions(spec)), s.bound})
	RegisterHandlersWithBaseURL(s.echo, strict, basePath)
	s.echo.GET("/healthz", s.health)
	s.echo.GET("/openapi.yaml", func(c echo.Context) error { return c.Blob(http.StatusOK, "application/yaml", contract) })
	if o.Metrics != nil {
		s.echo.GET("/metrics", s.metrics(o.Metrics))
	}
	s.echo.Any(unknownPath, func(echo.Context) error { return echo.ErrNotFound })
	s.echo.Match([]string{http.MethodGet, http.MethodHead}, "/*", echo.WrapHandler(o.Dashboard))
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.echo.ServeHTTP(w, r) }

// EndStreams ends all event streams, so that a graceful shutdown does not wait for them.
func (s *Server) EndStreams() { s.end.Do(func() { close(s.ending) }) }

// requestID names each request; the name is in the answer, in problems and in the log.
func requestID(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderXRequestID, "req_"+strings.ToLower(ulid.Make().String()))
		return next(c)
	}
}

// recover turns a panic of a handler into a problem, with the stack in the log.
func (s *Server) recover(next echo.HandlerFunc) echo.HandlerFunc {
	return middleware.RecoverWithConfig(middleware.RecoverConfig{
		LogErrorFunc: func(_ echo.Context, err error, stack []byte) error {
			s.Log.Error("a handler panicked", "error", err, "stack", string(stack))
			return errPanic
		},
	})(next)
}

var errPanic = errors.New("a handler panicked")

// harden keeps answers from being framed, sniffed or told to other sites.
func harden(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		if strings.HasPrefix(c.Request().URL.Path, basePath) {
			h.Set("Cache-Control", "no-store")
		}
		return next(c)
	}
}

// health answers 200 while the store does.
func (s *Server) health(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), 2*time.Second)
	defer cancel()
	if _, err := s.Store.Client().Get(ctx, store.Prefix); err != nil {
		return c.String(http.StatusServiceUnavailable, "the store does not answer\n")
	}
	return c.String(http.StatusOK, "ok\n")
}
