package api

import (
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/waxwing-ota/waxwing/server/auth"
)

// metrics serves what is gathered: to a collector on this machine as it is, to any other with a token that may read.
func (s *Server) metrics(from prometheus.Gatherer) echo.HandlerFunc {
	serve := promhttp.HandlerFor(from, promhttp.HandlerOpts{})
	return func(c echo.Context) error {
		r := c.Request()
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() || r.Header.Get("X-Forwarded-For") != "" {
			who, err := s.Auth.Bearer(r.Context(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			if err != nil {
				return err
			}
			if err := who.Require(auth.Read); err != nil {
				return err
			}
		}
		serve.ServeHTTP(c.Response(), r)
		return nil
	}
}

// Collect implements prometheus.Collector over the fleet and the rollouts.
func (s *Server) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	gauge := func(name, help string, n int, labels ...string) {
		var names, values []string
		for i := 0; i < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), prometheus.GaugeValue, float64(n), values...)
	}
	if c, err := s.census(ctx); err == nil {
		gauge("waxwing_devices", "Devices in the fleet.", c.devices)
		gauge("waxwing_devices_online", "Devices with a connection to the broker.", c.online)
		for phase, n := range c.phases {
			gauge("waxwing_devices_in_phase", "Devices by phase of their update.", n, "phase", phase)
		}
		for key, n := range c.versions {
			gauge("waxwing_devices_running", "Devices by running release.", n, "product", key.product, "version", key.version)
		}
	}
	if all, err := s.Rollouts.Governing(ctx); err == nil {
		states := map[string]int{"running": 0, "paused": 0, "completed": 0, "aborted": 0}
		for _, e := range all {
			states[string(e.Value.State)]++
		}
		for state, n := range states {
			gauge("waxwing_rollouts", "The newest rollout of each group, by state.", n, "state", state)
		}
	}
}

// Describe implements prometheus.Collector; the empty description makes it an unchecked one, whose labels may grow.
func (s *Server) Describe(chan<- *prometheus.Desc) {}

var _ http.Handler = (*Server)(nil)
