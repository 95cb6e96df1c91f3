import { applyEvent, fromSnapshot, type LiveData } from "./live-data";
import { Value, type Store } from "./store";
import type { LiveEvent, SessionOver, Snapshot } from "./types";

/** The connection as the live client needs it; Socket.IO in production, a script in tests. */
export interface LiveTransport {
  connect(): void;
  close(): void;
  /** Asks the platform for a fresh snapshot. */
  resync(): void;
  listen(listener: LiveListener): void;
}

export interface LiveListener {
  connected(): void;
  disconnected(): void;
  /** The platform does not accept the session (any more). */
  sessionOver(reason: SessionOver["reason"]): void;
  snapshot(snapshot: Snapshot): void;
  event(event: LiveEvent): void;
}

export type LiveStatus =
  /** Nothing was shown yet; `failed` after the first attempt came to nothing. */
  | { kind: "connecting"; failed: boolean }
  | { kind: "live" }
  /** What is shown was true at `since` (epoch milliseconds); it is tried again all the time. */
  | { kind: "lost"; since: number };

export interface LiveState {
  readonly status: LiveStatus;
  readonly data: LiveData | null;
  /** Platform's clock minus this machine's, in milliseconds. */
  readonly clockOffset: number;
}

export interface LiveClientOptions {
  onSessionOver?: (reason: SessionOver["reason"]) => void;
  now?: () => number;
  /** How long a snapshot may take before it is asked for again. */
  snapshotTimeoutMs?: number;
}

/**
 * Keeps the live view: a snapshot, then numbered events.
 *
 * A gap in the numbers, or a snapshot that does not come, makes it ask for a fresh one; until that
 * is there, events change nothing. Events seen before are ignored. While the connection is lost,
 * the last known state stays and says since when it is old.
 */
export class LiveClient {
  readonly state: Store<LiveState>;
  readonly #state: Value<LiveState>;
  readonly #transport: LiveTransport;
  readonly #now: () => number;
  readonly #snapshotTimeoutMs: number;
  #awaiting: ReturnType<typeof setTimeout> | undefined;
  /** A snapshot came since the connection was last lost. */
  #fresh = false;
  #closed = false;

  constructor(transport: LiveTransport, options: LiveClientOptions = {}) {
    this.#transport = transport;
    this.#now = options.now ?? Date.now;
    this.#snapshotTimeoutMs = options.snapshotTimeoutMs ?? 5000;
    this.#state = new Value<LiveState>({
      status: { kind: "connecting", failed: false },
      data: null,
      clockOffset: 0,
    });
    this.state = this.#state;
    const guarded =
      <A extends unknown[]>(handle: (...given: A) => void) =>
      (...given: A): void => {
        if (!this.#closed) handle(...given);
      };
    transport.listen({
      connected: guarded(() => this.#connected()),
      disconnected: guarded(() => this.#disconnected()),
      sessionOver: guarded((reason) => options.onSessionOver?.(reason)),
      snapshot: guarded((snapshot) => this.#snapshot(snapshot)),
      event: guarded((event) => this.#event(event)),
    });
  }

  start(): void {
    this.#transport.connect();
  }

  close(): void {
    this.#closed = true;
    this.#stopAwaiting();
    this.#transport.close();
  }

  #connected(): void {
    // The platform sends a snapshot by itself after each connect; only its absence is dealt with.
    // Socket.IO hands on what came with the connection before it tells of the connection.
    if (!this.#fresh) this.#awaitSnapshot();
  }

  #disconnected(): void {
    this.#stopAwaiting();
    this.#fresh = false;
    const { status, data } = this.#state.get();
    if (status.kind === "lost") return;
    this.#state.patch({
      status:
        data === null ? { kind: "connecting", failed: true } : { kind: "lost", since: this.#now() },
    });
  }

  #snapshot(snapshot: Snapshot): void {
    this.#stopAwaiting();
    this.#fresh = true;
    this.#state.set({
      status: { kind: "live" },
      data: fromSnapshot(snapshot),
      clockOffset: Date.parse(snapshot.now) - this.#now(),
    });
  }

  #event(event: LiveEvent): void {
    const { data } = this.#state.get();
    if (data === null || this.#awaiting !== undefined) return;
    const step = applyEvent(data, event);
    if (step.kind === "applied") this.#state.patch({ data: step.data });
    else if (step.kind === "gap") this.#resync();
  }

  #resync(): void {
    this.#transport.resync();
    this.#awaitSnapshot();
  }

  #awaitSnapshot(): void {
    this.#stopAwaiting();
    this.#awaiting = setTimeout(() => this.#resync(), this.#snapshotTimeoutMs);
  }

  #stopAwaiting(): void {
    clearTimeout(this.#awaiting);
    this.#awaiting = undefined;
  }
}
