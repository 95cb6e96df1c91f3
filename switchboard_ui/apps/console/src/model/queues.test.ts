import { describe, expect, it } from "vitest";

import { fromSnapshot } from "@comms/api";
import { aMe, anAgent, aQueue, aSnapshot, aWork, iso, NOON } from "@comms/api/testing";

import { agentsOf, maySetState, queueRows, shownActivity, totals, waitingRows } from "./queues";

describe("the list of queues", () => {
  it("has own ones first, then open ones, then goes by title in the reader's language", () => {
    const queue = (name: string, de: string, member: boolean, open = true) =>
      aQueue(name, { title: { de, en: name }, member, open });
    const data = fromSnapshot(
      aSnapshot({
        queues: [
          queue("d", "Äpfel", false, false),
          queue("c", "Zulassung", false),
          queue("b", "Ärzte", false),
          queue("a", "Zentrale", true),
        ],
      }),
    );
    expect(queueRows(data, "de").map((row) => row.title)).toEqual([
      "Zentrale",
      "Ärzte",
      "Zulassung",
      "Äpfel",
    ]);
    expect(queueRows(data, "en").map((row) => row.title)).toEqual(["a", "b", "c", "d"]);
  });

  it("counts who waits, since when, and who could take a call", () => {
    const data = fromSnapshot(
      aSnapshot({
        queues: [
          aQueue("zentrale", {
            waiting: [
              aWork("a", { since: iso(NOON - 5000), rank: [-1, 1] }),
              aWork("b", { since: iso(NOON - 60_000) }),
            ],
          }),
        ],
        agents: [
          anAgent("free"),
          anAgent("no phone", { reachable: false }),
          anAgent("own call", { engaged: 1 }),
          anAgent("busy", { activity: "busy" }),
          anAgent("gone", { activity: "offline" }),
          anAgent("elsewhere", { queues: ["kfz"] }),
        ],
      }),
    );
    expect(queueRows(data, "de")[0]).toMatchObject({
      waiting: 2,
      longestSince: NOON - 60_000,
      staffing: { free: 1, present: 4 },
    });
    expect(totals(data)).toEqual({
      waiting: 2,
      longestSince: NOON - 60_000,
      staffing: { free: 2, present: 5 },
    });
  });

  it("claims nothing of a queue whose waiting calls one may not see", () => {
    const data = fromSnapshot(
      aSnapshot({
        queues: [
          aQueue("a", { member: false, numbers_visible: false }),
          aQueue("b", { member: false }),
        ],
      }),
    );
    const rows = queueRows(data, "de");
    expect(rows.map((row) => [row.name, row.waiting])).toEqual([
      ["b", 0],
      ["a", null],
    ]);
    expect(rows[1]?.staffing).toBeNull();
  });
});

describe("who waits", () => {
  it("has a position, the names it rings at, and the moment it waits too long", () => {
    const data = fromSnapshot(
      aSnapshot({
        agents: [anAgent("x", { name: "Mehmet Yilmaz" })],
        queues: [
          aQueue("zentrale", {
            service_level_seconds: 20,
            waiting: [
              aWork("b", { rank: [0, 2] }),
              aWork("a", { rank: [0, 1], state: "offered", agents: ["x", "unknown"] }),
            ],
          }),
        ],
      }),
    );
    expect(waitingRows(data, "zentrale")).toMatchObject([
      { id: "a", position: 1, offered: true, agents: ["Mehmet Yilmaz", "unknown"] },
      { id: "b", position: 2, offered: false, lateAt: NOON + 20_000 },
    ]);
    expect(waitingRows(data, "no such queue")).toEqual([]);
  });
});

describe("agents", () => {
  it("stay in place while their states change", () => {
    const names = (activity: "busy" | "available") =>
      agentsOf(
        fromSnapshot(
          aSnapshot({ agents: [anAgent("b"), anAgent("a", { activity }), anAgent("c")] }),
        ),
        "zentrale",
      ).map((agent) => agent.id);
    expect(names("busy")).toEqual(["a", "b", "c"]);
    expect(names("available")).toEqual(names("busy"));
  });

  it("who want to work but have no phone are not shown as signed out", () => {
    const shown = (facts: Parameters<typeof anAgent>[1]) => shownActivity(anAgent("a", facts));
    expect(shown({ activity: "offline", chosen: "available", reachable: false })).toBe("unreachable");
    expect(shown({ activity: "offline", chosen: "offline", reachable: false })).toBe("offline");
    expect(shown({ activity: "busy", chosen: "available", reachable: false })).toBe("busy");
  });

  it("are set by supervisors of one of their queues and by administrators only", () => {
    const may = (facts: Parameters<typeof aMe>[0], queues = ["zentrale", "kfz"]): boolean =>
      maySetState(fromSnapshot(aSnapshot({ me: aMe(facts) })), anAgent("x", { queues }));
    expect(may({ roles: ["staff", "agent"] })).toBe(false);
    expect(may({ roles: ["supervisor"], supervises: ["kfz"] })).toBe(true);
    expect(may({ roles: ["supervisor"], supervises: ["kfz"] }, ["migration"])).toBe(false);
    expect(may({ roles: ["staff", "administrator"] })).toBe(true);
  });
});
