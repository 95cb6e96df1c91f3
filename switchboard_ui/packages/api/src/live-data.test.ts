import { describe, expect, it } from "vitest";

import { applyEvent, fromSnapshot, type LiveData } from "./live-data";
import { anAgent, aQueue, aSnapshot, aWork, iso, NOON } from "./testing";
import type { LiveEvent, Snapshot } from "./types";

function after(start: Snapshot, ...events: LiveEvent[]): LiveData {
  return events.reduce((data, event) => {
    const step = applyEvent(data, event);
    if (step.kind !== "applied") throw new Error(`not applied: ${step.kind}`);
    return step.data;
  }, fromSnapshot(start));
}

const ids = (data: LiveData, queue = "zentrale"): string[] =>
  (data.queues.get(queue)?.waiting ?? []).map((work) => work.id);

describe("numbers of messages", () => {
  const data = fromSnapshot(aSnapshot({ seq: 7 }));
  const event = (seq: number): LiveEvent => ({ seq, type: "work", data: aWork("a") });

  it("applies the next one", () => {
    expect(applyEvent(data, event(8))).toMatchObject({ kind: "applied", data: { seq: 8 } });
  });

  it("knows what it has seen", () => {
    expect(applyEvent(data, event(7)).kind).toBe("duplicate");
    expect(applyEvent(data, event(3)).kind).toBe("duplicate");
  });

  it("tells a gap and changes nothing", () => {
    expect(applyEvent(data, event(9))).toEqual({ kind: "gap", expected: 8, received: 9 });
    expect(ids(data)).toEqual([]);
  });
});

describe("snapshot and events equal a fresh snapshot", () => {
  it("keeps the order of service by rank, then by id", () => {
    const data = after(
      aSnapshot(),
      { seq: 2, type: "work", data: aWork("late", { rank: [0, 9] }) },
      { seq: 3, type: "work", data: aWork("b", { rank: [0, 2] }) },
      { seq: 4, type: "work", data: aWork("a", { rank: [0, 2] }) },
      { seq: 5, type: "work", data: aWork("urgent", { rank: [-5, 10] }) },
    );
    expect(ids(data)).toEqual(["urgent", "a", "b", "late"]);
  });

  it("sorts a snapshot that is not in order", () => {
    const waiting = [aWork("b", { rank: [0, 2] }), aWork("a", { rank: [0, 1] })];
    expect(ids(after(aSnapshot({ queues: [aQueue("zentrale", { waiting })] })))).toEqual(["a", "b"]);
  });

  it("replaces work whose state changed and keeps its place", () => {
    const data = after(
      aSnapshot({ queues: [aQueue("zentrale", { waiting: [aWork("a"), aWork("b", { rank: [0, 2] })] })] }),
      { seq: 2, type: "work", data: aWork("a", { state: "offered", agents: ["x"] }) },
    );
    expect(ids(data)).toEqual(["a", "b"]);
    expect(data.queues.get("zentrale")?.waiting[0]).toMatchObject({ state: "offered", agents: ["x"] });
  });

  it("moves work between queues", () => {
    const data = after(
      aSnapshot({ queues: [aQueue("zentrale", { waiting: [aWork("a")] }), aQueue("kfz")] }),
      { seq: 2, type: "work_closed", data: { id: "a", queue: "zentrale", outcome: "moved" } },
      { seq: 3, type: "work", data: aWork("a", { queue: "kfz" }) },
    );
    expect([ids(data), ids(data, "kfz")]).toEqual([[], ["a"]]);
  });

  it("changes a queue's facts and keeps who waits", () => {
    const { waiting: _, ...facts } = aQueue("zentrale", { answered: 3 });
    const data = after(aSnapshot({ queues: [aQueue("zentrale", { waiting: [aWork("a")] })] }), {
      seq: 2,
      type: "queue",
      data: facts,
    });
    expect(data.queues.get("zentrale")?.answered).toBe(3);
    expect(ids(data)).toEqual(["a"]);
  });

  it("starts a new queue empty, and takes queues and agents out", () => {
    const { waiting: _, ...facts } = aQueue("kfz");
    const data = after(
      aSnapshot(),
      { seq: 2, type: "queue", data: facts },
      { seq: 3, type: "queue_removed", data: { id: "zentrale" } },
      { seq: 4, type: "agent", data: anAgent("new") },
      { seq: 5, type: "agent_removed", data: { id: "anna.schmidt" } },
    );
    expect([...data.queues.keys()]).toEqual(["kfz"]);
    expect(ids(data, "kfz")).toEqual([]);
    expect([...data.agents.keys()]).toEqual(["new"]);
  });

  it("takes out own calls that ended", () => {
    const call = {
      id: "c",
      direction: "inbound" as const,
      state: "talking" as const,
      since: iso(NOON),
      from_number: null,
      to_number: null,
      queue: null,
      from_person: null,
      to_person: null,
      cause: null,
    };
    const talking = after(aSnapshot(), { seq: 2, type: "call", data: call });
    expect(talking.calls.get("c")?.state).toBe("talking");
    const step = applyEvent(talking, { seq: 3, type: "call", data: { ...call, state: "ended" } });
    expect(step.kind === "applied" && step.data.calls.size).toBe(0);
  });

  it("notes whether the queues are up to date", () => {
    const data = after(aSnapshot(), { seq: 2, type: "queues_current", data: { current: false } });
    expect(data.queuesCurrent).toBe(false);
  });

  it("counts an event of a kind it does not know, and ignores a queue one may not see", () => {
    const data = after(
      aSnapshot(),
      { seq: 2, type: "of-tomorrow", data: {} } as unknown as LiveEvent,
      { seq: 3, type: "work", data: aWork("a", { queue: "secret" }) },
    );
    expect(data.seq).toBe(3);
    expect([...data.queues.keys()]).toEqual(["zentrale"]);
  });
});
