import type { Schemas } from "../../api/client";

/** A stage as it is typed. */
export interface DraftStage {
  key: number;
  kind: "count" | "percent" | "devices";
  amount: number | "";
  devices: string[];
  success: number | "";
  soakMinutes: number | "";
  approval: boolean;
}

/** A rollout as it is typed. */
export interface Draft {
  release: string; // "edge-gw/1.1.0"
  group: string;
  stages: DraftStage[];
  failures: number | "";
  failurePercent: number | "";
  deadlineMinutes: number | "";
  window: { start: string; end: string } | null; // "01:00", UTC
}

export const newStage = (key: number, kind: DraftStage["kind"], amount: number): DraftStage => ({
  key,
  kind,
  amount,
  devices: [],
  success: 90,
  soakMinutes: 0,
  approval: false,
});

/** The usual walk: one canary, then half, then all. */
export const newDraft = (release: string, group: string): Draft => ({
  release,
  group,
  stages: [newStage(1, "count", 1), newStage(2, "percent", 50), newStage(3, "percent", 100)],
  failures: 1,
  failurePercent: 10,
  deadlineMinutes: 5,
  window: null,
});

/** What the server is asked for, or null while something is not typed yet. */
export function toRequest(d: Draft): Schemas["NewRollout"] | null {
  const cut = d.release.indexOf("/");
  if (cut < 1 || d.stages.length === 0) return null;
  const stages: Schemas["Stage"][] = [];
  for (const s of d.stages) {
    const gate = {
      success_percent: s.success === "" ? 90 : s.success,
      soak_seconds: s.soakMinutes === "" ? 0 : Math.round(s.soakMinutes * 60),
      approval: s.approval,
    };
    if (s.kind === "devices") {
      if (s.devices.length === 0) return null;
      stages.push({ devices: s.devices, gate });
    } else {
      if (s.amount === "") return null;
      stages.push(s.kind === "count" ? { count: s.amount, gate } : { percent: s.amount, gate });
    }
  }
  if (d.failures === "" || d.failurePercent === "" || d.deadlineMinutes === "") return null;
  const window = d.window && { start: minutes(d.window.start), end: minutes(d.window.end) };
  if (window && (Number.isNaN(window.start) || Number.isNaN(window.end))) return null;
  return {
    product: d.release.slice(0, cut),
    version: d.release.slice(cut + 1),
    group: d.group,
    stages,
    abort: { failures: d.failures, failure_percent: d.failurePercent },
    health: { deadline_seconds: Math.round(d.deadlineMinutes * 60) },
    ...(window ? { window } : {}),
  };
}

function minutes(clock: string): number {
  const [, h, m] = /^(\d\d):(\d\d)$/.exec(clock) ?? [];
  return Number(h) * 60 + Number(m);
}
