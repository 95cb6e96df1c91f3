/** Something that holds a value and tells when it changes; made for `useSyncExternalStore`. */
export interface Store<T> {
  get(): T;
  /** Calls `listener` after each change; returns the function that ends this. */
  subscribe(listener: () => void): () => void;
}

/** A store whose owner may replace the value. Listeners hear of a new value only. */
export class Value<T> implements Store<T> {
  readonly #listeners = new Set<() => void>();
  #value: T;

  constructor(initial: T) {
    this.#value = initial;
  }

  // Bound, so that both can be handed to React as they are.
  readonly get = (): T => this.#value;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  };

  set(next: T): void {
    if (Object.is(next, this.#value)) return;
    this.#value = next;
    for (const listener of [...this.#listeners]) listener();
  }

  update(change: (now: T) => T): void {
    this.set(change(this.#value));
  }

  /** Changes some members of an object value. */
  patch(part: Partial<T>): void {
    this.set({ ...this.#value, ...part });
  }
}
