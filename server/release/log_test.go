package release_test

import (
	"context"
	"log/slog"
)

// slogTo returns a logger that hands its messages over.
func slogTo(to func(msg string)) *slog.Logger { return slog.New(handler{to}) }

type handler struct{ to func(string) }

func (handler) Enabled(context.Context, slog.Level) bool { return true }

func (h handler) Handle(_ context.Context, r slog.Record) error {
	h.to(r.Message)
	return nil
}

func (h handler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h handler) WithGroup(string) slog.Handler      { return h }
