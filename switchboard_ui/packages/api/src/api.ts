import type { Http } from "./http";
import type {
  AgentStateAnswer,
  CallAccepted,
  CallPage,
  ChosenState,
  LoginAnswer,
  MeAnswer,
} from "./types";

/** Which calls of the history to list; what is left out does not narrow it. */
export interface CallFilter {
  cursor?: string;
  limit?: number;
  direction?: string;
  queue?: string;
  cause?: string;
  /** ISO 8601 with zone: calls that started at or after it. */
  from?: string;
}

/** The platform's HTTP interface, one method an operation. Each rejects with an ApiError. */
export class Api {
  readonly #http: Http;

  constructor(http: Http) {
    this.#http = http;
  }

  login(user: string, password: string): Promise<LoginAnswer> {
    return this.#http.request("POST", "/login", { body: { user, password } });
  }

  logout(): Promise<void> {
    return this.#http.request("POST", "/logout");
  }

  me(): Promise<MeAnswer> {
    return this.#http.request("GET", "/me");
  }

  /** Sets an agent's state; `me` stands for oneself, others are for their supervisors. */
  setState(agent: string, state: ChosenState, reason?: string): Promise<AgentStateAnswer> {
    return this.#http.request("PUT", `/agents/${encodeURIComponent(agent)}/state`, {
      body: { state, reason: reason ?? null },
    });
  }

  /** Ends one's own wrap-up before its time; without one nothing happens. */
  endWrapUp(): Promise<void> {
    return this.#http.request("DELETE", "/agents/me/wrap-up");
  }

  calls(filter: CallFilter, signal?: AbortSignal): Promise<CallPage> {
    return this.#http.request("GET", "/calls", { query: { ...filter }, ...(signal && { signal }) });
  }

  /** Rings the person's own phone first, then `to`. A repeated key dials once. */
  call(to: string, idempotencyKey: string): Promise<CallAccepted> {
    return this.#http.request("POST", "/calls", { body: { to }, idempotencyKey });
  }
}
