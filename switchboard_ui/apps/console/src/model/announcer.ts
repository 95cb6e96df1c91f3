import { Value, type LiveState, type Store } from "@comms/api";

export interface Announcement {
  /** How many calls began to wait since the last announcement, and where. */
  readonly calls: number;
  readonly queues: readonly string[];
  readonly serial: number;
}

/**
 * Tells people who listen of new waiting calls, at most once in `pauseMs`; what comes meanwhile
 * is told together. What already waits when the page opens or comes back is not news.
 */
export class Announcer {
  readonly announcement: Store<Announcement | null>;
  readonly #announcement = new Value<Announcement | null>(null);
  readonly #live: Store<LiveState>;
  readonly #pauseMs: number;
  readonly #unsubscribe: () => void;
  #known: ReadonlySet<string> | null = null;
  #pending: { calls: number; queues: Set<string> } = { calls: 0, queues: new Set() };
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(live: Store<LiveState>, pauseMs = 10_000) {
    this.#live = live;
    this.#pauseMs = pauseMs;
    this.announcement = this.#announcement;
    this.#unsubscribe = live.subscribe(() => this.#look());
    this.#look();
  }

  close(): void {
    this.#unsubscribe();
    clearTimeout(this.#timer);
  }

  #look(): void {
    const { data, status } = this.#live.get();
    if (status.kind !== "live") {
      this.#known = null;
      return;
    }
    if (data === null) return;
    const waiting = new Map<string, string>();
    for (const queue of data.queues.values()) {
      for (const work of queue.waiting) waiting.set(work.id, queue.name);
    }
    const known = this.#known;
    this.#known = new Set(waiting.keys());
    if (known === null) return;
    for (const [id, queue] of waiting) {
      if (known.has(id)) continue;
      this.#pending.calls += 1;
      this.#pending.queues.add(queue);
    }
    if (this.#pending.calls > 0 && this.#timer === undefined) this.#tell();
  }

  #tell(): void {
    const { calls, queues } = this.#pending;
    this.#pending = { calls: 0, queues: new Set() };
    this.#timer = undefined;
    if (calls === 0) return;
    const serial = (this.#announcement.get()?.serial ?? 0) + 1;
    this.#announcement.set({ calls, queues: [...queues], serial });
    this.#timer = setTimeout(() => this.#tell(), this.#pauseMs);
  }
}
