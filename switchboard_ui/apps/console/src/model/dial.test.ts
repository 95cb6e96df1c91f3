import { describe, expect, it, vi } from "vitest";

import { ApiError, type Api } from "@comms/api";

import { DialModel, normaliseNumber } from "./dial";

function dialling(call: (to: string, key: string) => Promise<unknown>) {
  let keys = 0;
  const api = { call: vi.fn(call) };
  return { api, dial: new DialModel(api as unknown as Api, () => `key-${++keys}`) };
}

const failed = (status: number): ApiError => new ApiError({ type: "x", title: "", status });

describe("a number as typed", () => {
  it.each([
    ["202", "202"],
    [" 0221 / 471-10 ", "022147110"],
    ["+49 (0) 221 4710", "+492214710"],
    ["+49 (221) 4710", "+492214710"],
    ["0 110", "0110"],
  ])("%j is dialled as %j", (typed, dialled) => {
    expect(normaliseNumber(typed)).toBe(dialled);
  });

  it.each(["", "  ", "anna", "+", "12a", "1".repeat(33), "+49;ext=1"])("%j is none", (typed) => {
    expect(normaliseNumber(typed)).toBeNull();
  });
});

describe("calling", () => {
  it("says that the own phone rings, and empties the field", async () => {
    const { api, dial } = dialling(() => Promise.resolve({}));
    dial.type("0221 471");
    await dial.submit();
    expect(api.call).toHaveBeenCalledWith("0221471", "key-1");
    expect(dial.state.get()).toMatchObject({ to: "", ringing: "0221471", pending: false });
    dial.settle();
    expect(dial.state.get().ringing).toBeNull();
  });

  it("does not ask the platform for what is no number", async () => {
    const { api, dial } = dialling(() => Promise.resolve({}));
    dial.type("anna");
    await dial.submit();
    expect(dial.state.get().invalid).toBe(true);
    expect(api.call).not.toHaveBeenCalled();
    dial.type("20");
    expect(dial.state.get().invalid).toBe(false);
  });

  it("dials once for a double press", async () => {
    const { api, dial } = dialling(() => Promise.resolve({}));
    await Promise.all([dial.call("202"), dial.call("202")]);
    expect(api.call).toHaveBeenCalledOnce();
  });

  it("tries again with the same key while nobody knows what became of the first", async () => {
    const answers = [failed(0), failed(0), failed(409), failed(409)];
    const { api, dial } = dialling(() => Promise.reject(answers.shift()));
    for (let i = 0; i < 4; i += 1) await dial.call("202");
    expect(api.call.mock.calls.map(([, key]) => key)).toEqual(["key-1", "key-1", "key-1", "key-2"]);
  });

  it("takes a new key for another number", async () => {
    const { api, dial } = dialling(() => Promise.reject(failed(0)));
    await dial.call("202");
    await dial.call("203");
    expect(api.call.mock.calls).toEqual([
      ["202", "key-1"],
      ["203", "key-2"],
    ]);
  });
});
