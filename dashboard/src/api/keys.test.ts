import { expect, test } from "vitest";
import { keys, keysFor } from "./keys";

test("a device that changed is asked for again, and what counts it", () => {
  const all = keysFor({ kind: "device", id: "d-1" });
  expect(all).toContainEqual(keys.device("d-1"));
  expect(all).toContainEqual(keys.overview);
  expect(all).toContainEqual(keys.devices);
  expect(all).toContainEqual(keys.groups);
  expect(all).toContainEqual(["site"]);
  expect(all).not.toContainEqual(["device", "one"]);
});

test("an id of * stands for all", () => {
  expect(keysFor({ kind: "device", id: "*" })).toContainEqual(["device", "one"]);
  expect(keysFor({ kind: "rollout", id: "*" })).toContainEqual(["rollout", "devices"]);
});

test("a rollout that moved brings its devices along", () => {
  const all = keysFor({ kind: "rollout", id: "r-1" });
  expect(all).toContainEqual(keys.rollout("r-1"));
  expect(all).toContainEqual(keys.rolloutDevices("r-1"));
  expect(all).toContainEqual(keys.rollouts);
});

test("a release is named by product and version", () => {
  expect(keysFor({ kind: "release", id: "edge-gw/1.0.0" })).toContainEqual(keys.release("edge-gw/1.0.0"));
});

test("what a newer server may tell of changes nothing", () => {
  expect(keysFor({ kind: "comet", id: "1" })).toEqual([]);
});
