// Command waxwing is the tool of people and of CI: it publishes releases, walks rollouts and looks after devices.
//
//	waxwing login --server http://127.0.0.1:8080 --token-file d/admin.token
//	waxwing release create --product edge-gw --version 1.0.0 --hardware qemu-arm64 --image rootfs.ext4
//	waxwing rollout create --product edge-gw --version 1.0.0 --watch
//	waxwing token create
//
// Data goes to standard output, as a table or with -o json; words for people go to standard error. The server and the token
// come from --server, the variables WAXWING_SERVER and WAXWING_TOKEN, or the last login, in this order.
//
// # Exit codes
//
//	0  done
//	1  it failed
//	2  the command line is wrong
//	3  there is no such thing
//	4  it contradicts what is there
//	5  not signed in, or not allowed
//	6  the rollout was aborted
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitFailure = 1 + iota
	exitUsage
	exitNotFound
	exitConflict
	exitDenied
	exitAborted
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx)
	stop()
	os.Exit(code)
}

func run(ctx context.Context) int {
	a := &app{in: os.Stdin, out: os.Stdout, words: os.Stderr, getenv: os.Getenv}
	err := a.root().ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if !errors.Is(err, errAborted) {
		fmt.Fprintln(a.words, "waxwing:", err)
	}
	return exitCode(err)
}
