import type { Schemas } from "../api/client";

// Where an update came from over the network, and why the server was asked. All pure.

type Source = Schemas["Source"];

/** Why the server was asked, as the end of "the server gave it because …"; a code that is to come stands as it is. */
export function reason(code: string | undefined): string {
  const words: Record<string, string> = {
    alone: "No neighbour was in sight",
    "own-share": "Its part of what the site fetches",
    "stepped-in": "The device whose part it was stood still",
    "did-not-come": "A neighbour was said to have it, and it did not come",
    probe: "To learn what the uplink gives",
  };
  return words[code ?? ""] ?? (code ? `“${code}”` : "For no reason that it tells");
}

/** The same for all devices of a site. */
export const reasonAtSite = (code: string | undefined): string =>
  code === "own-share" ? "The part of each in what the site fetches" : reason(code);

/** Whether a reason of the server is a neighbour's failure. */
export const isLate = (code: string | undefined): boolean => code === "stepped-in" || code === "did-not-come";

/** The sources of an update, sorted out. */
export interface Told {
  neighbours: { device: string; chunks: number; bytes: number }[]; // who gave most first
  others: { chunks: number; bytes: number }; // neighbours without a name
  server: Source[]; // by reason, the largest first
  rest: number; // bytes of the server for what is no chunk: indexes and metadata
  most: number; // of any one of them
}

/** Sorts the sources of an update out; undefined when the device tells none. */
export function told(sources: Source[] | undefined, bytes: Schemas["Bytes"]): Told | undefined {
  if (!sources || sources.length === 0) return undefined;
  const neighbours: Told["neighbours"] = [];
  const others = { chunks: 0, bytes: 0 };
  const server: Source[] = [];
  const add = (to: { chunks: number; bytes: number }, s: Source) => {
    to.chunks += s.chunks;
    to.bytes += s.bytes;
  };
  for (const s of sources) {
    if (!s.device && s.why === "others") {
      add(others, s);
      continue;
    }
    const same = s.device
      ? neighbours.find((n) => n.device === s.device)
      : server.find((r) => r.why === s.why);
    if (same) add(same, s);
    else if (s.device) neighbours.push({ device: s.device, chunks: s.chunks, bytes: s.bytes });
    else server.push({ ...s });
  }
  neighbours.sort((a, b) => b.bytes - a.bytes);
  server.sort((a, b) => b.bytes - a.bytes);
  const rest = Math.max(0, bytes.origin - server.reduce((n, s) => n + s.bytes, 0));
  const all = [...neighbours, others, ...server].map((s) => s.bytes);
  return { neighbours, others, server, rest, most: Math.max(rest, ...all) };
}

/** The side of a square whose area is a share of the largest, in percent; what is there at all stays in sight. */
export const side = (bytes: number, most: number): number =>
  bytes <= 0 || most <= 0 ? 0 : Math.max(14, 100 * Math.sqrt(Math.min(1, bytes / most)));

/**
 * What a full square is: the most that one device took from one giver. Devices that are not named are many together and
 * would leave the others in the dark, so theirs may be over the scale.
 */
export function squares(
  takers: Schemas["SiteTaker"][],
  givers: Schemas["SiteGiver"][],
): { most: number; over: boolean } {
  const cells = givers.flatMap((g) =>
    g.gave.map((n, i) => ({ n, one: g.kind !== "others" && takers[i]?.device !== undefined })),
  );
  const all = Math.max(0, ...cells.map((c) => c.n));
  const most = Math.max(0, ...cells.filter((c) => c.one).map((c) => c.n)) || all;
  return { most, over: all > most };
}
