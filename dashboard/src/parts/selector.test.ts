import { expect, test } from "vitest";
import { term } from "./selector";

test("a value is quoted when the language needs it", () => {
  expect(term("site", "north-1")).toBe("site=north-1");
  expect(term("site", "Hall 3")).toBe('site="Hall 3"');
  expect(term("site", 'a"b\\c')).toBe('site="a\\"b\\\\c"');
  expect(term("site", "")).toBe('site=""');
});
