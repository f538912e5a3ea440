import { expect, test } from "vitest";
import { choice, kinds } from "./part";

test("an address names devices; what it says wrongly is left out", () => {
  expect(choice({ show: "isolated", order: "peers", search: "d-", page: "x" })).toEqual({
    show: "isolated",
    order: "peers",
    search: "d-",
    page: "x",
  });
  expect(choice({ show: "everybody", order: "height" })).toEqual({});
});

test("every kind of device has its count, and the opposites add up", () => {
  const bytes = { origin: 0, peers: 0, reused: 0 };
  const site = {
    id: "oslo",
    name: "oslo",
    devices: 20,
    online: 18,
    sharing: 17,
    isolated: 2,
    accusing: 1,
    crowded: false,
    measured: 20,
    bytes,
    alone: 0,
    saved: 0,
    updates: [
      { product: "gw", version: "2", devices: 8, moving: 5, committed: 3, bytes, alone: 0, saved: 0 },
      { product: "gw", version: "1", devices: 12, moving: 1, committed: 11, bytes, alone: 0, saved: 0 },
    ],
  };
  expect(Object.fromEntries(kinds.map((k) => [k.word, k.count(site)]))).toEqual({
    All: 20,
    Updating: 6,
    Sharing: 17,
    "Taking no part": 3,
    Isolated: 2,
    "Accusing others": 1,
    Online: 18,
    Offline: 2,
  });
});
