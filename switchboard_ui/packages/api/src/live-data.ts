import type {
  LiveAgent,
  LiveCall,
  LiveEvent,
  LiveQueue,
  LiveWork,
  Me,
  QueueFacts,
  Snapshot,
} from "./types";

/** What the platform's live view showed after message `seq`. */
export interface LiveData {
  readonly seq: number;
  readonly me: Me;
  /** False while the queue role is silent: what is shown of queues may be old. */
  readonly queuesCurrent: boolean;
  readonly queues: ReadonlyMap<string, LiveQueue>;
  readonly agents: ReadonlyMap<string, LiveAgent>;
  /** This person's own calls. */
  readonly calls: ReadonlyMap<string, LiveCall>;
}

export type Step =
  | { kind: "applied"; data: LiveData }
  /** Seen before: it changes nothing. */
  | { kind: "duplicate" }
  /** Messages are missing between what is known and this one. */
  | { kind: "gap"; expected: number; received: number };

/** The state that a snapshot describes. */
export function fromSnapshot(snapshot: Snapshot): LiveData {
  return {
    seq: snapshot.seq,
    me: snapshot.me,
    queuesCurrent: snapshot.queues_current,
    queues: new Map(snapshot.queues.map((queue) => [queue.name, inOrder(queue)])),
    agents: new Map(snapshot.agents.map((agent) => [agent.id, agent])),
    calls: new Map(snapshot.calls.map((call) => [call.id, call])),
  };
}

/** The state after one event. Only the next number is applied. */
export function applyEvent(data: LiveData, event: LiveEvent): Step {
  if (event.seq <= data.seq) return { kind: "duplicate" };
  if (event.seq > data.seq + 1) {
    return { kind: "gap", expected: data.seq + 1, received: event.seq };
  }
  return { kind: "applied", data: { ...change(data, event), seq: event.seq } };
}

/** Order of service: by rank, then by id. */
export function byPlace(a: LiveWork, b: LiveWork): number {
  return a.rank[0] - b.rank[0] || a.rank[1] - b.rank[1] || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

function change(data: LiveData, event: LiveEvent): LiveData {
  switch (event.type) {
    case "work":
      return withWaiting(data, event.data.queue, (waiting) => [
        ...waiting.filter((work) => work.id !== event.data.id),
        event.data,
      ]);
    case "work_closed":
      return withWaiting(data, event.data.queue, (waiting) =>
        waiting.filter((work) => work.id !== event.data.id),
      );
    case "queue":
      return { ...data, queues: withItem(data.queues, event.data.name, withFacts(data, event.data)) };
    case "queue_removed":
      return { ...data, queues: withoutItem(data.queues, event.data.id) };
    case "agent":
      return { ...data, agents: withItem(data.agents, event.data.id, event.data) };
    case "agent_removed":
      return { ...data, agents: withoutItem(data.agents, event.data.id) };
    case "call":
      return {
        ...data,
        calls:
          event.data.state === "ended"
            ? withoutItem(data.calls, event.data.id)
            : withItem(data.calls, event.data.id, event.data),
      };
    case "queues_current":
      return { ...data, queuesCurrent: event.data.current };
    default:
      // A newer platform may tell more than this page knows: its number counts, nothing else.
      return data;
  }
}

function withWaiting(
  data: LiveData,
  name: string,
  change: (waiting: readonly LiveWork[]) => LiveWork[],
): LiveData {
  const queue = data.queues.get(name);
  if (queue === undefined) return data;
  const next = inOrder({ ...queue, waiting: change(queue.waiting) });
  return { ...data, queues: withItem(data.queues, name, next) };
}

function withFacts(data: LiveData, facts: QueueFacts): LiveQueue {
  return { ...facts, waiting: data.queues.get(facts.name)?.waiting ?? [] };
}

function inOrder(queue: LiveQueue): LiveQueue {
  return { ...queue, waiting: [...queue.waiting].sort(byPlace) };
}

function withItem<T>(map: ReadonlyMap<string, T>, key: string, item: T): ReadonlyMap<string, T> {
  return new Map(map).set(key, item);
}

function withoutItem<T>(map: ReadonlyMap<string, T>, key: string): ReadonlyMap<string, T> {
  const next = new Map(map);
  next.delete(key);
  return next;
}
