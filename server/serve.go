package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	grace        = 5 * time.Second // for requests under way when the server stops
	refreshEvery = time.Hour       // of signed metadata that nears its end
)

// fronts is where others come in.
type fronts struct {
	operator, device, mqtt net.Listener
	run                    []func(context.Context) error // device plane and broker
}

// serve runs everything. The services outlive the fronts: what came in is finished before they stop.
func (s *Server) serve(ctx context.Context, p *parts) error {
	front, stopFront := context.WithCancel(ctx)
	defer stopFront()
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()

	services, back := errgroup.WithContext(back)
	for _, run := range []func(context.Context) error{
		p.fleet.Run, p.rollouts.Run, p.releases.Run,
		func(ctx context.Context) error { return s.refresh(ctx, p) },
	} {
		services.Go(func() error {
			defer stopFront() // without one of them the rest is of no use
			return ignoreCancel(run(back))
		})
	}
	doors, front := errgroup.WithContext(front)
	doors.Go(func() error { return s.serveOperators(front, p) })
	for _, run := range p.fronts.run {
		doors.Go(func() error { return ignoreCancel(run(front)) })
	}
	if err := s.at.announce(s.o.Data); err != nil {
		stopFront()
		return errors.Join(err, doors.Wait())
	}
	close(s.ready)
	s.o.Log.Info("serving", "operator", s.at.Operator, "device", s.at.Device, "mqtt", s.at.MQTT)

	err := doors.Wait()
	stopBack()
	err = errors.Join(err, services.Wait(), unannounce(s.o.Data))
	s.o.Log.Info("stopped")
	return err
}

// refresh signs again what nears its end.
func (s *Server) refresh(ctx context.Context, p *parts) error {
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		if err := p.repo.Refresh(ctx); err != nil && ctx.Err() == nil {
			s.o.Log.Error("signing metadata again failed; it is tried again in an hour", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// serveOperators serves the operator plane until ctx ends, and then lets requests end.
func (s *Server) serveOperators(ctx context.Context, p *parts) error {
	h := &http.Server{
		Handler: p.api, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
	h.RegisterOnShutdown(p.api.EndStreams)
	return serveHTTP(ctx, h, func() error {
		if s.o.OperatorCert != "" {
			return h.ServeTLS(p.fronts.operator, s.o.OperatorCert, s.o.OperatorKey)
		}
		return h.Serve(p.fronts.operator)
	})
}

// serveHTTP runs an http.Server until ctx ends.
func serveHTTP(ctx context.Context, h *http.Server, serve func() error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if err := h.Shutdown(end); err != nil {
			return h.Close() // whoever is still here had their time
		}
		return nil
	})
	return g.Wait()
}

func ignoreCancel(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
