import {
  ApiError,
  Value,
  type Api,
  type ChosenState,
  type LiveAgent,
  type LiveCall,
  type LiveData,
  type Store,
} from "@comms/api";

export const BREAK_REASONS = ["short", "lunch", "training", "meeting", "paperwork"] as const;
export type BreakReason = (typeof BREAK_REASONS)[number];

export interface Action {
  readonly pending: boolean;
  readonly failure: ApiError | null;
}

export const IDLE: Action = { pending: false, failure: null };

/** Oneself as an agent; null for people who are none. */
export function myAgent(data: LiveData): LiveAgent | null {
  return data.agents.get(data.me.id) ?? null;
}

/** Own calls, the one that goes on first, then the newest. */
export function myCalls(data: LiveData): LiveCall[] {
  const weight: Record<LiveCall["state"], number> = {
    talking: 0,
    ringing: 1,
    held: 2,
    queued: 3,
    ended: 4,
  };
  return [...data.calls.values()].sort(
    (a, b) => weight[a.state] - weight[b.state] || Date.parse(b.since) - Date.parse(a.since),
  );
}

/** The other side of one's own call. */
export function otherSide(call: LiveCall, me: string): { name: string | null; number: string | null } {
  const iCalled = call.from_person?.id === me;
  const person = iCalled ? call.to_person : call.from_person;
  const number = iCalled ? call.to_number : call.from_number;
  return { name: person?.name ?? null, number: number ?? person?.extension ?? null };
}

/** Seconds that are left of a wrap-up; null without one. */
export function wrapUpLeft(agent: LiveAgent, now: number): number | null {
  if (agent.activity !== "wrap-up" || agent.until === null) return null;
  return Math.max(0, Math.ceil((Date.parse(agent.until) - now) / 1000));
}

/** Part of the wrap-up that is over, from 0 to 1. */
export function wrapUpDone(agent: LiveAgent, now: number): number {
  if (agent.until === null) return 0;
  const [start, end] = [Date.parse(agent.since), Date.parse(agent.until)];
  return end <= start ? 1 : Math.min(1, Math.max(0, (now - start) / (end - start)));
}

/**
 * Changes of agents' states that are on their way.
 *
 * What is shown as the state is what the live view says; an action is pending until the platform
 * answered, so that no button claims what is not yet so.
 */
export class StateActions {
  /** By agent's id, one's own by `me`. */
  readonly actions: Store<ReadonlyMap<string, Action>>;
  readonly #actions = new Value<ReadonlyMap<string, Action>>(new Map());
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
    this.actions = this.#actions;
  }

  /** `agent` is an id, or `me`. */
  setState(agent: string, state: ChosenState, reason?: string): Promise<void> {
    return this.#run(agent, () => this.#api.setState(agent, state, reason));
  }

  finishWrapUp(): Promise<void> {
    return this.#run("me", () => this.#api.endWrapUp());
  }

  async #run(agent: string, action: () => Promise<unknown>): Promise<void> {
    if (this.#actions.get().get(agent)?.pending) return;
    this.#note(agent, { pending: true, failure: null });
    try {
      await action();
      this.#note(agent, IDLE);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#note(agent, { pending: false, failure: error });
    }
  }

  #note(agent: string, action: Action): void {
    this.#actions.update((actions) => new Map(actions).set(agent, action));
  }
}
