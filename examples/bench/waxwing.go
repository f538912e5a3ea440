package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/waxwing-ota/waxwing/examples/bench/child"
)

// Versions of the one product that the benchmark publishes.
const (
	product    = "bench"
	oldVersion = "1.0.0"
	newVersion = "1.1.0"
	hardware   = "bench-board"
)

// command returns the program of the command line.
func (u *update) command() (string, error) {
	path, err := filepath.Abs(filepath.Join(u.programs, "waxwing"))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w; build it first, or name its folder with -bin", err)
	}
	return path, nil
}

// publish adds an image to a repository.
func (u *update) publish(ctx context.Context, repo, version, image string, more ...string) (child.Cost, error) {
	program, err := u.command()
	if err != nil {
		return child.Cost{}, err
	}
	return child.Run(ctx, program, append([]string{
		"release", "build", "--repo", repo, "--product", product, "--version", version, "--hardware", hardware, "--image", image,
	}, more...)...)
}

// extract puts the new image together from a repository and the old image. It returns the bytes written to the target if
// the program tells.
func (u *update) extract(ctx context.Context, repo, out string) (written *int64, cost child.Cost, err error) {
	program, err := u.command()
	if err != nil {
		return nil, child.Cost{}, err
	}
	said, cost, err := child.Output(ctx, program, "release", "extract", "--repo", repo, "--release", product+"@"+newVersion,
		"--seed", u.Old, "--seed-release", product+"@"+oldVersion, "--out", out, "-o", "json")
	if err != nil {
		return nil, cost, err
	}
	var told struct {
		Written *int64 `json:"written_bytes"`
	}
	if len(said) > 0 {
		if err := json.Unmarshal(said, &told); err != nil {
			return nil, cost, fmt.Errorf("release extract -o json: %w", err)
		}
	}
	return told.Written, cost, nil
}

// waxwingCommands goes the way of a user: publish both versions, ask for the cost, extract.
func waxwingCommands(ctx context.Context, u *update) (Method, error) {
	repo := u.path("repo")
	if _, err := u.publish(ctx, repo, oldVersion, u.Old); err != nil {
		return Method{}, err
	}
	made, err := u.publish(ctx, repo, newVersion, u.New, "--base", oldVersion)
	if err != nil {
		return Method{}, err
	}
	program, err := u.command()
	if err != nil {
		return Method{}, err
	}
	said, _, err := child.Output(ctx, program, "release", "cost", "--repo", repo, "--release", product+"@"+newVersion,
		"--from", oldVersion, "-o", "json")
	if err != nil {
		return Method{}, err
	}
	var told Waxwing
	if err := json.Unmarshal(said, &told); err != nil {
		return Method{}, fmt.Errorf("release cost -o json: %w", err)
	}
	_, idle, err := child.Output(ctx, program, "--help")
	if err != nil {
		return Method{}, err
	}
	told.Idle = idle.Peak
	written, applied, err := u.extract(ctx, repo, u.path("out"))
	if err != nil {
		return Method{}, err
	}
	told.Written = written
	m, err := u.done("", made, applied)
	if err != nil {
		return Method{}, err
	}
	if told.Fetched, err = u.fetched(ctx, repo); err != nil {
		return Method{}, err
	}
	m.Bytes, m.Waxwing = told.Total, &told
	m.Remark = fmt.Sprintf("index %d, patches %d, chunks %d bytes, and over HTTP %d with all metadata; make includes the patches",
		told.Index, told.Patch, told.Chunk, told.Fetched)
	return m, nil
}

// fetched extracts once more, over HTTP, and returns the bytes that were really sent: a claim should be checked. The index
// of the old version is not among them, as a device that runs it has it.
func (u *update) fetched(ctx context.Context, repo string) (int64, error) {
	server, err := serve(ctx, repo, "/targets/"+product+"/"+oldVersion+"/")
	if err != nil {
		return 0, err
	}
	_, _, err = u.extract(ctx, server.URL, u.path("fetched"))
	sent, closed := server.close()
	if err = errors.Join(err, closed); err != nil {
		return 0, fmt.Errorf("over HTTP: %w", err)
	}
	if ok, err := same(u.New, u.path("fetched")); err != nil || !ok {
		return 0, errors.Join(err, errors.New("what it rebuilt over HTTP is not the new image"))
	}
	return sent, nil
}
