import { expect, test } from "vitest";
import { isLate, reason, reasonAtSite, side, squares, told } from "./source";

test("each reason has words; one that is to come stands as it is", () => {
  for (const code of ["alone", "own-share", "stepped-in", "did-not-come", "probe"]) {
    expect(reason(code)).not.toContain(code);
    expect(reasonAtSite(code)).not.toContain(code);
  }
  expect(reason("moon")).toBe("“moon”");
  expect(reason(undefined)).toMatch(/no reason/);
  expect(["stepped-in", "did-not-come", "own-share", undefined].map(isLate)).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

test("sources are sorted out, and what is no chunk is the rest", () => {
  const bytes = { origin: 100, peers: 90, reused: 0 };
  expect(told(undefined, bytes)).toBeUndefined();
  expect(told([], bytes)).toBeUndefined();
  expect(
    told(
      [
        { why: "probe", chunks: 1, bytes: 10 },
        { why: "own-share", chunks: 3, bytes: 50 },
        { device: "a", chunks: 1, bytes: 20 },
        { why: "own-share", chunks: 1, bytes: 10 },
        { device: "b", chunks: 3, bytes: 65 },
        { why: "others", chunks: 1, bytes: 5 },
      ],
      bytes,
    ),
  ).toEqual({
    neighbours: [
      { device: "b", chunks: 3, bytes: 65 },
      { device: "a", chunks: 1, bytes: 20 },
    ],
    others: { chunks: 1, bytes: 5 },
    server: [
      { why: "own-share", chunks: 4, bytes: 60 },
      { why: "probe", chunks: 1, bytes: 10 },
    ],
    rest: 30,
    most: 65,
  });
  expect(told([{ why: "alone", chunks: 1, bytes: 500 }], bytes)?.rest).toBe(0);
});

test("a square's area is its share, and nothing is no square", () => {
  expect([side(0, 9), side(9, 9), side(25, 100), side(1, 1e9), side(5, 0)]).toEqual([0, 100, 50, 14, 0]);
});

test("what many took or gave together does not hide what one did", () => {
  const one = { device: "a", devices: 1, bytes: 9 };
  const many = { devices: 400, bytes: 9 };
  const gave = (kind: "server" | "device" | "others", ...gave: number[]) => ({ kind, gave, bytes: 0 });
  expect(squares([one, many], [gave("device", 5, 70), gave("others", 80, 900)])).toEqual({
    most: 5,
    over: true,
  });
  expect(squares([one], [gave("server", 5), gave("device", 7)])).toEqual({ most: 7, over: false });
  expect(squares([many], [gave("others", 900)])).toEqual({ most: 900, over: false });
  expect(squares([], [])).toEqual({ most: 0, over: false });
});
