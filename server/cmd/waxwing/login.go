package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/waxwing-ota/waxwing/firmware/atomicfile"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/waxwing-ota/waxwing/server/api/client"
)

const defaultServer = "http://127.0.0.1:8080"

// credentials are what login remembers.
type credentials struct {
	Server string `json:"server"`
	Token  string `json:"token"`
}

// where returns the server and the token to use. A remembered token goes only to the server that it was remembered for.
func (a *app) where() (server, token string, err error) {
	c, err := readCredentials()
	if err != nil {
		return "", "", err
	}
	server = a.server
	if server == "" {
		server = a.getenv("WAXWING_SERVER")
	}
	if server == "" {
		server = c.Server
	}
	if server == "" {
		return "", "", errNoServer
	}
	if token = a.getenv("WAXWING_TOKEN"); token == "" && strings.TrimSuffix(server, "/") == c.Server {
		token = c.Token
	}
	return server, token, nil
}

func credentialsFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("where to keep credentials: %w", err)
	}
	return filepath.Join(dir, "waxwing", "credentials.json"), nil
}

func readCredentials() (credentials, error) {
	var c credentials
	file, homeless := credentialsFile()
	if homeless != nil { // then everything comes from flags and environment
		return c, nil //nolint:nilerr // see above
	}
	b, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	if err != nil {
		return c, fmt.Errorf("%s: %w; run `waxwing login` again", file, err)
	}
	return c, nil
}

func (c credentials) write() (string, error) {
	file, err := credentialsFile()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return "", err
	}
	return file, atomicfile.Write(file, append(b, '\n'), 0o600)
}

func (a *app) login() *cobra.Command {
	var token, tokenFile, audience, product string
	var asJob bool
	c := &cobra.Command{
		Use: "login", Short: "Sign in and remember it", Args: cobra.NoArgs,
		Long: `Sign in with an operator token and remember it in ~/.config/waxwing/credentials.json (mode 0600).
The first token of a server is in DIR/admin.token of its data folder. Without --token and --token-file it is asked for.

With --oidc a CI job trades the identity token of its platform for a token of minutes. Other commands do that by themselves
in a job that is not signed in.`,
		Example: "  waxwing login --server http://127.0.0.1:8080 --token-file d/admin.token",
		RunE: func(c *cobra.Command, _ []string) error {
			server := a.server
			if server == "" {
				server = a.getenv("WAXWING_SERVER")
			}
			if server == "" {
				server = defaultServer
			}
			var err error
			if asJob {
				var got client.ExchangedToken
				if token != "" || tokenFile != "" {
					return usage("--oidc takes no other token")
				}
				got, err = a.exchange(c.Context(), server, product, audience)
				token = got.AccessToken
			} else {
				token, err = a.askToken(token, tokenFile)
			}
			if err != nil {
				return err
			}
			api, err := connect(server, token)
			if err != nil {
				return usage("--server %s: %v", server, err)
			}
			who, err := call[client.Session](api.GetSession(c.Context()))
			if err != nil {
				return err
			}
			file, err := credentials{Server: strings.TrimSuffix(server, "/"), Token: token}.write()
			if err != nil {
				return fmt.Errorf("remember the sign-in: %w", err)
			}
			a.say("signed in to %s as %s; remembered in %s", server, who.Name, file)
			return nil
		},
	}
	c.Flags().StringVar(&token, "token", "", "operator `TOKEN`, wxo_…; others on this machine may see it in the process list")
	c.Flags().StringVar(&tokenFile, "token-file", "", "`FILE` with the token; - is standard input")
	c.Flags().BoolVar(&asJob, "oidc", false, "sign in as the CI job that this runs in")
	c.Flags().StringVar(&audience, "audience", "", "with --oidc: `TEXT` that the identity token is for (default: the server's URL, or WAXWING_OIDC_AUDIENCE)")
	c.Flags().StringVar(&product, "product", "", "with --oidc: `NAME` of the product, when the pipeline works on several (or WAXWING_PRODUCT)")
	return c
}

func (a *app) askToken(token, file string) (string, error) {
	var b []byte
	var err error
	switch {
	case token != "" && file != "":
		return "", usage("give --token or --token-file, not both")
	case token != "":
		return token, nil
	case file == "-":
		b, err = io.ReadAll(io.LimitReader(a.in, 1<<10))
	case file != "":
		b, err = os.ReadFile(file)
	default:
		if f, ok := a.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			fmt.Fprint(a.words, "token: ")
			b, err = term.ReadPassword(int(f.Fd()))
			fmt.Fprintln(a.words)
		} else {
			var line string
			line, err = bufio.NewReader(io.LimitReader(a.in, 1<<10)).ReadString('\n')
			if errors.Is(err, io.EOF) {
				err = nil
			}
			b = []byte(line)
		}
	}
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	if token = strings.TrimSpace(string(b)); token == "" {
		return "", usage("no token was given")
	}
	return token, nil
}

func (a *app) logout() *cobra.Command {
	return &cobra.Command{
		Use: "logout", Short: "Forget the sign-in", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			file, err := credentialsFile()
			if err != nil {
				return err
			}
			if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			a.say("signed out")
			return nil
		},
	}
}

func (a *app) whoami() *cobra.Command {
	return &cobra.Command{
		Use: "whoami", Short: "Show who is signed in, where and for what", Args: cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, api *client.Client, _ []string) error {
			who, err := call[client.Session](api.GetSession(ctx))
			if err != nil {
				return err
			}
			server, _, err := a.where()
			if err != nil {
				return err
			}
			return a.print(who, func(w io.Writer) {
				row(w, "NAME", "SCOPES", "PRODUCTS", "EXPIRES", "SERVER")
				row(w, who.Name, join(who.Scopes), join(value(who.Products)), when(value(who.ExpiresAt)), server)
			})
		}),
	}
}

// with runs a command with a client of the server.
func (a *app) with(do func(ctx context.Context, api *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		api, err := a.api()
		if err != nil {
			return err
		}
		return do(c.Context(), api, args)
	}
}

func join[T ~string](all []T) string {
	parts := make([]string, len(all))
	for i, s := range all {
		parts[i] = string(s)
	}
	return dash(strings.Join(parts, ","))
}
