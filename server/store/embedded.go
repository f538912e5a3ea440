package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	quota = 4 << 30 // bytes of the database; about a million devices with their reports
	// maxSocketPath is what a unix socket address holds on Linux, less one for its end.
	maxSocketPath = 107
)

// embedded is an etcd of one member in this process.
type embedded struct {
	lock   *os.File
	etcd   *embed.Etcd
	client *clientv3.Client
	socket string
	temp   string // directory of the socket when dir is too deep for one
	ending atomic.Bool
}

func (e *embedded) start(ctx context.Context, dir string, o Options) (err error) {
	e.socket = filepath.Join(dir, "etcd.sock")
	if len(e.socket) > maxSocketPath {
		if e.temp, err = os.MkdirTemp("", "waxwing-"); err != nil {
			return err
		}
		e.socket = filepath.Join(e.temp, "etcd.sock")
	}
	c := embed.NewConfig()
	c.Name = "waxwing"
	c.Dir = filepath.Join(dir, "etcd")
	c.ListenClientUrls = []url.URL{{Scheme: "unix", Path: e.socket}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	// One member has no peers, so it listens for none. The advertised URL is only its name in the membership.
	c.ListenPeerUrls = nil
	c.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "localhost:2380"}}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	c.EnableGRPCGateway = false
	// A lone member elects itself within one election time, so a short one is a quick start.
	c.TickMs, c.ElectionMs = 20, 200
	c.QuotaBackendBytes = quota
	// A stream of events resumes from a revision; two hours of them stay.
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, "2h"
	c.UnsafeNoFsync = o.Unsynced
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(errorsTo{log: o.Log, ending: &e.ending}))
	if e.etcd, err = embed.StartEtcd(c); err != nil {
		return err
	}
	select {
	case <-e.etcd.Server.ReadyNotify():
		return nil
	case err := <-e.etcd.Err():
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the client, etcd, and last the lock.
func (e *embedded) Close() error {
	var errs []error
	e.ending.Store(true)
	if e.client != nil {
		errs = append(errs, e.client.Close())
	}
	if e.etcd != nil {
		e.etcd.Close()
	}
	if e.temp != "" {
		errs = append(errs, os.RemoveAll(e.temp))
	}
	return errors.Join(append(errs, e.lock.Close())...)
}

// errorsTo hands etcd's errors to slog and drops the rest: etcd is talkative, and a store inside a server has little to
// tell an operator while it works.
type errorsTo struct {
	log    *slog.Logger
	ending *atomic.Bool
	fields []zapcore.Field
}

func (c errorsTo) Enabled(l zapcore.Level) bool { return l >= zapcore.ErrorLevel && !c.ending.Load() }

func (c errorsTo) With(fields []zapcore.Field) zapcore.Core {
	return errorsTo{log: c.log, ending: c.ending, fields: append(append([]zapcore.Field{}, c.fields...), fields...)}
}

func (c errorsTo) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return to.AddCore(e, c)
	}
	return to
}

func (c errorsTo) Write(e zapcore.Entry, fields []zapcore.Field) error {
	// Said once at each first start, before anything was written; etcd tries again and succeeds.
	if e.Message == "failed to update storage version" {
		return nil
	}
	m := zapcore.NewMapObjectEncoder()
	for _, f := range append(append([]zapcore.Field{}, c.fields...), fields...) {
		f.AddTo(m)
	}
	c.log.Error("etcd reports an error", "message", e.Message, "detail", fmt.Sprint(m.Fields))
	return nil
}

func (c errorsTo) Sync() error { return nil }
