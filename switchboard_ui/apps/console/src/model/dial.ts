import { ApiError, Value, type Api, type Store } from "@comms/api";

export interface DialState {
  readonly to: string;
  readonly pending: boolean;
  /** The number that was dialled last and is on its way. */
  readonly ringing: string | null;
  readonly failure: ApiError | null;
  /** What was typed cannot be a number. */
  readonly invalid: boolean;
}

const ALLOWED = /^\+?[0-9][0-9 ()/.-]*$/;

/** Letters have no place in a number; separators are people's habit and are left out. */
export function normaliseNumber(typed: string): string | null {
  const trimmed = typed.trim();
  if (!ALLOWED.test(trimmed)) return null;
  // "+49 (0) 221": the zero in brackets is for callers within the country.
  const bare = trimmed.replace(/^(\+\d+\s*)\(0\)/, "$1").replace(/[^+0-9]/g, "");
  return bare.length <= 32 ? bare : null;
}

/** Starts calls: one's own phone rings first. */
export class DialModel {
  readonly state: Store<DialState>;
  readonly #state = new Value<DialState>({
    to: "",
    pending: false,
    ringing: null,
    failure: null,
    invalid: false,
  });
  readonly #api: Api;
  readonly #newKey: () => string;
  /** Kept while the outcome is unknown, so that trying again cannot ring twice. */
  #attempt: { to: string; key: string } | null = null;

  constructor(api: Api, newKey: () => string = () => crypto.randomUUID()) {
    this.#api = api;
    this.#newKey = newKey;
    this.state = this.#state;
  }

  type(to: string): void {
    this.#state.patch({ to, invalid: false, failure: null });
  }

  submit(): Promise<void> {
    return this.call(this.#state.get().to);
  }

  async call(typed: string): Promise<void> {
    if (this.#state.get().pending) return;
    const to = normaliseNumber(typed);
    if (to === null) {
      this.#state.patch({ invalid: true, failure: null });
      return;
    }
    if (this.#attempt?.to !== to) this.#attempt = { to, key: this.#newKey() };
    this.#state.patch({ pending: true, failure: null, invalid: false, ringing: null });
    try {
      await this.#api.call(to, this.#attempt.key);
      this.#attempt = null;
      this.#state.patch({ pending: false, ringing: to, to: "" });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // Refused: the next try is a new call. Never answered: it may be on its way, same key.
      if (error.status !== 0) this.#attempt = null;
      this.#state.patch({ pending: false, failure: error });
    }
  }

  /** The call is shown elsewhere now. */
  settle(): void {
    this.#state.patch({ ringing: null });
  }
}
