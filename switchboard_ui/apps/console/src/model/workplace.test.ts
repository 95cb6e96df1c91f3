import { describe, expect, it, vi } from "vitest";

import { ApiError, type Api, type LiveCall } from "@comms/api";
import { anAgent, iso, NOON } from "@comms/api/testing";

import { otherSide, StateActions, wrapUpDone, wrapUpLeft } from "./workplace";

describe("wrap-up", () => {
  const agent = anAgent("a", {
    activity: "wrap-up",
    since: iso(NOON),
    until: iso(NOON + 10_000),
  });

  it("counts down to nought and not below", () => {
    expect([0, 1, 9500, 10_000, 99_000].map((ms) => wrapUpLeft(agent, NOON + ms))).toEqual([
      10, 10, 1, 0, 0,
    ]);
    expect(wrapUpDone(agent, NOON + 2500)).toBe(0.25);
    expect(wrapUpDone(agent, NOON + 99_000)).toBe(1);
  });

  it("is none in any other state", () => {
    expect(wrapUpLeft(anAgent("a"), NOON)).toBeNull();
  });
});

describe("the other side of a call", () => {
  const call: LiveCall = {
    id: "c",
    direction: "internal",
    state: "talking",
    since: iso(NOON),
    from_number: "201",
    to_number: "202",
    queue: null,
    from_person: { id: "anna", name: "Anna", extension: "201" },
    to_person: { id: "mehmet", name: "Mehmet", extension: "202" },
    cause: null,
  };

  it("is who was called, or who calls", () => {
    expect(otherSide(call, "anna")).toEqual({ name: "Mehmet", number: "202" });
    expect(otherSide(call, "mehmet")).toEqual({ name: "Anna", number: "201" });
  });

  it("may be unknown", () => {
    const hidden = { ...call, from_person: null, from_number: null };
    expect(otherSide(hidden, "mehmet")).toEqual({ name: null, number: null });
  });
});

describe("setting a state", () => {
  const refused = new ApiError({ type: "not-permitted", title: "", status: 403 });

  it("is pending until the platform answered, and not sent twice meanwhile", async () => {
    let answer: (value: unknown) => void = () => undefined;
    const setState = vi.fn(() => new Promise((resolve) => (answer = resolve)));
    const actions = new StateActions({ setState } as unknown as Api);
    const done = actions.setState("me", "break", "lunch");
    void actions.setState("me", "available");
    expect(actions.actions.get().get("me")).toEqual({ pending: true, failure: null });
    answer({});
    await done;
    expect(setState.mock.calls).toEqual([["me", "break", "lunch"]]);
    expect(actions.actions.get().get("me")).toEqual({ pending: false, failure: null });
  });

  it("tells a refusal beside the agent it was for", async () => {
    const setState = vi.fn(() => Promise.reject(refused));
    const actions = new StateActions({ setState } as unknown as Api);
    await actions.setState("tom.brandt", "offline");
    expect(actions.actions.get().get("tom.brandt")?.failure).toBe(refused);
    expect(actions.actions.get().has("me")).toBe(false);
  });
});
