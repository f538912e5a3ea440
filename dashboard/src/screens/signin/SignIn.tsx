import { Button, PasswordInput } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, read } from "../../api/client";
import { keys } from "../../api/keys";
import "./signin.css";

/** Takes a token. It stands in the place of whatever screen was asked for, which follows. */
export function SignIn({ refused }: { refused: Error | null }) {
  useDocumentTitle("Sign in · Waxwing");
  const [token, setToken] = useState("");
  const client = useQueryClient();
  const enter = useMutation({
    mutationFn: () => read(api.POST("/session", { body: { token: token.trim() } })),
    onSuccess: (session) => client.setQueryData(keys.session, session),
  });
  const error = enter.error ?? refused;
  return (
    <main className="signin">
      <form
        onSubmit={(e) => {
          e.preventDefault();
          enter.mutate();
        }}
      >
        <img src="/waxwing.svg" alt="" width={72} height={72} />
        <h1>Waxwing</h1>
        <p className="soft">Updates for the fleet, passed from neighbour to neighbour.</p>
        <PasswordInput
          label="Token"
          placeholder="wxo_…"
          size="md"
          required
          withAsterisk={false}
          autoFocus
          autoComplete="current-password"
          value={token}
          onChange={(e) => setToken(e.currentTarget.value)}
          error={error ? error.message : undefined}
          visibilityToggleButtonProps={{ "aria-label": "Show or hide the token" }}
        />
        <Button type="submit" size="md" fullWidth loading={enter.isPending}>
          Sign in
        </Button>
        <p className="faint">
          The server wrote the first token to <code>admin.token</code> in its data folder. More come from{" "}
          <code>waxwing token create</code>.
        </p>
      </form>
    </main>
  );
}
