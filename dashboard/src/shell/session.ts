import { useQuery } from "@tanstack/react-query";
import type { Schemas } from "../api/client";
import { session } from "../api/queries";

/** Whether the session may do what needs a scope; admin may all. Without it, the server would refuse. */
export function useMay(scope: Schemas["Scope"]): boolean {
  const { data } = useQuery(session());
  return data?.scopes.some((s) => s === scope || s === "admin") ?? false;
}
