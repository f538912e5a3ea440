import type { Schemas } from "../../api/client";

type Site = Schemas["Site"];

/** Which devices of the site are shown, as the address says. What it says wrongly is left out. */
export interface Part {
  search?: string | undefined;
  show?: Schemas["SiteShow"] | undefined;
  order?: Schemas["SiteOrder"] | undefined;
  page?: string | undefined;
}

/** The kinds of devices that can be asked for, each with the server's own count. */
export const kinds: { show: Schemas["SiteShow"] | undefined; word: string; count: (s: Site) => number }[] = [
  { show: undefined, word: "All", count: (s) => s.devices },
  { show: "moving", word: "Updating", count: (s) => s.updates.reduce((n, u) => n + u.moving, 0) },
  { show: "sharing", word: "Sharing", count: (s) => s.sharing },
  { show: "apart", word: "Taking no part", count: (s) => s.devices - s.sharing },
  { show: "isolated", word: "Isolated", count: (s) => s.isolated },
  { show: "accusing", word: "Accusing others", count: (s) => s.accusing },
  { show: "online", word: "Online", count: (s) => s.online },
  { show: "offline", word: "Offline", count: (s) => s.devices - s.online },
];

export const orders: { value: Schemas["SiteOrder"]; label: string }[] = [
  { value: "id", label: "Sorted by name" },
  { value: "origin", label: "Most from the server first" },
  { value: "peers", label: "Most from neighbours first" },
  { value: "served", label: "Gave most first" },
];

export function choice(search: { [K in "search" | "show" | "order" | "page"]?: string }): Part {
  return {
    search: search.search,
    show: kinds.find((k) => k.show === search.show)?.show,
    order: orders.find((o) => o.value === search.order)?.value,
    page: search.page,
  };
}
