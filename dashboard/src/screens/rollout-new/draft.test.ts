import { expect, test } from "vitest";
import { newDraft, newStage, toRequest } from "./draft";

test("the usual walk", () => {
  expect(toRequest(newDraft("edge-gw/1.1.0", "all"))).toEqual({
    product: "edge-gw",
    version: "1.1.0",
    group: "all",
    stages: [
      { count: 1, gate: { success_percent: 90, soak_seconds: 0, approval: false } },
      { percent: 50, gate: { success_percent: 90, soak_seconds: 0, approval: false } },
      { percent: 100, gate: { success_percent: 90, soak_seconds: 0, approval: false } },
    ],
    abort: { failures: 1, failure_percent: 10 },
    health: { deadline_seconds: 300 },
  });
});

test("named devices, a gate and a window over midnight", () => {
  const draft = newDraft("edge-gw/1.1.0", "north");
  draft.stages = [{ ...newStage(1, "devices", 1), devices: ["d-1"], soakMinutes: 1.5, approval: true }];
  draft.window = { start: "23:30", end: "04:05" };
  expect(toRequest(draft)).toMatchObject({
    stages: [{ devices: ["d-1"], gate: { soak_seconds: 90, approval: true } }],
    window: { start: 1410, end: 245 },
  });
});

test("what is not typed yet is not asked for", () => {
  expect(toRequest(newDraft("", "all"))).toBeNull();
  const draft = newDraft("edge-gw/1.1.0", "all");
  expect(toRequest({ ...draft, stages: [] })).toBeNull();
  expect(toRequest({ ...draft, stages: [{ ...newStage(1, "count", 1), amount: "" }] })).toBeNull();
  expect(toRequest({ ...draft, stages: [newStage(1, "devices", 1)] })).toBeNull();
  expect(toRequest({ ...draft, failures: "" })).toBeNull();
  expect(toRequest({ ...draft, window: { start: "", end: "04:00" } })).toBeNull();
});
