import { expect, test } from "vitest";
import { type Step, steps } from "./steps";

const drawn = (of: Parameters<typeof steps>[0]) => steps(of).map((s: Step) => `${s.phase} ${s.state}`);

test("an update on its way: reboot and proof are steps, waiting only when it waits", () => {
  expect(drawn({ phase: "downloading", millis: { checking: 20, downloading: 900 } })).toEqual([
    "checking done",
    "downloading now",
    "installing ahead",
    "rebooting ahead",
    "proving ahead",
    "committed ahead",
  ]);
  expect(drawn({ phase: "waiting", millis: { checking: 1, downloading: 2, installing: 3 } })).toContain(
    "waiting now",
  );
});

test("a committed one has no step ahead; one without a measure is told as such", () => {
  expect(
    drawn({ phase: "committed", millis: { checking: 20, downloading: 900, rebooting: 5, proving: 6 } }),
  ).toEqual([
    "checking done",
    "downloading done",
    "installing skipped",
    "rebooting done",
    "proving done",
    "committed done",
  ]);
});

test("one that went back shows where it failed, and the way back", () => {
  const millis = { checking: 1, downloading: 2, installing: 3, rebooting: 4, proving: 5 };
  expect(drawn({ phase: "reverted", millis }).slice(-3)).toEqual([
    "proving bad",
    "reverting bad",
    "reverted bad",
  ]);
  expect(drawn({ phase: "reverting", millis }).slice(-2)).toEqual(["reverting bad", "reverted ahead"]);
});

test("one that failed before any reboot ends there", () => {
  expect(drawn({ phase: "failed", millis: { checking: 1, downloading: 2 } })).toEqual([
    "checking done",
    "downloading bad",
    "failed bad",
  ]);
});
