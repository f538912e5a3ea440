import { expect, test } from "vitest";
import { deed, isAddress, nextStep, often, weight } from "./offence";

test("what is said has words and a next step, also of a kind to come", () => {
  for (const kind of ["wrong-bytes", "no-deeds", "flood"]) {
    expect(deed(kind)).not.toContain(kind);
    expect(nextStep(kind)).toMatch(/\.$/);
  }
  expect(deed("drips")).toBe("did “drips”");
  expect(nextStep("drips")).toBe("Look at that device.");
});

test("one accuser is told from several", () => {
  expect(weight(1)).toMatch(/may be wrong/);
  expect(weight(3)).toBe("3 devices say so.");
  expect([often(1), often(2), often(12345)]).toEqual(["once", "twice", "12,345 times"]);
});

test("an address is no device", () => {
  expect(["10.0.0.9", "fe80::1", "::1"].map(isAddress)).toEqual([true, true, true]);
  expect(["device-1", "10.0.0", "d.1.2.3"].map(isAddress)).toEqual([false, false, false]);
});
