package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/waxwing-ota/waxwing/signing/keys"
	"github.com/waxwing-ota/waxwing/signing/public"
)

// keyRefs explains how a key is written on the command line.
const keyRefs = `A key is written as
  FILE                  a key file, perhaps encrypted: its passphrase is asked for, or read from WAXWING_PASSPHRASE
  exec:COMMAND ARG…     a program that holds the key (KMS, smart card, PKCS#11 token): "COMMAND public" prints it as PEM,
                        "COMMAND sign" reads a message from standard input and prints its signature
  ssh-agent:SHA256:…    a key that ssh-agent holds, named as "ssh-add -l" does
Where only the public half is needed, a PEM file with it will do: "waxwing keys show KEY --pem" writes one.`

func (a *app) keys() *cobra.Command {
	c := &cobra.Command{
		Use: "keys", Short: "Make keys, and let their holders sign who may sign",
		Long: `Make keys, and let their holders sign who may sign.

Devices trust a root document. It names the keys of the other roles: targets (which products there are, and who signs
their releases and policies), snapshot and timestamp (what is newest; a server signs these by itself). Root and targets
belong to holders, each with a key on a machine or token of their own, of whom some number must sign together.

What they sign passes from one to the next as a draft, a file: "ceremony begin", "handover", "rotate", "revoke",
"add-product" and "renew" write drafts; every holder looks at one with "check", adds a signature with "sign" (or signs a
copy, and "combine" joins the copies); "import" verifies it as a device would, and publishes it. "status" says who holds
what, and what is due next. No device is ever reinstalled for any of this.

` + keyRefs,
		Example: `  # three holders, each on a machine of their own
  waxwing keys generate alice.pem --encrypt
  # one of them collects the public halves (*.pub) and drafts
  waxwing keys ceremony begin --root alice.pub,bob.pub,carol.pub --root-threshold 2 \
      --targets alice-t.pub,bob-t.pub,carol-t.pub --targets-threshold 2 \
      --snapshot snapshot.pub --timestamp timestamp.pub --policy policy.pub --out drafts
  # two of them sign
  waxwing keys sign drafts/root.draft drafts/targets.draft --key alice.pem
  waxwing keys check drafts/root.draft drafts/targets.draft
  waxwing keys import drafts/root.draft drafts/targets.draft --repo DIR`,
	}
	c.AddCommand(a.keysGenerate(), a.keysShow(), a.keysCeremony(), a.keysSign(), a.keysCombine(), a.keysCheck(), a.keysImport(),
		a.keysStatus(), a.keysRotate(), a.keysRevoke(), a.keysHandover(), a.keysAddProduct(), a.keysRenew())
	return c
}

// keyOptions say how keys are reached from a command line.
func (a *app) keyOptions() keys.Options {
	return keys.Options{Passphrase: func(file string) (string, error) { return a.passphrase("passphrase of " + file) }, Agent: a.getenv("SSH_AUTH_SOCK")}
}

// passphrase asks for one, unless the environment has it.
func (a *app) passphrase(of string) (string, error) {
	if p := a.getenv("WAXWING_PASSPHRASE"); p != "" {
		return p, nil
	}
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", fmt.Errorf("the %s is needed and there is no terminal; set WAXWING_PASSPHRASE", of)
	}
	fmt.Fprintf(a.words, "%s: ", of)
	b, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.words)
	return string(b), err
}

func (a *app) keysGenerate() *cobra.Command {
	var algorithm string
	var encrypt bool
	c := &cobra.Command{
		Use: "generate FILE", Short: "Make a key in a new file (PEM, mode 0600), and its public half beside it", Args: cobra.ExactArgs(1),
		Long: `Make a key in a new file, and its public half in a file beside it whose name ends with .pub, to be given away. With
--encrypt the file is encrypted to a passphrase; "age --decrypt" opens it too.`,
		Example: "  waxwing keys generate edge-gw.pem\n  waxwing product create edge-gw --key edge-gw.pem\n  waxwing keys generate alice.pem --encrypt",
		RunE: func(_ *cobra.Command, args []string) error {
			n := keys.New{Algorithm: public.Ed25519}
			switch algorithm {
			case "ed25519":
			case "ecdsa":
				n.Algorithm = public.ECDSA
			default:
				return usage("--type %s: write ed25519 or ecdsa", algorithm)
			}
			if encrypt {
				var err error
				if n.Passphrase, err = a.newPassphrase(); err != nil {
					return err
				}
			}
			k, err := keys.Make(args[0], n)
			if err != nil {
				return err
			}
			pem, err := keys.EncodePublic(k.Public())
			if err != nil {
				return err
			}
			pub := strings.TrimSuffix(args[0], ".pem") + ".pub"
			if err := os.WriteFile(pub, pem, 0o644); err != nil {
				return err
			}
			a.say("keep %s secret and safe: who has it can sign, and without it nobody can; give %s away", args[0], pub)
			return a.print(map[string]any{"file": args[0], "public_file": pub, "key_id": k.Public().ID(), "public_key": k.Public()},
				func(w io.Writer) { row(w, k.Public().ID()) })
		},
	}
	c.Flags().StringVar(&algorithm, "type", "ed25519", "`ALGORITHM`: ed25519, or ecdsa (on P-256)")
	c.Flags().BoolVar(&encrypt, "encrypt", false, "encrypt the file to a passphrase")
	return c
}

func (a *app) newPassphrase() (string, error) {
	first, err := a.passphrase("new passphrase")
	if err != nil {
		return "", err
	}
	second, err := a.passphrase("again")
	if err == nil && (first != second || first == "") {
		err = errors.New("the passphrases differ, or are empty; try again")
	}
	return first, err
}

func (a *app) keysShow() *cobra.Command {
	var asPEM bool
	c := &cobra.Command{
		Use: "show KEY…", Short: "Show the id and the public half of keys", Args: cobra.MinimumNArgs(1), Long: "Show the id and the public half of keys.\n\n" + keyRefs,
		Example: "  waxwing keys show alice.pem\n  waxwing keys show \"exec:./token root\" --pem > root.pub",
		RunE: func(_ *cobra.Command, args []string) error {
			type shown struct {
				Key    string     `json:"key"`
				ID     string     `json:"key_id"`
				Public public.Key `json:"public_key"`
			}
			all := []shown{}
			for _, ref := range args {
				k, err := keys.OpenPublic(ref, a.keyOptions())
				if err != nil {
					return err
				}
				all = append(all, shown{ref, k.ID(), k})
			}
			if asPEM {
				for _, s := range all {
					b, err := keys.EncodePublic(s.Public)
					if err != nil {
						return err
					}
					if _, err := a.out.Write(b); err != nil {
						return err
					}
				}
				return nil
			}
			return a.print(all, func(w io.Writer) {
				row(w, "KEY", "ALGORITHM", "ID")
				for _, s := range all {
					row(w, s.Key, s.Public.Algorithm, s.ID)
				}
			})
		},
	}
	c.Flags().BoolVar(&asPEM, "pem", false, "write the public half as PEM")
	return c
}
