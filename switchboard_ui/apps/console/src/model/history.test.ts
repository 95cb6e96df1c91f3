import { describe, expect, it, vi } from "vitest";

import { ApiError, type Api, type CallFilter, type CallItem, type CallPage } from "@comms/api";

import { callBackNumber, daysOf, HistoryModel, startOf } from "./history";

function aCall(id: string, facts: Partial<CallItem> = {}): CallItem {
  return {
    id,
    direction: "inbound",
    from_number: "+49221555",
    to_number: "160",
    from_person: null,
    to_person: null,
    started: "2026-06-01T10:00:00Z",
    answered: null,
    ended: "2026-06-01T10:01:00Z",
    ended_by: "caller",
    cause: "abandoned",
    queue: null,
    agent: null,
    waiting: null,
    ringing: null,
    talking: null,
    wrap_up: null,
    ...facts,
  };
}

function history(calls: (filter: CallFilter, signal?: AbortSignal) => Promise<CallPage>) {
  const api = { calls: vi.fn(calls) };
  return { api, model: new HistoryModel(api as unknown as Api) };
}

const refused = new ApiError({ type: "unavailable", title: "", status: 503 });

describe("paging", () => {
  it("goes on where the page before ended, until the end", async () => {
    const pages: Record<string, CallPage> = {
      first: { items: [aCall("a")], next: "p2" },
      p2: { items: [aCall("b")], next: null },
    };
    const { api, model } = history((filter) => Promise.resolve(pages[filter.cursor ?? "first"]!));
    await model.load();
    await model.more();
    await model.more();
    expect(model.state.get().calls.map(({ id }) => id)).toEqual(["a", "b"]);
    expect(api.calls).toHaveBeenCalledTimes(2);
  });

  it("keeps what is there when the next page cannot be had, and can try again", async () => {
    let fails = true;
    const { model } = history((filter) => {
      if (filter.cursor === undefined) return Promise.resolve({ items: [aCall("a")], next: "n" });
      return fails ? Promise.reject(refused) : Promise.resolve({ items: [aCall("b")], next: null });
    });
    await model.load();
    await model.more();
    expect(model.state.get()).toMatchObject({ phase: "failed-more", failure: refused });
    expect(model.state.get().calls).toHaveLength(1);
    fails = false;
    await model.more();
    expect(model.state.get()).toMatchObject({ phase: "idle", failure: null });
    expect(model.state.get().calls).toHaveLength(2);
  });
});

describe("filters", () => {
  it("are sent where they narrow, and start anew", async () => {
    const { api, model } = history(() => Promise.resolve({ items: [], next: null }));
    await model.filter({ direction: "inbound", queue: "zentrale" });
    expect(api.calls.mock.calls[0]?.[0]).toEqual({
      limit: 50,
      direction: "inbound",
      queue: "zentrale",
    });
  });

  it("count periods by local midnight", () => {
    const now = new Date(2026, 2, 3, 23, 30);
    expect(startOf("all", now)).toBeNull();
    expect(startOf("today", now)).toEqual(new Date(2026, 2, 3));
    expect(startOf("week", now)).toEqual(new Date(2026, 1, 25));
  });

  it("drop the answer to a question that is no longer asked", async () => {
    const waiting: ((page: CallPage) => void)[] = [];
    const { model } = history(() => new Promise((resolve) => waiting.push(resolve)));
    const slow = model.load();
    const wanted = model.filter({ cause: "abandoned" });
    waiting[1]?.({ items: [aCall("wanted")], next: null });
    waiting[0]?.({ items: [aCall("stale")], next: null });
    await Promise.all([slow, wanted]);
    expect(model.state.get().calls.map(({ id }) => id)).toEqual(["wanted"]);
  });
});

describe("calling back", () => {
  const anna = { id: "anna", name: "Anna", extension: "201" };

  it("calls the other side, by extension where it has one", () => {
    expect(callBackNumber(aCall("a"), "anna")).toBe("+49221555");
    expect(callBackNumber(aCall("a", { from_person: anna, to_number: "110" }), "anna")).toBe("110");
    expect(callBackNumber(aCall("a", { from_person: anna }), "mehmet")).toBe("201");
    expect(callBackNumber(aCall("a", { from_number: null }), "anna")).toBeNull();
  });
});

describe("days", () => {
  it("hold their calls in the order they come", () => {
    const at = (day: number, hour: number): string => new Date(2026, 5, day, hour).toISOString();
    const days = daysOf([
      aCall("c", { started: at(2, 9) }),
      aCall("b", { started: at(2, 1) }),
      aCall("a", { started: at(1, 23) }),
    ]);
    expect(days.map((day) => day.calls.map(({ id }) => id))).toEqual([["c", "b"], ["a"]]);
  });
});
