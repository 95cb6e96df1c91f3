import type { Problem } from "./types";

/** Ids of errors that arise in the browser; the rest are the platform's own. */
export const UNREACHABLE = "network-unreachable";
export const TIMED_OUT = "network-timeout";
export const UNEXPECTED = "unexpected-answer";

/** A request that failed: refused by the platform, or never answered. */
export class ApiError extends Error {
  readonly problem: Problem;
  /** Seconds after which the platform asks to try again, if it said so. */
  readonly retryAfter: number | undefined;

  constructor(problem: Problem, retryAfter?: number) {
    super(problem.title);
    this.name = "ApiError";
    this.problem = problem;
    this.retryAfter = retryAfter;
  }

  /** Ids by which its text is looked up, the most telling first: the fields', then its own. */
  get ids(): string[] {
    const own = this.problem.type.replace(/\/+$/, "").split(/[/:#]/).at(-1) ?? UNEXPECTED;
    return [...(this.problem.errors ?? []).map((error) => error.code), own];
  }

  get status(): number {
    return this.problem.status;
  }
}

export interface RequestOptions {
  body?: unknown;
  query?: Record<string, string | number | undefined>;
  idempotencyKey?: string;
  signal?: AbortSignal;
}

export interface HttpOptions {
  /** Where `/api/v1` is; empty for the page's own origin. */
  base?: string;
  fetch?: typeof fetch;
  /** The bearer token to send, if there is one. */
  token?: () => string | null;
  /** Hears of every 401 to a request that carried a token. */
  onUnauthorized?: () => void;
  timeoutMs?: number;
}

/** Sends JSON requests with the session's token; every failure is an ApiError. */
export class Http {
  readonly #base: string;
  readonly #fetch: typeof fetch;
  readonly #token: () => string | null;
  readonly #onUnauthorized: () => void;
  readonly #timeoutMs: number;

  constructor(options: HttpOptions = {}) {
    this.#base = options.base ?? "";
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
    this.#token = options.token ?? (() => null);
    this.#onUnauthorized = options.onUnauthorized ?? (() => undefined);
    this.#timeoutMs = options.timeoutMs ?? 15_000;
  }

  async request<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const headers: Record<string, string> = { Accept: "application/json" };
    const token = this.#token();
    if (token !== null) headers["Authorization"] = `Bearer ${token}`;
    if (options.idempotencyKey !== undefined) headers["Idempotency-Key"] = options.idempotencyKey;
    const init: RequestInit = { method, headers, cache: "no-store" };
    if (options.body !== undefined) {
      headers["Content-Type"] = "application/json";
      init.body = JSON.stringify(options.body);
    }
    const limit = AbortSignal.timeout(this.#timeoutMs);
    init.signal = options.signal ? AbortSignal.any([options.signal, limit]) : limit;

    let response: Response;
    try {
      response = await this.#fetch(`${this.#base}/api/v1${path}${queryString(options.query)}`, init);
    } catch (error) {
      if (options.signal?.aborted) throw error;
      const id = limit.aborted ? TIMED_OUT : UNREACHABLE;
      throw new ApiError({ type: id, title: "The platform cannot be reached", status: 0 });
    }
    if (!response.ok) {
      if (response.status === 401 && token !== null) this.#onUnauthorized();
      throw await failure(response);
    }
    if (response.status === 204) return undefined as T;
    try {
      return (await response.json()) as T;
    } catch {
      throw new ApiError({ type: UNEXPECTED, title: "The answer is no JSON", status: response.status });
    }
  }
}

function queryString(query: RequestOptions["query"]): string {
  const entries = Object.entries(query ?? {}).filter(
    (pair): pair is [string, string | number] => pair[1] !== undefined && pair[1] !== "",
  );
  if (entries.length === 0) return "";
  return `?${new URLSearchParams(entries.map(([name, value]) => [name, String(value)])).toString()}`;
}

async function failure(response: Response): Promise<ApiError> {
  const after = Number(response.headers.get("Retry-After") ?? Number.NaN);
  const retryAfter = Number.isFinite(after) ? after : undefined;
  if (response.headers.get("Content-Type")?.includes("json")) {
    const body: unknown = await response.json().catch(() => null);
    if (isProblem(body)) return new ApiError({ ...body, status: response.status }, retryAfter);
  }
  return new ApiError(
    { type: UNEXPECTED, title: response.statusText || "Error", status: response.status },
    retryAfter,
  );
}

function isProblem(value: unknown): value is Problem {
  return (
    typeof value === "object" &&
    value !== null &&
    typeof (value as Problem).type === "string" &&
    typeof (value as Problem).title === "string"
  );
}
