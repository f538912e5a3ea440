package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/waxwing-ota/waxwing/server/api/client"
	"github.com/waxwing-ota/waxwing/signing/repository"
	"github.com/waxwing-ota/waxwing/signing/trust"
)

var (
	errUsage    = errors.New("see --help")
	errAborted  = errors.New("the rollout was aborted")
	errConflict = errors.New("it is here already with other contents")
	errNotFound = errors.New("not found")
)

// usage returns an error about the command line.
func usage(format string, a ...any) error {
	return fmt.Errorf("%s; %w", fmt.Sprintf(format, a...), errUsage)
}

// problemError is an answer of the server that says no.
type problemError struct{ client.Problem }

func (e *problemError) Error() string {
	if e.Detail != nil {
		return *e.Detail
	}
	return e.Title
}

// exitCode maps an error to the code that the package comment documents.
func exitCode(err error) int {
	var problem *problemError
	if errors.As(err, &problem) {
		switch problem.Status {
		case http.StatusNotFound:
			return exitNotFound
		case http.StatusConflict:
			return exitConflict
		case http.StatusUnauthorized, http.StatusForbidden:
			return exitDenied
		}
		return exitFailure
	}
	switch {
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, errAborted):
		return exitAborted
	case errors.Is(err, errNotFound), errors.Is(err, trust.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return exitNotFound
	case errors.Is(err, errConflict), errors.Is(err, repository.ErrExists), errors.Is(err, repository.ErrOffline), errors.Is(err, fs.ErrExist):
		return exitConflict
	}
	return exitFailure
}
