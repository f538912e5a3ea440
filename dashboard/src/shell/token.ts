/** A token that came with a link, and the link without it. */
export interface Linked {
  token: string;
  rest: string;
}

/** Finds ?token=… or #token=… in an address. The latter never reaches a server's log. */
export function tokenIn({
  pathname,
  search,
  hash,
}: Pick<Location, "pathname" | "search" | "hash">): Linked | null {
  const query = new URLSearchParams(search);
  const fragment = new URLSearchParams(hash.slice(1));
  const token = fragment.get("token") ?? query.get("token");
  if (!token) return null;
  query.delete("token");
  const left = query.toString();
  return { token, rest: pathname + (left ? `?${left}` : "") };
}
