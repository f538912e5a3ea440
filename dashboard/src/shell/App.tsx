import { useQuery, useQueryClient } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { api, Problem, read } from "../api/client";
import { keys } from "../api/keys";
import { session } from "../api/queries";
import { Trouble } from "../parts/Trouble";
import { router } from "../routes";
import { SignIn } from "../screens/signin/SignIn";
import { tokenIn } from "./token";

/** Signs in with the token of the link, if there is one, and shows the page or the sign-in screen in its place. */
export function App() {
  const client = useQueryClient();
  const [linked, setLinked] = useState(() => tokenIn(window.location));
  const who = useQuery({ ...session(), enabled: linked === null });
  const [refused, setRefused] = useState<Error | null>(null);

  useEffect(() => {
    if (linked === null) return;
    window.history.replaceState(null, "", linked.rest); // a secret stays neither in the bar nor in the history
    read(api.POST("/session", { body: { token: linked.token } }))
      .then((s) => client.setQueryData(keys.session, s))
      .catch(setRefused)
      .finally(() => setLinked(null));
  }, [linked, client]);

  // A session that ends while the page is open shows in whatever is asked next.
  useEffect(
    () =>
      client.getQueryCache().subscribe((e) => {
        const error = e.type === "updated" && e.action.type === "error" ? e.query.state.error : null;
        if (error instanceof Problem && error.status === 401 && e.query.queryKey[0] !== "session") {
          void client.invalidateQueries({ queryKey: keys.session });
        }
      }),
    [client],
  );

  if (who.error instanceof Problem && who.error.status === 401) return <SignIn refused={refused} />;
  if (who.data) return <RouterProvider router={router} />;
  if (who.error) return <Trouble error={who.error} again={() => void who.refetch()} whole />;
  return null; // a moment on loopback; anything shown would only flash
}
