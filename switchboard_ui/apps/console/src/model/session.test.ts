import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { ApiError, type Api } from "@comms/api";
import { iso, NOON } from "@comms/api/testing";

import { PreferencesModel } from "./preferences";
import { SessionModel } from "./session";
import type { Storage } from "./storage";

function memory(content: Record<string, string> = {}): Storage & { content: Record<string, string> } {
  return {
    content,
    read: (key) => content[key] ?? null,
    write: (key, value) => {
      if (value === null) delete content[key];
      else content[key] = value;
    },
  };
}

const answer = { token: "t", expires_at: iso(NOON + 60_000) };

beforeEach(() => {
  vi.useFakeTimers({ now: NOON });
});

afterEach(() => {
  vi.useRealTimers();
});

describe("logging in", () => {
  it("keeps the token over a reload, until it expires", async () => {
    const storage = memory();
    const login = vi.fn(() => Promise.resolve(answer));
    await new SessionModel(storage).login({ login } as unknown as Api, " anna.schmidt ", "p w ");
    expect(login).toHaveBeenCalledWith("anna.schmidt", "p w ");
    expect(new SessionModel(storage).token()).toBe("t");
    vi.advanceTimersByTime(60_000);
    expect(new SessionModel(storage).token()).toBeNull();
    expect(storage.content).toEqual({});
  });

  it("tells why it failed, and forgets that with the next try", async () => {
    const refused = new ApiError({ type: "login-failed", title: "", status: 401 });
    const login = vi.fn().mockRejectedValueOnce(refused).mockResolvedValueOnce(answer);
    const session = new SessionModel(memory());
    await session.login({ login } as unknown as Api, "a", "b");
    expect(session.state.get()).toMatchObject({ identity: null, failure: refused, pending: false });
    await session.login({ login } as unknown as Api, "a", "b");
    expect(session.state.get()).toMatchObject({ identity: { token: "t" }, failure: null });
  });

  it("is not sent twice by a double press", async () => {
    const login = vi.fn(() => Promise.resolve(answer));
    const session = new SessionModel(memory());
    const api = { login } as unknown as Api;
    await Promise.all([session.login(api, "a", "b"), session.login(api, "a", "b")]);
    expect(login).toHaveBeenCalledOnce();
  });
});

describe("the end of a session", () => {
  const stored = { session: JSON.stringify({ token: "t", expiresAt: NOON + 1000 }) };

  it("by logging out is at once, and does not need the platform", async () => {
    const storage = memory({ ...stored });
    const session = new SessionModel(storage);
    const logout = vi.fn(() => Promise.reject(new ApiError({ type: "x", title: "", status: 0 })));
    const done = session.logout({ logout } as unknown as Api);
    expect(session.token()).toBeNull();
    await done;
    expect(session.state.get().ended).toBeNull();
    expect(storage.content).toEqual({});
  });

  it("by expiry is told at the log-in", () => {
    const session = new SessionModel(memory({ ...stored }));
    session.expired();
    expect(session.state.get()).toMatchObject({ identity: null, ended: "expired" });
  });
});

describe("what was stored", () => {
  it.each(["", "null", "{", '{"token":1}', '{"token":"t"}'])("is thrown away if it is %j", (raw) => {
    const storage = memory({ session: raw, preferences: raw });
    expect(new SessionModel(storage).token()).toBeNull();
    expect(new PreferencesModel(storage).state.get().locale).toBe("de");
  });

  it("keeps language, appearance and keys", () => {
    const storage = memory();
    new PreferencesModel(storage).change({ locale: "en", theme: "dark", singleKeys: false });
    expect(new PreferencesModel(storage).state.get()).toEqual({
      locale: "en",
      theme: "dark",
      singleKeys: false,
    });
  });
});
