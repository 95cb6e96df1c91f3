import type { Activity, LiveAgent, LiveData, LiveQueue, LiveWork } from "@comms/api";

/** One line of the list of queues. Instants are epoch milliseconds. */
export interface QueueRow {
  readonly name: string;
  readonly title: string;
  readonly number: string | null;
  readonly open: boolean;
  readonly member: boolean;
  /** Null where this person may not see who waits. */
  readonly waiting: number | null;
  readonly longestSince: number | null;
  /** Agents who could take work now, and all who are signed in; null where they are not seen. */
  readonly staffing: Staffing | null;
  readonly answered: number;
  readonly answeredInTime: number;
  readonly abandoned: number;
  readonly serviceLevelSeconds: number;
}

export interface Staffing {
  readonly free: number;
  readonly present: number;
}

export interface WaitingRow {
  readonly id: string;
  readonly position: number;
  readonly number: string | null;
  readonly since: number;
  readonly offered: boolean;
  /** Names of the agents it rings at. */
  readonly agents: readonly string[];
  /** From then on it waits longer than the queue promises. */
  readonly lateAt: number;
}

export interface Totals {
  readonly waiting: number;
  readonly longestSince: number | null;
  readonly staffing: Staffing;
}

export function titleOf(queue: { name: string; title: LiveQueue["title"] }, locale: string): string {
  return queue.title[locale] ?? queue.title["de"] ?? Object.values(queue.title)[0] ?? queue.name;
}

/** Queues by how much they concern this person: own ones, those whose waiting calls they may see,
 * open before closed ones, then by title. */
export function queueRows(data: LiveData, locale: string): QueueRow[] {
  const rows = [...data.queues.values()].map((queue): QueueRow => {
    const seen = queue.numbers_visible;
    return {
      name: queue.name,
      title: titleOf(queue, locale),
      number: queue.number,
      open: queue.open,
      member: queue.member,
      waiting: seen ? queue.waiting.length : null,
      longestSince: oldest(queue.waiting),
      staffing: seen ? staffing(agentsOf(data, queue.name)) : null,
      answered: queue.answered,
      answeredInTime: queue.answered_in_time,
      abandoned: queue.abandoned,
      serviceLevelSeconds: queue.service_level_seconds,
    };
  });
  return rows.sort(
    (a, b) =>
      Number(b.member) - Number(a.member) ||
      Number(b.waiting !== null) - Number(a.waiting !== null) ||
      Number(b.open) - Number(a.open) ||
      a.title.localeCompare(b.title, locale),
  );
}

/** Sums over all queues whose waiting calls this person may see; somebody who serves several of them counts once. */
export function totals(data: LiveData): Totals {
  const waiting = [...data.queues.values()].flatMap((queue) => queue.waiting);
  return {
    waiting: waiting.length,
    longestSince: oldest(waiting),
    staffing: staffing([...data.agents.values()]),
  };
}

/** Who waits in a queue, in the order of service. */
export function waitingRows(data: LiveData, name: string): WaitingRow[] {
  const queue = data.queues.get(name);
  if (queue === undefined) return [];
  return queue.waiting.map((work, index) => ({
    id: work.id,
    position: index + 1,
    number: work.number,
    since: Date.parse(work.since),
    offered: work.state === "offered",
    agents: work.agents.map((id) => data.agents.get(id)?.name ?? id),
    lateAt: Date.parse(work.since) + queue.service_level_seconds * 1000,
  }));
}

/** A queue's agents by name; the order stays while their states change. */
export function agentsOf(data: LiveData, name: string): LiveAgent[] {
  return [...data.agents.values()]
    .filter((agent) => agent.queues.includes(name))
    .sort((a, b) => a.name.localeCompare(b.name) || a.id.localeCompare(b.id));
}

function staffing(agents: readonly LiveAgent[]): Staffing {
  return {
    free: agents.filter(isFree).length,
    present: agents.filter((agent) => agent.activity !== "offline").length,
  };
}

/** What to show of an agent: whoever wants to work but has no phone is not simply signed out. */
export function shownActivity(agent: LiveAgent): Activity | "unreachable" {
  const wantsWork = agent.activity === "offline" && agent.chosen !== "offline";
  return wantsWork && !agent.reachable ? "unreachable" : agent.activity;
}

export function isFree(agent: LiveAgent): boolean {
  return agent.activity === "available" && agent.reachable && agent.engaged === 0;
}

/** Whether this person may set the state of that agent. */
export function maySetState(data: LiveData, agent: LiveAgent): boolean {
  if (data.me.roles.includes("administrator")) return true;
  return (
    data.me.roles.includes("supervisor") &&
    agent.queues.some((queue) => data.me.supervises.includes(queue))
  );
}

function oldest(waiting: readonly LiveWork[]): number | null {
  if (waiting.length === 0) return null;
  return Math.min(...waiting.map((work) => Date.parse(work.since)));
}
