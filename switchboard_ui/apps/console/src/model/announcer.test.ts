import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { LiveClient } from "@comms/api";
import { aQueue, aSnapshot, aWork, ScriptedTransport } from "@comms/api/testing";

import { Announcer } from "./announcer";

function announcing() {
  const transport = new ScriptedTransport();
  const client = new LiveClient(transport);
  const announcer = new Announcer(client.state, 10_000);
  const heard: string[] = [];
  announcer.announcement.subscribe(() => {
    const news = announcer.announcement.get();
    if (news) heard.push(`${news.calls} ${news.queues.join()}`);
  });
  let seq = 1;
  const arrives = (id: string, queue = "zentrale"): void => {
    seq += 1;
    transport.platform.event({ seq, type: "work", data: aWork(id, { queue }) });
  };
  transport.platform.snapshot(
    aSnapshot({ queues: [aQueue("zentrale", { waiting: [aWork("old")] }), aQueue("kfz")] }),
  );
  return { announcer, arrives, heard, platform: transport.platform };
}

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

describe("new calls", () => {
  it("are told at once, those that wait already are not", () => {
    const { arrives, heard } = announcing();
    expect(heard).toEqual([]);
    arrives("a");
    expect(heard).toEqual(["1 zentrale"]);
  });

  it("are told together when many come", () => {
    const { arrives, heard } = announcing();
    arrives("a");
    arrives("b");
    arrives("c", "kfz");
    vi.advanceTimersByTime(9_999);
    expect(heard).toHaveLength(1);
    vi.advanceTimersByTime(1);
    expect(heard).toEqual(["1 zentrale", "2 zentrale,kfz"]);
    vi.advanceTimersByTime(60_000);
    expect(heard).toHaveLength(2);
    arrives("d");
    expect(heard).toHaveLength(3);
  });

  it("are no news when they only change", () => {
    const { arrives, heard } = announcing();
    arrives("old");
    expect(heard).toEqual([]);
  });

  it("are no news when they came while the connection was lost", () => {
    const { heard, platform } = announcing();
    platform.disconnected();
    platform.snapshot(aSnapshot({ queues: [aQueue("zentrale", { waiting: [aWork("x")] })] }));
    expect(heard).toEqual([]);
  });

  it("are not told after it was closed", () => {
    const { announcer, arrives, heard } = announcing();
    announcer.close();
    arrives("a");
    expect(heard).toEqual([]);
  });
});
