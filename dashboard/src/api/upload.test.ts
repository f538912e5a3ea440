import { beforeEach, expect, test } from "vitest";
import { Problem } from "./client";
import { type Sent, sliceSize, upload, type Wire } from "./upload";

const size = 2 * sliceSize + 5;
const file = new File([new Uint8Array(size)], "rootfs.ext4", { lastModified: 7 });

/** What a server holds of one upload, and what happens to the requests, in order. */
class Server implements Wire {
  offset = 0;
  made = 0;
  slices: [offset: number, length: number][] = [];
  mishaps: (Problem | "cut" | null)[] = [];
  waited: number[] = [];
  forgotten = false;
  memory = storage();

  async create() {
    this.made++;
    return { id: "u-1", size, offset: 0 };
  }

  async get(id: string) {
    if (this.forgotten) throw new Problem(404);
    return { id, size, offset: this.offset };
  }

  async append(id: string, offset: number, slice: Blob, progress: (n: number) => void) {
    const mishap = this.mishaps.shift();
    if (mishap instanceof Problem) throw mishap;
    if (offset !== this.offset) throw new Problem(409, { offset: this.offset });
    this.slices.push([offset, slice.size]);
    progress(slice.size / 2);
    this.offset += slice.size;
    if (mishap === "cut") throw new Problem(0); // it arrived, and the answer was lost
    return { id, size, offset: this.offset };
  }

  async wait(ms: number) {
    this.waited.push(ms);
  }
}

let server: Server;
let told: Sent[];
const send = () => upload(file, (s) => told.push(s), new AbortController().signal, server);

beforeEach(() => {
  server = new Server();
  told = [];
});

test("goes in slices, and what is told only rises to the end", async () => {
  expect(await send()).toBe("u-1");
  expect(server.slices).toEqual([
    [0, sliceSize],
    [sliceSize, sliceSize],
    [2 * sliceSize, 5],
  ]);
  const sent = told.map((t) => t.sent);
  expect(sent).toEqual([...sent].sort((a, b) => a - b));
  expect(told).toContainEqual({ sent: sliceSize / 2, total: size });
  expect(told.at(-1)).toEqual({ sent: size, total: size });
});

test("a lost answer is not sent again: the server says how far it is", async () => {
  server.mishaps = [null, "cut"];
  await send();
  expect(server.slices.map(([offset]) => offset)).toEqual([0, sliceSize, 2 * sliceSize]);
  expect(server.waited).toEqual([1000]);
});

test("a conflict goes on at the offset that the server names", async () => {
  server.memory.setItem("waxwing-upload:rootfs.ext4:16777221:7", "u-1");
  server.offset = sliceSize;
  const get = server.get.bind(server);
  server.get = async (id) => ({ ...(await get(id)), offset: 0 }); // an answer from before
  await send();
  expect(server.slices.map(([offset]) => offset)).toEqual([sliceSize, 2 * sliceSize]);
  expect(server.waited).toEqual([]);
});

test("a page that was loaded anew goes on where the old one stopped", async () => {
  server.mishaps = [null, new Problem(403, { detail: "no" })];
  await expect(send()).rejects.toThrow("no");
  await send();
  expect(server.made).toBe(1);
  expect(server.slices.map(([offset]) => offset)).toEqual([0, sliceSize, 2 * sliceSize]);
});

test("an upload that the server forgot begins anew", async () => {
  server.memory.setItem("waxwing-upload:rootfs.ext4:16777221:7", "u-0");
  server.forgotten = true;
  await send();
  expect(server.made).toBe(1);
});

test("a server that stays away is waited for longer each time, then a person is asked", async () => {
  server.mishaps = Array.from({ length: 10 }, () => new Problem(503, { detail: "busy" }));
  await expect(send()).rejects.toThrow("busy");
  expect(server.waited).toEqual([1000, 2000, 4000, 8000, 15_000, 15_000]);
  expect(told.some((t) => t.trouble === "busy")).toBe(true);
});

test("what trying again cannot mend is told at once", async () => {
  server.mishaps = [new Problem(413, { detail: "too large" })];
  await expect(send()).rejects.toThrow("too large");
  expect(server.waited).toEqual([]);
});

test("stopping stops", async () => {
  const stop = new AbortController();
  server.append = async () => {
    stop.abort(new Error("stopped"));
    throw new Problem(0);
  };
  await expect(upload(file, () => {}, stop.signal, server)).rejects.toThrow("stopped");
});

function storage(): Wire["memory"] {
  const kept = new Map<string, string>();
  return {
    getItem: (k) => kept.get(k) ?? null,
    setItem: (k, v) => void kept.set(k, v),
    removeItem: (k) => void kept.delete(k),
  };
}
