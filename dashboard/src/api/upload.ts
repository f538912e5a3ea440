import { api, Problem, read, type Schemas } from "./client";

/** Bytes of one request: large enough to be quick, small enough that a cut costs little. */
export const sliceSize = 8 << 20;

const patience = 6; // tries in a row that move nothing before a person is asked

/** Where an upload stands; sent counts bytes that left this machine, so it moves within a slice too. */
export interface Sent {
  sent: number;
  total: number;
  /** Why it does not move just now. */
  trouble?: string;
}

type Upload = Schemas["Upload"];

/** What an upload needs of the world. */
export interface Wire {
  create(size: number, name: string): Promise<Upload>;
  get(id: string): Promise<Upload>;
  append(
    id: string,
    offset: number,
    slice: Blob,
    progress: (sent: number) => void,
    signal: AbortSignal,
  ): Promise<Upload>;
  wait(ms: number, signal: AbortSignal): Promise<void>;
  /** Remembers the upload of a file over a reload of the page. */
  memory: Pick<Storage, "getItem" | "setItem" | "removeItem">;
}

/**
 * Sends a file and returns the id of the finished upload. A cut connection is tried again from the offset that the
 * server holds, and so is a file that was begun before the page was loaded anew.
 */
export async function upload(
  file: File,
  tell: (s: Sent) => void,
  signal: AbortSignal,
  wire: Wire = browser,
): Promise<string> {
  const memo = `waxwing-upload:${file.name}:${file.size}:${file.lastModified}`;
  let at = await begin(file, memo, wire);
  let failures = 0;
  while (at.offset < at.size) {
    const from = at.offset;
    tell({ sent: from, total: at.size });
    try {
      const slice = file.slice(from, Math.min(from + sliceSize, at.size));
      at = await wire.append(at.id, from, slice, (n) => tell({ sent: from + n, total: at.size }), signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof Problem) || !passing(error)) throw error;
      if (error.status === 409 && error.offset !== undefined) {
        at = { ...at, offset: error.offset };
      } else {
        tell({ sent: from, total: at.size, trouble: error.message });
        await wire.wait(Math.min(1000 * 2 ** failures, 15_000), signal);
        at = await wire.get(at.id).catch((e: unknown) => {
          if (e instanceof Problem && passing(e)) return at;
          throw e;
        });
      }
      failures = at.offset > from ? 0 : failures + 1;
      if (failures >= patience) throw error;
      continue;
    }
    failures = 0;
  }
  tell({ sent: at.size, total: at.size });
  wire.memory.removeItem(memo);
  return at.id;
}

async function begin(file: File, memo: string, wire: Wire): Promise<Upload> {
  const known = wire.memory.getItem(memo);
  if (known) {
    const found = await wire.get(known).catch(() => null);
    if (found && found.size === file.size) return found;
  }
  const made = await wire.create(file.size, file.name);
  wire.memory.setItem(memo, made.id);
  return made;
}

/** Whether trying again may help: the server away or busy, or bytes that it already has. */
function passing(p: Problem): boolean {
  return p.status === 0 || p.status === 408 || p.status === 409 || p.status === 429 || p.status >= 500;
}

const browser: Wire = {
  create: (size, name) => read(api.POST("/uploads", { body: { size, name } })),
  get: (id) => read(api.GET("/uploads/{id}", { params: { path: { id } } })),
  // XMLHttpRequest, because fetch does not say how much of a body has left.
  append: (id, offset, slice, progress, signal) =>
    new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      const stop = () => request.abort();
      request.open("PATCH", `/api/v1/uploads/${encodeURIComponent(id)}?offset=${offset}`);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.responseType = "json";
      request.upload.onprogress = (e) => progress(e.loaded);
      request.onload = () =>
        request.status === 200
          ? resolve(request.response)
          : reject(new Problem(request.status, request.response ?? {}));
      request.onerror = () =>
        reject(new Problem(0, { detail: "The connection was cut; going on in a moment." }));
      request.onabort = () => reject(signal.reason);
      request.onloadend = () => signal.removeEventListener("abort", stop);
      signal.addEventListener("abort", stop);
      request.send(slice);
    }),
  wait: (ms, signal) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, ms);
      const stop = () => {
        clearTimeout(timer);
        reject(signal.reason);
      };
      signal.addEventListener("abort", stop, { once: true });
    }),
  memory: localStorage,
};
