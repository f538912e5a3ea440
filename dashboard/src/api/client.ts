import createClient from "openapi-fetch";
import type { components, paths } from "./schema.gen";

/** The nouns of the contract, as server/api/openapi.yaml has them. */
export type Schemas = components["schemas"];

/** Longest that a question may take before it counts as failed, in milliseconds. */
const patience = 30_000;

/** One client for the whole page; the session cookie says who asks. */
export const api = createClient<paths>({
  baseUrl: "/api/v1",
  credentials: "same-origin",
  fetch: (request) =>
    fetch(request, { signal: AbortSignal.any([request.signal, AbortSignal.timeout(patience)]) }),
});

/** An answer that says no: an RFC 9457 problem, or status 0 when the server could not be reached. */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly offset: number | undefined;

  constructor(status: number, body?: Partial<Schemas["Problem"]>) {
    const fields = body?.errors?.map((e) => `${e.field}: ${e.detail}`).join("; ");
    super(
      [body?.detail ?? body?.title ?? `The server answered ${status}.`, fields].filter(Boolean).join(" "),
    );
    this.status = status;
    this.title = body?.title ?? "It did not happen";
    this.offset = body?.offset;
  }
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** Waits for an answer and returns its body, or throws a Problem. */
export async function read<T>(asked: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await asked;
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "AbortError") throw cause;
    throw new Problem(0, {
      title: "The server cannot be reached",
      detail:
        "The server cannot be reached. Check that it runs and that you are online; this page tries again by itself.",
    });
  }
  if (!answer.response.ok) {
    throw new Problem(answer.response.status, answer.error as Partial<Schemas["Problem"]>);
  }
  return answer.data as T; // 204 has none, and its callers want none
}

/** Leaves out what is not given, so that a URL or a body holds no empty fields. */
export function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const kept = Object.entries(fields).filter(([, v]) => v !== undefined && v !== "");
  return Object.fromEntries(kept) as { [K in keyof T]?: Exclude<T[K], undefined> };
}
