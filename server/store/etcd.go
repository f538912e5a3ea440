package store

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Prefix is where all documents of a server lie, so that it can share a cluster with others.
const Prefix = "/waxwing/"

// ErrLocked says that another process works in the same directory.
var ErrLocked = errors.New("the store is in use by another process")

// Options of [Open].
type Options struct {
	// Dir holds the embedded etcd. It is made when missing; only its owner may look inside.
	Dir string
	// Endpoints of a cluster ("https://10.0.0.1:2379"). With any, nothing is embedded and Dir is not used.
	Endpoints []string
	TLS       *tls.Config // for the endpoints; nil: the system's roots for https
	// Unsynced leaves out fsync. Only for tests: a power cut may lose what was acknowledged.
	Unsynced bool
	Log      *slog.Logger
}

// Open connects to the cluster, or starts an etcd of one member inside this process. What it returns as io.Closer ends
// the connection and the embedded etcd.
func Open(ctx context.Context, o Options) (*Store, io.Closer, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if len(o.Endpoints) > 0 {
		client, err := connect(ctx, clientv3.Config{
			Endpoints: o.Endpoints, TLS: o.TLS,
			DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
		})
		if err != nil {
			return nil, nil, fmt.Errorf("etcd at %v does not answer; check --etcd and the cluster's health: %w", o.Endpoints, err)
		}
		return New(client, Prefix), client, nil
	}
	return openEmbedded(ctx, o)
}

func openEmbedded(ctx context.Context, o Options) (*Store, io.Closer, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("store: %w", err)
	}
	e := &embedded{}
	if e.lock, err = lockDir(dir); err != nil {
		return nil, nil, err
	}
	if err := e.start(ctx, dir, o); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("start the store in %s: %w", dir, err), e.Close())
	}
	e.client, err = connect(ctx, clientv3.Config{Endpoints: []string{"unix://" + e.socket}})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("connect to the store in %s: %w", dir, err), e.Close())
	}
	return New(e.client, Prefix), e, nil
}

// connect returns a client that has had an answer.
func connect(ctx context.Context, c clientv3.Config) (*clientv3.Client, error) {
	c.Logger = zap.NewNop()
	c.DialTimeout = 10 * time.Second
	client, err := clientv3.New(c)
	if err != nil {
		return nil, err
	}
	ask, cancel := context.WithTimeout(ctx, c.DialTimeout)
	defer cancel()
	if _, err := client.Get(ask, Prefix, clientv3.WithCountOnly()); err != nil {
		return nil, errors.Join(err, client.Close())
	}
	return client, nil
}

// lockDir keeps a second server out. etcd's own lock would make that server wait without a word. The kernel drops the
// lock when the process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%w: %s; stop the other server or choose another --data", ErrLocked, dir)
	}
	return f, nil
}
