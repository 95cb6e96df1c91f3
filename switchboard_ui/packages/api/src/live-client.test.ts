import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { LiveClient } from "./live-client";
import { aSnapshot, aWork, iso, NOON, ScriptedTransport } from "./testing";
import type { LiveEvent } from "./types";

const work = (seq: number, id: string): LiveEvent => ({ seq, type: "work", data: aWork(id) });

function started(onSessionOver: (reason: string) => void = () => undefined) {
  const transport = new ScriptedTransport();
  const client = new LiveClient(transport, { onSessionOver });
  client.start();
  const waiting = (): string[] =>
    (client.state.get().data?.queues.get("zentrale")?.waiting ?? []).map(({ id }) => id);
  return { client, transport, platform: transport.platform, waiting };
}

beforeEach(() => {
  vi.useFakeTimers({ now: NOON });
});

afterEach(() => {
  vi.useRealTimers();
});

describe("the usual course", () => {
  it("connects, shows the snapshot, follows events", () => {
    const { client, platform, transport, waiting } = started();
    expect(client.state.get().status).toEqual({ kind: "connecting", failed: false });
    platform.connected();
    platform.snapshot(aSnapshot({ seq: 4 }));
    platform.event(work(5, "a"));
    expect(client.state.get().status.kind).toBe("live");
    expect(waiting()).toEqual(["a"]);
    expect(transport.asked).toEqual(["connect"]);
  });

  it("does not wait for a snapshot that came before it heard of the connection", () => {
    const { platform, transport, waiting } = started();
    for (const seq of [1, 20]) {
      platform.snapshot(aSnapshot({ seq }));
      platform.connected();
      platform.event(work(seq + 1, `after ${seq}`));
      expect(waiting()).toEqual([`after ${seq}`]);
      platform.disconnected();
    }
    vi.advanceTimersByTime(60_000);
    expect(transport.asked).toEqual(["connect"]);
  });

  it("learns how far the platform's clock is from its own", () => {
    const { client, platform } = started();
    platform.snapshot(aSnapshot({ now: iso(NOON + 90_000) }));
    expect(client.state.get().clockOffset).toBe(90_000);
  });

  it("ignores events it has seen, without telling anybody", () => {
    const { client, platform, waiting } = started();
    platform.snapshot(aSnapshot({ seq: 1 }));
    platform.event(work(2, "a"));
    const heard = vi.fn();
    client.state.subscribe(heard);
    platform.event(work(2, "b"));
    platform.event(work(1, "c"));
    expect(waiting()).toEqual(["a"]);
    expect(heard).not.toHaveBeenCalled();
  });
});

describe("a gap", () => {
  it("asks once for a snapshot and changes nothing until it comes", () => {
    const { platform, transport, waiting } = started();
    platform.snapshot(aSnapshot({ seq: 1 }));
    platform.event(work(3, "missed one"));
    platform.event(work(4, "b"));
    platform.event(work(2, "too late"));
    expect(transport.asked).toEqual(["connect", "resync"]);
    expect(waiting()).toEqual([]);
    platform.snapshot(aSnapshot({ seq: 9 }));
    platform.event(work(10, "c"));
    expect(waiting()).toEqual(["c"]);
    expect(transport.asked).toEqual(["connect", "resync"]);
  });

  it("asks again when the snapshot does not come", () => {
    const { platform, transport } = started();
    platform.snapshot(aSnapshot({ seq: 1 }));
    platform.event(work(3, "a"));
    vi.advanceTimersByTime(4999);
    expect(transport.asked).toEqual(["connect", "resync"]);
    vi.advanceTimersByTime(1);
    expect(transport.asked).toEqual(["connect", "resync", "resync"]);
    platform.snapshot(aSnapshot({ seq: 9 }));
    vi.advanceTimersByTime(60_000);
    expect(transport.asked).toHaveLength(3);
  });

  it("asks when the snapshot after connecting does not come", () => {
    const { platform, transport } = started();
    platform.connected();
    vi.advanceTimersByTime(5000);
    expect(transport.asked).toEqual(["connect", "resync"]);
  });
});

describe("a lost connection", () => {
  it("keeps the last known state and says since when it is old", () => {
    const { client, platform, waiting } = started();
    platform.snapshot(aSnapshot({ seq: 1 }));
    platform.event(work(2, "a"));
    vi.advanceTimersByTime(1000);
    platform.disconnected();
    vi.advanceTimersByTime(30_000);
    platform.disconnected();
    expect(client.state.get().status).toEqual({ kind: "lost", since: NOON + 1000 });
    expect(waiting()).toEqual(["a"]);
  });

  it("is live again with the next snapshot, which replaces everything", () => {
    const { client, platform, waiting } = started();
    platform.snapshot(aSnapshot({ seq: 50 }));
    platform.event(work(51, "gone meanwhile"));
    platform.disconnected();
    platform.connected();
    expect(client.state.get().status.kind).toBe("lost");
    platform.snapshot(aSnapshot({ seq: 1 }));
    platform.event(work(2, "new"));
    expect(client.state.get().status).toEqual({ kind: "live" });
    expect(waiting()).toEqual(["new"]);
  });

  it("asks for nothing while there is nobody to ask", () => {
    const { platform, transport } = started();
    platform.snapshot(aSnapshot({ seq: 1 }));
    platform.event(work(3, "gap"));
    platform.disconnected();
    vi.advanceTimersByTime(60_000);
    expect(transport.asked).toEqual(["connect", "resync"]);
  });

  it("says when not even the first connection came about", () => {
    const { client, platform } = started();
    platform.disconnected();
    expect(client.state.get().status).toEqual({ kind: "connecting", failed: true });
  });
});

describe("the end", () => {
  it("tells that the session is over", () => {
    const over = vi.fn();
    started(over).platform.sessionOver("revoked");
    expect(over).toHaveBeenCalledWith("revoked");
  });

  it("hears nothing after it was closed", () => {
    const over = vi.fn();
    const { client, platform, transport } = started(over);
    platform.connected();
    client.close();
    platform.snapshot(aSnapshot());
    platform.sessionOver("expired");
    platform.disconnected();
    vi.advanceTimersByTime(60_000);
    expect(client.state.get().data).toBeNull();
    expect(over).not.toHaveBeenCalled();
    expect(transport.asked).toEqual(["connect", "close"]);
  });
});
