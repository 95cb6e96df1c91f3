import { ApiError, Value, type Api, type Store } from "@comms/api";

import type { Storage } from "./storage";

export interface Identity {
  readonly token: string;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

export interface SessionState {
  readonly identity: Identity | null;
  /** Why there is no session (any more), to be told at the log-in. */
  readonly ended: "expired" | null;
  readonly failure: ApiError | null;
  readonly pending: boolean;
}

/** Who is logged in. The token outlives a reload; an expired one is thrown away. */
export class SessionModel {
  readonly state: Store<SessionState>;
  readonly #state: Value<SessionState>;
  readonly #storage: Storage;
  readonly #now: () => number;

  constructor(storage: Storage, now: () => number = Date.now) {
    this.#storage = storage;
    this.#now = now;
    const identity = this.#restored();
    this.#state = new Value<SessionState>({ identity, ended: null, failure: null, pending: false });
    this.state = this.#state;
  }

  readonly token = (): string | null => this.#state.get().identity?.token ?? null;

  async login(api: Api, user: string, password: string): Promise<void> {
    if (this.#state.get().pending) return;
    this.#state.patch({ pending: true, failure: null });
    try {
      const answer = await api.login(user.trim(), password);
      const identity = { token: answer.token, expiresAt: Date.parse(answer.expires_at) };
      this.#storage.write("session", JSON.stringify(identity));
      this.#state.set({ identity, ended: null, failure: null, pending: false });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#state.patch({ pending: false, failure: error });
    }
  }

  /** Ends the session here at once; the platform is told, but its answer is not waited for. */
  async logout(api: Api): Promise<void> {
    const told = api.logout();
    this.#end(null);
    try {
      await told;
    } catch (error) {
      // The token dies by its expiry then; the person has left in any case.
      if (!(error instanceof ApiError)) throw error;
    }
  }

  /** The platform no longer accepts the token. */
  readonly expired = (): void => {
    if (this.#state.get().identity !== null) this.#end("expired");
  };

  #end(ended: SessionState["ended"]): void {
    this.#storage.write("session", null);
    this.#state.set({ identity: null, ended, failure: null, pending: false });
  }

  #restored(): Identity | null {
    const raw = this.#storage.read("session");
    if (raw === null) return null;
    try {
      const stored = JSON.parse(raw) as Partial<Identity>;
      if (
        typeof stored.token === "string" &&
        typeof stored.expiresAt === "number" &&
        stored.expiresAt > this.#now()
      ) {
        return { token: stored.token, expiresAt: stored.expiresAt };
      }
    } catch {
      // Not ours, or cut off: the same as none.
    }
    this.#storage.write("session", null);
    return null;
  }
}
