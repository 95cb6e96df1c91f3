import { ApiError, Value, type Api, type CallItem, type Store } from "@comms/api";

export type DirectionFilter = "all" | "inbound" | "outbound" | "internal";
/** Results people look for; the rest is rare and found under `all`. */
export const CAUSES = ["completed", "abandoned", "no-answer", "busy", "declined", "cancelled"] as const;
export type CauseFilter = "all" | (typeof CAUSES)[number];
export type PeriodFilter = "all" | "today" | "week";

export interface HistoryFilter {
  readonly direction: DirectionFilter;
  readonly cause: CauseFilter;
  readonly period: PeriodFilter;
  /** Name of a queue, or `all`. */
  readonly queue: string;
}

export interface HistoryState {
  readonly filter: HistoryFilter;
  readonly calls: readonly CallItem[];
  readonly next: string | null;
  readonly phase: "idle" | "loading" | "loading-more" | "failed" | "failed-more";
  readonly failure: ApiError | null;
}

export const NO_FILTER: HistoryFilter = {
  direction: "all",
  cause: "all",
  period: "all",
  queue: "all",
};
const PAGE = 50;

/** Call history, newest first, page by page. */
export class HistoryModel {
  readonly state: Store<HistoryState>;
  readonly #state = new Value<HistoryState>({
    filter: NO_FILTER,
    calls: [],
    next: null,
    phase: "idle",
    failure: null,
  });
  readonly #api: Api;
  #request: AbortController | null = null;

  constructor(api: Api) {
    this.#api = api;
    this.state = this.#state;
  }

  /** Starts anew; answers to questions asked before are dropped. */
  async load(): Promise<void> {
    this.#state.patch({ calls: [], next: null });
    await this.#fetch("loading", undefined);
  }

  async more(): Promise<void> {
    const { next, phase } = this.#state.get();
    if (next === null || phase === "loading" || phase === "loading-more") return;
    await this.#fetch("loading-more", next);
  }

  async filter(part: Partial<HistoryFilter>): Promise<void> {
    this.#state.patch({ filter: { ...this.#state.get().filter, ...part } });
    await this.load();
  }

  close(): void {
    this.#request?.abort();
  }

  async #fetch(phase: "loading" | "loading-more", cursor: string | undefined): Promise<void> {
    this.#request?.abort();
    const request = new AbortController();
    this.#request = request;
    this.#state.patch({ phase, failure: null });
    const { direction, cause, period, queue } = this.#state.get().filter;
    const from = startOf(period, new Date());
    try {
      const page = await this.#api.calls(
        {
          limit: PAGE,
          ...(cursor !== undefined && { cursor }),
          ...(direction !== "all" && { direction }),
          ...(cause !== "all" && { cause }),
          ...(from !== null && { from: from.toISOString() }),
          ...(queue !== "all" && { queue }),
        },
        request.signal,
      );
      if (request.signal.aborted) return;
      this.#state.patch({
        calls: phase === "loading" ? page.items : [...this.#state.get().calls, ...page.items],
        next: page.next,
        phase: "idle",
      });
    } catch (error) {
      if (request.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.#state.patch({ phase: phase === "loading" ? "failed" : "failed-more", failure: error });
    }
  }
}

/** When a period began, by local midnight. */
export function startOf(period: PeriodFilter, now: Date): Date | null {
  if (period === "all") return null;
  const days = period === "week" ? 6 : 0;
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() - days);
}

/** The number that calling back would dial; null where there is none to dial. */
export function callBackNumber(call: CallItem, me: string): string | null {
  const iCalled = call.from_person?.id === me;
  const [number, person] = iCalled
    ? [call.to_number, call.to_person]
    : [call.from_number, call.from_person];
  return person?.extension ?? number;
}

export function wasAnswered(call: CallItem): boolean {
  return call.answered !== null;
}

/** Calls by local day, in the order they come. */
export function daysOf(calls: readonly CallItem[]): { at: Date; calls: CallItem[] }[] {
  const days: { at: Date; calls: CallItem[] }[] = [];
  for (const call of calls) {
    const at = new Date(call.started);
    const last = days.at(-1);
    if (last?.at.toDateString() === at.toDateString()) last.calls.push(call);
    else days.push({ at, calls: [call] });
  }
  return days;
}
