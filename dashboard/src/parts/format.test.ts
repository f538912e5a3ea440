import { expect, test } from "vitest";
import { ago, bytes, duration, many, number } from "./format";

test.each([
  [0, "0 B"],
  [734, "734 B"],
  [999, "999 B"],
  [1000, "1.00 kB"],
  [7_340_000, "7.34 MB"],
  [9_999_000, "10.0 MB"],
  [99_960_000, "100 MB"],
  [999_600, "1.00 MB"],
  [619_700_000_000, "620 GB"],
])("%d bytes are %s", (n, text) => expect(bytes(n)).toBe(text));

test.each([
  [0, "0 ms"],
  [40, "40 ms"],
  [240, "0.2 s"],
  [59_940, "59.9 s"],
  [60_000, "1 min"],
  [125_000, "2 min 5 s"],
  [12_000_000, "3 h 20 min"],
  [90_000_000, "1 d 1 h"],
])("%d ms are %s", (ms, text) => expect(duration(ms)).toBe(text));

test("times are told as people tell them", () => {
  const now = new Date("2026-05-01T12:00:00Z");
  const told = (at: string) => ago(new Date(at), now);
  expect(told("2026-05-01T11:59:55Z")).toBe("just now");
  expect(told("2026-05-01T11:59:12Z")).toBe("48 s ago");
  expect(told("2026-05-01T11:57:00Z")).toBe("3 min ago");
  expect(told("2026-04-29T12:00:00Z")).toBe("2 d ago");
  expect(told("2026-05-02T11:00:00Z")).toBe("in 23 h");
});

test("numbers and nouns", () => {
  expect(number(32_319)).toBe("32,319");
  expect(many(1, "device")).toBe("1 device");
  expect(many(0, "device")).toBe("0 devices");
});
