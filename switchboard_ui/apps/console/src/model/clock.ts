import { Value, type Store } from "@comms/api";

/** Tells the time once a second, in epoch milliseconds of the platform's clock. */
export class Clock {
  readonly time: Store<number>;
  readonly #time: Value<number>;
  readonly #now: () => number;
  #offset = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(now: () => number = Date.now) {
    this.#now = now;
    this.#time = new Value(now());
    this.time = this.#time;
  }

  /** Platform's clock minus this machine's. Differences below a second are not worth a jump. */
  setOffset(offset: number): void {
    if (Math.abs(offset - this.#offset) < 1000) return;
    this.#offset = offset;
    this.#tick();
  }

  start(): void {
    this.#tick();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #tick(): void {
    clearTimeout(this.#timer);
    const now = this.#now() + this.#offset;
    this.#time.set(now);
    // On the full second, so that all timers of the page step together.
    this.#timer = setTimeout(() => this.#tick(), 1000 - (now % 1000));
  }
}
