import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { NOON } from "@comms/api/testing";

import { Clock } from "./clock";
import { parseRoute, routeHash } from "./router";
import { commandOf, SHORTCUTS, type KeyPress } from "./shortcuts";
import { de } from "../texts/de";
import { en } from "../texts/en";

describe("the clock", () => {
  beforeEach(() => {
    vi.useFakeTimers({ now: NOON + 300 });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("steps on the full second of the platform's clock", () => {
    const clock = new Clock();
    const times: number[] = [];
    clock.time.subscribe(() => times.push(clock.time.get() - NOON));
    clock.start();
    vi.advanceTimersByTime(1700);
    expect(times).toEqual([1000, 2000]);
    clock.setOffset(60_000);
    expect(times.at(-1)).toBe(62_000);
    clock.setOffset(60_400);
    vi.advanceTimersByTime(1000);
    expect(times.at(-1)).toBe(63_000);
    clock.stop();
    vi.advanceTimersByTime(5000);
    expect(times.at(-1)).toBe(63_000);
  });
});

describe("shortcuts", () => {
  const press = (key: string, facts: Partial<KeyPress> = {}): KeyPress => ({
    key,
    ctrlKey: false,
    altKey: false,
    metaKey: false,
    repeat: false,
    elsewhere: false,
    ...facts,
  });

  it("have one key each", () => {
    expect(new Set(SHORTCUTS.map(({ key }) => key)).size).toBe(SHORTCUTS.length);
    for (const { key, command } of SHORTCUTS) expect(commandOf(press(key), true)).toBe(command);
  });

  it("leave keys alone that are for somebody else, and all when switched off", () => {
    for (const facts of [{ ctrlKey: true }, { altKey: true }, { metaKey: true }, { repeat: true }, { elsewhere: true }]) {
      expect(commandOf(press("1", facts), true)).toBeNull();
    }
    expect(commandOf(press("x"), true)).toBeNull();
    expect(commandOf(press("1"), false)).toBeNull();
  });
});

describe("addresses", () => {
  it("lead back to where they came from", () => {
    for (const route of [
      { view: "history" },
      { view: "queues", queue: null },
      { view: "queues", queue: "a/b ü" },
    ] as const) {
      expect(parseRoute(routeHash(route))).toEqual(route);
    }
  });

  it("lead to the queues when they make no sense", () => {
    for (const hash of ["", "#", "#/nowhere", "#/queues/%"]) {
      expect(parseRoute(hash)).toEqual({ view: "queues", queue: null });
    }
  });
});

describe("texts", () => {
  it("say how many calls are new in both languages", () => {
    expect(de.announce(1, "Zentrale")).toBe("1 neuer Anruf wartet: Zentrale");
    expect(en.announce(2, "Switchboard")).toBe("2 new calls are waiting: Switchboard");
  });
});
