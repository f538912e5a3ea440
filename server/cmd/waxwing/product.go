package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/waxwing-ota/waxwing/server/api/client"
	"github.com/waxwing-ota/waxwing/signing/keys"
)

func (a *app) product() *cobra.Command {
	c := &cobra.Command{Use: "product", Short: "Lines of devices that take the same releases"}
	var key string
	create := &cobra.Command{
		Use: "create NAME", Short: "Make a product", Args: cobra.ExactArgs(1),
		Long: "Make a product. Without --key the server makes and holds its signing key; with it, releases must be signed with that key.",
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			body := client.CreateProductJSONRequestBody{Name: args[0]}
			if key != "" {
				public, err := keys.OpenPublic(key, a.keyOptions())
				if err != nil {
					return err
				}
				body.PublicKey = &client.PublicKey{Algorithm: string(public.Algorithm), Public: public.Bytes}
			}
			p, err := call[client.Product](api.CreateProduct(ctx, body))
			if err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) { products(w, []client.Product{p}) })
		}),
	}
	create.Flags().StringVar(&key, "key", "", "`KEY` that signs its releases, or its public half, which alone is sent")
	list := &cobra.Command{
		Use: "list", Short: "Show products", Args: cobra.NoArgs,
		RunE: a.with(func(ctx context.Context, api *client.Client, _ []string) error {
			list, err := call[struct {
				Items []client.Product `json:"items"`
			}](api.ListProducts(ctx))
			if err != nil {
				return err
			}
			return a.print(list.Items, func(w io.Writer) { products(w, list.Items) })
		}),
	}
	role := &cobra.Command{
		Use: "role NAME", Short: "Print the product's newest signed role and next counter, for signing without a network",
		Args: cobra.ExactArgs(1),
		RunE: a.with(func(ctx context.Context, api *client.Client, args []string) error {
			role, err := call[client.ProductRole](api.GetProductRole(ctx, args[0]))
			if err != nil {
				return err
			}
			a.output = "json" // it has no other form
			return a.print(role, nil)
		}),
	}
	c.AddCommand(create, list, role)
	return c
}

func products(w io.Writer, all []client.Product) {
	row(w, "NAME", "SIGNING", "KEY", "CREATED")
	for _, p := range all {
		key := ""
		if len(p.Keys) > 0 {
			key = p.Keys[0][:16]
		}
		row(w, p.Name, p.Signing, dash(key), when(p.CreatedAt))
	}
}
