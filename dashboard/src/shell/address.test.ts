import { expect, test } from "vitest";
import { plainSearch, texts, toSearch } from "./search";
import { tokenIn } from "./token";

test("a token in a link is found and taken out", () => {
  const at = (search: string, hash: string) => tokenIn({ pathname: "/devices", search, hash });
  expect(at("?token=wxo_1&filter=a%3Db", "")).toEqual({ token: "wxo_1", rest: "/devices?filter=a%3Db" });
  expect(at("?filter=a", "#token=wxo_2")).toEqual({ token: "wxo_2", rest: "/devices?filter=a" });
  expect(at("?filter=a", "#devices")).toBeNull();
});

test("an address is plain words both ways", () => {
  const search = { filter: "site=north, version!=1.1.0", page: "1" };
  expect(plainSearch(toSearch(search))).toEqual(search);
  expect(toSearch({ filter: "", page: undefined })).toBe("");
});

test("only known fields of an address are believed", () => {
  expect(texts("filter", "page")({ filter: "a", page: 3, other: "x" })).toEqual({ filter: "a" });
});
