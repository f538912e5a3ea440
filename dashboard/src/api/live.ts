import type { QueryClient, QueryKey } from "@tanstack/react-query";
import { type Change, keysFor } from "./keys";

/** How the stream is: "stale" when it has been away for longer than people would forgive. */
export interface Liveness {
  status: "connecting" | "live" | "reconnecting" | "stale";
  /** When what is on the screen was last known to be current. */
  asOf: Date | null;
}

const throttle = 250; // ms between two rounds of questions
const grace = 5_000; // ms of "reconnecting" before "as of"
const retry = 3_000; // ms until a refused stream is tried again

/** Asks for a fresh answer to every query that a key names. It resolves when the answers are here. */
export type Ask = (key: QueryKey) => Promise<unknown>;

/**
 * Gathers keys and asks for them in rounds: at most one a throttle, and never a second before the first was answered.
 * So a busy fleet costs a bounded number of questions, and the last change is always asked for.
 */
export class Rounds {
  private waiting = new Map<string, QueryKey>();
  private running = false;
  private readonly ask: Ask;
  private readonly pause: () => Promise<void>;

  constructor(
    ask: Ask,
    pause: () => Promise<void> = () => new Promise((done) => setTimeout(done, throttle)),
  ) {
    this.ask = ask;
    this.pause = pause;
  }

  add(all: QueryKey[]): void {
    for (const key of all) this.waiting.set(JSON.stringify(key), key);
    if (!this.running) void this.run();
  }

  private async run(): Promise<void> {
    this.running = true;
    while (this.waiting.size > 0) {
      const round = [...this.waiting.values()];
      this.waiting.clear();
      await Promise.allSettled([...round.map((key) => this.ask(key)), this.pause()]);
    }
    this.running = false;
  }
}

/** One stream of events for this tab: closed while nobody looks, opened again when somebody does. */
export class Live {
  private state: Liveness = { status: "connecting", asOf: null };
  private readonly watchers = new Set<() => void>();
  private readonly rounds: Rounds;
  private readonly client: QueryClient;
  private source: EventSource | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(client: QueryClient) {
    this.client = client;
    this.rounds = new Rounds((key) => client.invalidateQueries({ queryKey: key }));
  }

  readonly snapshot = (): Liveness => this.state;

  readonly subscribe = (watcher: () => void): (() => void) => {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  };

  /** Follows the server until the returned function is called. */
  start(): () => void {
    const look = () => (document.hidden ? this.close() : this.open());
    document.addEventListener("visibilitychange", look);
    // Without the stream, answers that come by the slow questions still tell how old the screen is.
    const stop = this.client.getQueryCache().subscribe((e) => {
      if (this.state.status !== "live" && e.type === "updated" && e.action.type === "success") {
        this.become(this.state.status, new Date());
      }
    });
    look();
    return () => {
      document.removeEventListener("visibilitychange", look);
      stop();
      this.close();
    };
  }

  private open(): void {
    if (this.source) return;
    const source = new EventSource("/api/v1/events");
    this.source = source;
    // Whatever was missed in between, presence included, is asked for again.
    for (const name of ["ready", "reset"]) {
      source.addEventListener(name, () => {
        clearTimeout(this.timer);
        this.become("live", null);
        this.rounds.add([
          ["overview"],
          ["device"],
          ["site"],
          ["group"],
          ["release"],
          ["rollout"],
          ["product"],
          ["audit"],
        ]);
      });
    }
    for (const kind of ["device", "group", "release", "rollout"]) {
      source.addEventListener(kind, (e) => this.rounds.add(keysFor(JSON.parse(e.data) as Change)));
    }
    source.addEventListener("error", () => this.lost(source));
  }

  private lost(source: EventSource): void {
    if (source !== this.source) return;
    if (this.state.status === "live" || this.state.status === "connecting") {
      this.become("reconnecting", this.state.status === "live" ? new Date() : this.state.asOf);
      this.timer = setTimeout(() => this.become("stale", this.state.asOf), grace);
    }
    if (source.readyState === EventSource.CLOSED) {
      // Refused, not cut: the browser does not try again by itself. A session that ended shows in the next question.
      this.source = undefined;
      this.rounds.add([["session"]]);
      setTimeout(() => !this.source && !document.hidden && this.watchers.size > 0 && this.open(), retry);
    }
  }

  private close(): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = undefined;
    this.become("connecting", this.state.status === "live" ? new Date() : this.state.asOf);
  }

  private become(status: Liveness["status"], asOf: Date | null): void {
    this.state = { status, asOf };
    for (const watcher of this.watchers) watcher();
  }
}
