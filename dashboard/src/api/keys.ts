import type { QueryKey } from "@tanstack/react-query";

/** A change that the server told of; an id of "*" stands for many. */
export interface Change {
  kind: string;
  id: string;
}

/** Names of what the page has asked for. A shorter key stands for all that begin with it. */
export const keys = {
  session: ["session"],
  overview: ["overview"],
  devices: ["device", "list"],
  device: (id: string) => ["device", "one", id],
  sites: ["site", "list"],
  site: (id: string) => ["site", "one", id],
  groups: ["group"],
  products: ["product"],
  releases: ["release", "list"],
  release: (name: string) => ["release", "one", name],
  rollouts: ["rollout", "list"],
  rollout: (id: string) => ["rollout", "one", id],
  rolloutDevices: (id: string) => ["rollout", "devices", id],
  tokens: ["token"],
  audit: ["audit"],
} as const satisfies Record<string, QueryKey | ((id: string) => QueryKey)>;

/** What to ask for again after a change. What is not on the screen is only marked as old. */
export function keysFor({ kind, id }: Change): QueryKey[] {
  const one = (kind: string) => (id === "*" || id === "" ? [kind, "one"] : [kind, "one", id]);
  switch (kind) {
    case "device":
      return [keys.overview, keys.devices, one("device"), keys.groups, ["site"]];
    case "group":
      return [keys.groups, keys.devices, ["device", "one"], keys.audit];
    case "release":
      return [keys.releases, one("release"), keys.products, keys.audit, ["site"]]; // patches tell what sites saved
    case "rollout":
      return [
        keys.overview,
        keys.rollouts,
        one("rollout"),
        id === "*" ? ["rollout", "devices"] : keys.rolloutDevices(id),
        ["device", "one"], // its sentence speaks of its rollout
        keys.audit,
      ];
    default:
      return []; // a newer server may speak of things that this page does not show
  }
}
