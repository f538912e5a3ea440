package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/waxwing-ota/waxwing/server/api"
	"github.com/waxwing-ota/waxwing/server/servertest"
)

// plane is a server whose answers are all compared with the contract.
type plane struct {
	*testing.T
	*servertest.Server
	router routers.Router
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	return planeOf(t, servertest.Start(t))
}

func planeOf(t *testing.T, s *servertest.Server) *plane {
	t.Helper()
	spec, err := api.GetSpec()
	if err != nil {
		t.Fatal(err)
	}
	spec.Servers[0].URL = s.Operator + "/api/v1"
	router, err := gorillamux.NewRouter(spec)
	if err != nil {
		t.Fatal(err)
	}
	return &plane{T: t, Server: s, router: router}
}

// answer is what came back.
type answer struct {
	*http.Response
	body []byte
}

func (a *answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

func (p *plane) request(method, path string, body any) *http.Request {
	p.Helper()
	var reader io.Reader
	contentType := "application/json"
	switch b := body.(type) {
	case nil:
	case []byte:
		reader, contentType = bytes.NewReader(b), "application/octet-stream"
	case string:
		reader = strings.NewReader(b)
	default:
		j, err := json.Marshal(b)
		if err != nil {
			p.Fatal(err)
		}
		reader = bytes.NewReader(j)
	}
	r, err := http.NewRequestWithContext(p.Context(), method, p.Operator+"/api/v1"+path, reader)
	if err != nil {
		p.Fatal(err)
	}
	if reader != nil {
		r.Header.Set("Content-Type", contentType)
	}
	r.Header.Set("Authorization", "Bearer "+p.Token)
	return r
}

// send sends a request and checks the answer against the contract.
func (p *plane) send(r *http.Request) *answer {
	p.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		p.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.Fatal(err)
	}
	a := &answer{Response: response, body: body}
	route, params, err := p.router.FindRoute(r)
	if err != nil {
		return a // not an operation
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
		Status:                 response.StatusCode, Header: response.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	}
	in.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
		p.Errorf("%s %s: the answer does not fit the contract: %v\n%s", r.Method, r.URL.Path, err, body)
	}
	return a
}

func (p *plane) do(method, path string, body any) *answer {
	p.Helper()
	return p.send(p.request(method, path, body))
}

// want sends a request that must succeed with the status.
func (p *plane) want(status int, method, path string, body any) *answer {
	p.Helper()
	a := p.do(method, path, body)
	if a.StatusCode != status {
		p.Fatalf("%s %s: %d, want %d: %s", method, path, a.StatusCode, status, a.body)
	}
	return a
}

// refused sends a request that must end in a problem of this type whose detail says something.
func (p *plane) refused(status int, kind, says, method, path string, body any) *api.Problem {
	p.Helper()
	return p.problem(p.do(method, path, body), status, kind, says)
}

func (p *plane) problem(a *answer, status int, kind, says string) *api.Problem {
	p.Helper()
	var problem api.Problem
	what := fmt.Sprintf("%s %s", a.Request.Method, a.Request.URL.Path)
	if a.StatusCode != status || a.Header.Get("Content-Type") != "application/problem+json" {
		p.Errorf("%s: %d %s, want %d: %s", what, a.StatusCode, a.Header.Get("Content-Type"), status, a.body)
		return &problem
	}
	a.into(p.T, &problem)
	if problem.Type != "/problems/"+kind || !strings.Contains(*problem.Detail, says) || problem.RequestId == nil {
		p.Errorf("%s: %s, want %s that says %q", what, a.body, kind, says)
	}
	return &problem
}
