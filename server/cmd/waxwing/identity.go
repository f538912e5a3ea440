package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

const maxIdentity = 64 << 10 // bytes of an identity token, or of an answer that holds one

// errNoIdentity says that no platform offers an identity here.
var errNoIdentity = errors.New("this is no CI job that has an identity: GitHub needs `permissions: id-token: write`, " +
	"GitLab `id_tokens` with WAXWING_OIDC_TOKEN; elsewhere set WAXWING_OIDC_TOKEN_FILE")

// audienceOf is whom a job's identity token is for: the server, by the URL that the job uses.
func audienceOf(server string) string { return strings.TrimSuffix(server, "/") }

// inJob reports whether a platform offers an identity.
func (a *app) inJob() bool {
	for _, name := range []string{"WAXWING_OIDC_TOKEN", "WAXWING_OIDC_TOKEN_FILE", "ACTIONS_ID_TOKEN_REQUEST_URL"} {
		if a.getenv(name) != "" {
			return true
		}
	}
	return false
}

// identity returns the identity token of the CI job that this runs in.
func (a *app) identity(ctx context.Context, audience string) (string, error) {
	if token := a.getenv("WAXWING_OIDC_TOKEN"); token != "" {
		return strings.TrimSpace(token), nil
	}
	if file := a.getenv("WAXWING_OIDC_TOKEN_FILE"); file != "" {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer f.Close()
		b, err := io.ReadAll(io.LimitReader(f, maxIdentity))
		return strings.TrimSpace(string(b)), err
	}
	if a.getenv("ACTIONS_ID_TOKEN_REQUEST_URL") == "" {
		return "", errNoIdentity
	}
	var token string
	err := again(ctx, func() (err error) {
		token, err = a.askGitHub(ctx, audience)
		return err
	})
	return token, err
}

// askGitHub asks GitHub Actions for the job's token.
func (a *app) askGitHub(ctx context.Context, audience string) (string, error) {
	at, err := url.Parse(a.getenv("ACTIONS_ID_TOKEN_REQUEST_URL"))
	if err != nil {
		return "", fmt.Errorf("ACTIONS_ID_TOKEN_REQUEST_URL: %w", err)
	}
	if ip := net.ParseIP(at.Hostname()); at.Scheme != "https" && (ip == nil || !ip.IsLoopback()) {
		return "", fmt.Errorf("ACTIONS_ID_TOKEN_REQUEST_URL is not https: %s", at.Redacted())
	}
	query := at.Query()
	query.Set("audience", audience)
	at.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return "", err
	}
	r.Header.Set("Authorization", "bearer "+a.getenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN"))
	answer, err := (&http.Client{Timeout: 30 * time.Second}).Do(r)
	if err != nil {
		return "", fmt.Errorf("ask GitHub for the identity of this job: %w", err)
	}
	defer answer.Body.Close()
	var v struct{ Value string }
	err = json.NewDecoder(io.LimitReader(answer.Body, maxIdentity)).Decode(&v)
	if answer.StatusCode != http.StatusOK || err != nil || v.Value == "" {
		return "", fmt.Errorf("GitHub gives this job no identity (%s); does the job have `permissions: id-token: write`?", answer.Status)
	}
	return v.Value, nil
}

// exchange trades the identity of this CI job for a token of the server.
func (a *app) exchange(ctx context.Context, server, product, audience string) (client.ExchangedToken, error) {
	if audience == "" {
		if audience = a.getenv("WAXWING_OIDC_AUDIENCE"); audience == "" {
			audience = audienceOf(server)
		}
	}
	if product == "" {
		product = a.getenv("WAXWING_PRODUCT")
	}
	identity, err := a.identity(ctx, audience)
	if err != nil {
		return client.ExchangedToken{}, err
	}
	api, err := connect(server, "")
	if err != nil {
		return client.ExchangedToken{}, err
	}
	return call[client.ExchangedToken](api.ExchangeTokenWithFormdataBody(ctx, client.TokenExchange{
		GrantType: client.TokenExchangeGrant, SubjectTokenType: client.SubjectTokenJWT, SubjectToken: identity, Product: optional(product),
	}))
}

// asJob returns what signs requests in as the CI job: it trades the job's identity at the first of them, and again when
// the token is about to end.
func (a *app) asJob(server string) client.RequestEditorFn {
	var mu sync.Mutex
	var token string
	var until time.Time
	return func(ctx context.Context, r *http.Request) error {
		mu.Lock()
		defer mu.Unlock()
		if time.Now().After(until) {
			got, err := a.exchange(ctx, server, "", "")
			if err != nil {
				return err
			}
			token, until = got.AccessToken, time.Now().Add(time.Duration(got.ExpiresIn)*time.Second*9/10)
			a.say("signed in as %s for %s of %s", got.Name, strings.ReplaceAll(got.Scope, " ", ", "), got.Product)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		return nil
	}
}
