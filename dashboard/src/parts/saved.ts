import type { Schemas } from "../api/client";
import { bytes, many } from "./format";

// What neighbours saved the uplink of a site, in words. All pure.

/** What a site, or one of its updates, carried. */
export interface Carried {
  devices: number; // that moved bytes
  bytes: Schemas["Bytes"];
  alone: number;
  saved: number;
}

/** A whole site as what it carried: the last update of each device. */
export const carriedBy = (s: Schemas["Site"]): Carried => ({ ...s, devices: s.measured });

/** How often the uplink would have carried its bytes had each device fetched alone; undefined where that says nothing. */
export function factor({ bytes: { origin }, alone }: Carried): number | undefined {
  return origin > 0 && alone > origin ? alone / origin : undefined;
}

/** 1.62 → "1.6×"; 19.64 → "20×" */
export const times = (f: number): string => `${f < 9.95 ? f.toFixed(1) : Math.round(f)}×`;

/**
 * What a full bar is. Where patches travel, plain chunks between neighbours are many times what the uplink carried; the
 * uplink is what it is about, so the bar of neighbours then leaves the scale.
 */
export function scale({ bytes: { origin, peers }, alone }: Carried): { most: number; off: boolean } {
  const uplink = Math.max(origin, alone, 1);
  const off = peers > 5 * uplink;
  return { most: off ? 1.25 * uplink : Math.max(uplink, peers), off };
}

/** What moved, as one sentence. */
export function moved(c: Carried): string {
  if (c.devices === 0) return "Nothing measured yet.";
  const { origin, peers } = c.bytes;
  if (origin + peers === 0) return `Nothing moved: ${many(c.devices, "device")} had all of it already.`;
  return `${bytes(origin)} over the uplink for ${many(c.devices, "device")}; ${bytes(peers)} from neighbours`;
}

/** What that saved, as a headline and what to think of it. */
export function verdict(c: Carried): { head: string; tail: string } {
  const f = factor(c);
  if (c.devices === 0)
    return { head: "", tail: "Nothing measured yet: no device here has fetched an update." };
  if (f !== undefined && f >= 1.05)
    return { head: times(f), tail: `less over the uplink than had each device fetched alone` };
  if (c.saved < 0)
    return {
      head: "0 B",
      tail: `saved: ${bytes(-c.saved)} more crossed the uplink than had each device fetched alone. Devices that cannot reach each other fetch for themselves.`,
    };
  if (c.bytes.origin + c.bytes.peers === 0)
    return { head: "0 B", tail: "moved: the devices had all of it already." };
  if (c.bytes.peers > c.bytes.origin)
    return {
      head: bytes(Math.max(0, c.saved)),
      tail: "saved: what each device needs is so little that neighbours spare the uplink hardly any of it.",
    };
  if (c.devices === 1)
    return { head: "0 B", tail: "saved so far: one device has fetched, and the first has nobody to ask." };
  return {
    head: bytes(Math.max(0, c.saved)),
    tail: "saved so far: each device fetched nearly all of it itself.",
  };
}

/** Where a device had from what it fetched, as a sentence. What it reused was not fetched. */
export function fetched({ origin, peers, reused, served = 0 }: Schemas["Bytes"]): string {
  const passed = served > 0 ? ` It passed ${bytes(served)} on to neighbours.` : "";
  const all = origin + peers;
  if (all === 0) return reused > 0 ? `It had all of it already.${passed}` : "It has fetched nothing yet.";
  if (peers === 0) return `All that it fetched came from the server.${passed}`;
  const share = (100 * peers) / all;
  const percent =
    share >= 99.5 && origin > 0 ? "more than 99" : share < 1 ? "less than 1" : Math.round(share);
  return `Of what it fetched, ${percent} % came from neighbours.${passed}`;
}

/** One moment of what was carried, by the page's own clock. */
export interface Sample {
  at: number; // ms
  origin: number;
  peers: number;
}

const span = 6_000; // ms that a rate looks back: devices report every two seconds
/** Keeps the samples of the last seconds, and one from before them. A count that fell is another update: a new beginning. */
export function keep(samples: Sample[], next: Sample): Sample[] {
  const last = samples.at(-1);
  if (last && (next.origin < last.origin || next.peers < last.peers)) return [next];
  const old = samples.findLastIndex((s) => next.at - s.at > span);
  return [...samples.slice(Math.max(0, old)), next];
}

/** Bytes a second over the samples; zeros for fewer than two. */
export function rate(samples: Sample[], now: number): { origin: number; peers: number } {
  const first = samples[0];
  const last = samples.at(-1);
  if (!first || !last || now <= first.at || now - last.at > span) return { origin: 0, peers: 0 };
  const seconds = (now - first.at) / 1000;
  return { origin: (last.origin - first.origin) / seconds, peers: (last.peers - first.peers) / seconds };
}
