// What devices say that neighbours did to them, in words. All pure.

/** What a neighbour is said to have done; a kind that this page does not know yet is shown by its own name. */
export function deed(kind: string): string {
  const words: Record<string, string> = {
    "wrong-bytes": "gave wrong bytes",
    "no-deeds": "offered chunks and did not give them",
    flood: "sent more announcements than can be read",
  };
  return words[kind] ?? `did “${kind}”`;
}

/** What to do about it. */
export function nextStep(kind: string): string {
  const words: Record<string, string> = {
    "wrong-bytes":
      "The bytes were thrown away and fetched elsewhere. Look at the disk and the software of that device, or shut it out.",
    "no-deeds":
      "Often a slow link, or a device that was switched off. If it goes on, look at how that device reaches the others.",
    flood: "Find the machine behind that address and what announces itself there; an address can be forged.",
  };
  return words[kind] ?? "Look at that device.";
}

/** How much weight it has: a device that lies is alone with what it says. */
export const weight = (by: number): string =>
  by === 1 ? "One device says so, and may be wrong." : `${by} devices say so.`;

/** Whether a neighbour is named by its address, so that there is no device to show. */
export const isAddress = (neighbor: string): boolean =>
  neighbor.includes(":") || /^\d{1,3}(\.\d{1,3}){3}$/.test(neighbor);

/** How often something happened: "once", "twice", "12 times". */
export const often = (n: number): string =>
  n === 1 ? "once" : n === 2 ? "twice" : `${n.toLocaleString("en-GB")} times`;
