import { expect, test } from "vitest";
import {
  type Carried,
  factor,
  fetched,
  keep,
  moved,
  rate,
  type Sample,
  scale,
  times,
  verdict,
} from "./saved";

const carried = (devices: number, origin: number, peers: number, alone: number): Carried => ({
  devices,
  bytes: { origin, peers, reused: 0 },
  alone,
  saved: alone - origin,
});

test("a factor is told where it says something", () => {
  expect(factor(carried(20, 12_400_000, 231_000_000, 243_400_000))).toBeCloseTo(19.63, 2);
  expect(factor(carried(1, 10, 0, 10))).toBeUndefined();
  expect(factor(carried(2, 30, 0, 20))).toBeUndefined();
  expect(factor(carried(2, 0, 50, 50))).toBeUndefined(); // a depot had all of it: no number is large enough
  expect([times(1.62), times(9.94), times(9.96), times(19.64)]).toEqual(["1.6×", "9.9×", "10×", "20×"]);
});

test("a bar leaves the scale where it would hide the others", () => {
  expect(scale(carried(4, 47_000, 7_280_000, 80_000))).toEqual({ most: 100_000, off: true });
  expect(scale(carried(20, 12, 231, 243))).toEqual({ most: 243, off: false });
  expect(scale(carried(20, 12, 300, 100))).toEqual({ most: 300, off: false });
  expect(scale(carried(0, 0, 0, 0))).toEqual({ most: 1, off: false });
});

test("what moved is one sentence", () => {
  expect(moved(carried(20, 12_400_000, 231_000_000, 243_400_000))).toBe(
    "12.4 MB over the uplink for 20 devices; 231 MB from neighbours",
  );
  expect(moved(carried(0, 0, 0, 0))).toBe("Nothing measured yet.");
  expect(moved(carried(3, 0, 0, 0))).toBe("Nothing moved: 3 devices had all of it already.");
});

test("a verdict never promises more than was measured", () => {
  const of = (...c: Parameters<typeof carried>) => {
    const { head, tail } = verdict(carried(...c));
    return `${head} ${tail}`;
  };
  expect(of(20, 10, 190, 200)).toMatch(/^20× less over the uplink/);
  expect(of(0, 0, 0, 0)).toMatch(/^ Nothing measured yet/);
  expect(of(2, 30, 0, 20)).toMatch(/^0 B saved: 10 B more crossed/);
  expect(of(1, 30, 0, 30)).toMatch(/one device has fetched/);
  expect(of(2, 100, 1, 101)).toMatch(/^1 B saved so far: each device/);
  expect(of(2, 100, 5000, 101)).toMatch(/^1 B saved: what each device needs is so little/);
  expect(of(2, 0, 0, 0)).toMatch(/had all of it already/);
});

test("where a device had it from is one sentence", () => {
  const of = (origin: number, peers: number, reused = 0, served = 0) =>
    fetched({ origin, peers, reused, served });
  expect(of(0, 0)).toBe("It has fetched nothing yet.");
  expect(of(0, 0, 5)).toBe("It had all of it already.");
  expect(of(5, 0, 5, 70)).toBe("All that it fetched came from the server. It passed 70 B on to neighbours.");
  expect(of(20, 80)).toBe("Of what it fetched, 80 % came from neighbours.");
  expect(of(1, 999)).toBe("Of what it fetched, more than 99 % came from neighbours.");
  expect(of(0, 999)).toBe("Of what it fetched, 100 % came from neighbours.");
  expect(of(999, 1)).toBe("Of what it fetched, less than 1 % came from neighbours.");
});

test("a rate looks back some seconds, begins anew with another update, and ends when nothing is heard", () => {
  let all: Sample[] = [];
  for (let s = 0; s <= 20; s += 2) all = keep(all, { at: s * 1000, origin: s * 10, peers: s * 1000 });
  expect(all.length).toBeLessThanOrEqual(5);
  expect(rate(all, 20_000)).toEqual({ origin: 10, peers: 1000 });
  expect(rate(all, 40_000)).toEqual({ origin: 0, peers: 0 });
  all = keep(all, { at: 21_000, origin: 5, peers: 0 });
  expect(all).toHaveLength(1);
  expect(rate(all, 21_000)).toEqual({ origin: 0, peers: 0 });
});
