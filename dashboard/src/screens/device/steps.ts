import type { Schemas } from "../../api/client";

/** A step of an update as it is drawn. */
export interface Step {
  phase: string;
  state: "done" | "now" | "bad" | "ahead" | "skipped";
  millis: number | undefined;
}

const way = ["checking", "downloading", "installing", "waiting", "rebooting", "proving", "committed"];
const back = ["reverting", "reverted"];

/**
 * The steps of an update: the usual way up to commit, or the way back after the step that failed. Waiting is only
 * there for a device that had to wait.
 */
export function steps({ phase, millis = {} }: Pick<Schemas["Update"], "phase" | "millis">): Step[] {
  const took = (p: string) => millis[p];
  const bad = phase === "failed" || back.includes(phase);
  if (bad) {
    const went = way.filter((p) => took(p) !== undefined);
    const walked = went.map(
      (p, i): Step => ({ phase: p, state: i === went.length - 1 ? "bad" : "done", millis: took(p) }),
    );
    const end = phase === "failed" ? ["failed"] : back;
    return [
      ...walked,
      ...end.map((p): Step => {
        const reached = p === "failed" || back.indexOf(p) <= back.indexOf(phase);
        return { phase: p, state: reached ? "bad" : "ahead", millis: took(p) };
      }),
    ];
  }
  const here = way.indexOf(phase);
  return way
    .map((p, i): Step => {
      if (p === "committed" && i === here) return { phase: p, state: "done", millis: undefined };
      if (i === here) return { phase: p, state: "now", millis: took(p) };
      if (i > here) return { phase: p, state: "ahead", millis: took(p) };
      return { phase: p, state: took(p) === undefined ? "skipped" : "done", millis: took(p) };
    })
    .filter((s) => s.phase !== "waiting" || s.state === "now" || s.millis !== undefined);
}
