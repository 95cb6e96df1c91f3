/** Data and a scripted connection for tests; nothing of it goes into a build. */
import type { LiveListener, LiveTransport } from "./live-client";
import type { LiveAgent, LiveQueue, LiveWork, Me, Snapshot } from "./types";

export const NOON = Date.UTC(2026, 5, 1, 10, 0, 0);

export function iso(at: number): string {
  return new Date(at).toISOString();
}

export function aMe(facts: Partial<Me> = {}): Me {
  return {
    id: "anna.schmidt",
    name: "Anna Schmidt",
    extension: "201",
    language: "de",
    roles: ["staff", "agent"],
    queues: ["zentrale"],
    supervises: [],
    ...facts,
  };
}

export function aQueue(name: string, facts: Partial<LiveQueue> = {}): LiveQueue {
  return {
    name,
    title: { de: name, en: name },
    number: "160",
    open: true,
    offered: 0,
    answered: 0,
    abandoned: 0,
    answered_in_time: 0,
    service_level_seconds: 30,
    wait_mean: null,
    wait_p90: null,
    member: true,
    supervised: false,
    numbers_visible: true,
    waiting: [],
    ...facts,
  };
}

export function anAgent(id: string, facts: Partial<LiveAgent> = {}): LiveAgent {
  return {
    id,
    name: id,
    extension: null,
    activity: "available",
    chosen: "available",
    since: iso(NOON),
    reachable: true,
    queues: ["zentrale"],
    reason: null,
    work: null,
    engaged: 0,
    until: null,
    ...facts,
  };
}

export function aWork(id: string, facts: Partial<LiveWork> = {}): LiveWork {
  return {
    id,
    queue: "zentrale",
    media: "voice",
    state: "waiting",
    since: iso(NOON),
    rank: [0, 1],
    number: null,
    agents: [],
    ...facts,
  };
}

export function aSnapshot(facts: Partial<Snapshot> = {}): Snapshot {
  return {
    seq: 1,
    now: iso(NOON),
    me: aMe(),
    queues_current: true,
    queues: [aQueue("zentrale")],
    agents: [anAgent("anna.schmidt")],
    calls: [],
    ...facts,
  };
}

/** A connection that does what the test says and notes what it was asked. */
export class ScriptedTransport implements LiveTransport {
  readonly asked: string[] = [];
  #listener: LiveListener | null = null;

  /** What the client told to listen; the test speaks through it. */
  get platform(): LiveListener {
    if (this.#listener === null) throw new Error("nobody listens");
    return this.#listener;
  }

  connect(): void {
    this.asked.push("connect");
  }

  close(): void {
    this.asked.push("close");
  }

  resync(): void {
    this.asked.push("resync");
  }

  listen(listener: LiveListener): void {
    this.#listener = listener;
  }
}
