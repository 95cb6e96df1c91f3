import { describe, expect, it, vi } from "vitest";

import { ApiError, Http, TIMED_OUT, UNEXPECTED, UNREACHABLE } from "./http";

function answering(response: Response | Error, options: { token?: string } = {}) {
  const fetch = vi.fn<typeof globalThis.fetch>(() =>
    response instanceof Error ? Promise.reject(response) : Promise.resolve(response),
  );
  const unauthorized = vi.fn();
  const http = new Http({ fetch, token: () => options.token ?? null, onUnauthorized: unauthorized });
  return { fetch, http, unauthorized };
}

const problem = (status: number, type: string, headers: Record<string, string> = {}): Response =>
  new Response(JSON.stringify({ type, title: "T", status }), {
    status,
    headers: { "Content-Type": "application/problem+json", ...headers },
  });

async function failureOf(promise: Promise<unknown>): Promise<ApiError> {
  const error = await promise.then(
    () => new Error("it succeeded"),
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ApiError);
  return error as ApiError;
}

describe("a request", () => {
  it("carries token, body, query and idempotency key", async () => {
    const { fetch, http } = answering(Response.json({ ok: true }), { token: "secret" });
    const answer = await http.request("POST", "/calls", {
      body: { to: "202" },
      query: { a: 1, none: undefined, empty: "" },
      idempotencyKey: "k",
    });
    expect(answer).toEqual({ ok: true });
    const [url, init] = fetch.mock.calls[0] ?? [];
    expect(url).toBe("/api/v1/calls?a=1");
    expect(init).toMatchObject({
      method: "POST",
      body: '{"to":"202"}',
      headers: { Authorization: "Bearer secret", "Idempotency-Key": "k" },
    });
  });

  it("may be answered with nothing", async () => {
    const { http } = answering(new Response(null, { status: 204 }));
    expect(await http.request("POST", "/logout")).toBeUndefined();
  });
});

describe("a failure", () => {
  it("has the id that its problem type ends with", async () => {
    for (const type of ["urn:comms:problem:no-device", "/problems/no-device", "no-device"]) {
      const { http } = answering(problem(409, type));
      expect((await failureOf(http.request("GET", "/x"))).ids).toEqual(["no-device"]);
    }
  });

  it("is told by its fields first", async () => {
    const body = {
      type: "urn:comms:problem:conflict",
      title: "T",
      status: 409,
      errors: [{ field: "to", code: "no-device", message: "" }],
    };
    const { http } = answering(Response.json(body, { status: 409 }));
    expect((await failureOf(http.request("POST", "/x"))).ids).toEqual(["no-device", "conflict"]);
  });

  it("tells when to try again", async () => {
    const { http } = answering(problem(429, "too-many-attempts", { "Retry-After": "7" }));
    expect((await failureOf(http.request("POST", "/login"))).retryAfter).toBe(7);
  });

  it("ends the session where a token was refused, and only then", async () => {
    const withToken = answering(problem(401, "not-authenticated"), { token: "old" });
    await failureOf(withToken.http.request("GET", "/me"));
    expect(withToken.unauthorized).toHaveBeenCalledOnce();
    const without = answering(problem(401, "login-failed"));
    await failureOf(without.http.request("POST", "/login"));
    expect(without.unauthorized).not.toHaveBeenCalled();
  });

  it("is recognised though a proxy answers in its own words", async () => {
    const { http } = answering(new Response("<h1>Bad Gateway</h1>", { status: 502 }));
    expect(await failureOf(http.request("GET", "/x"))).toMatchObject({ ids: [UNEXPECTED], status: 502 });
  });

  it("is recognised where nobody answers", async () => {
    const { http } = answering(new TypeError("fetch failed"));
    expect(await failureOf(http.request("GET", "/x"))).toMatchObject({ ids: [UNREACHABLE], status: 0 });
  });

  it("is a time-out where the answer does not come", async () => {
    const fetch: typeof globalThis.fetch = (_, init) =>
      new Promise((_resolve, reject) => {
        init?.signal?.addEventListener("abort", () => reject(new DOMException("", "TimeoutError")));
      });
    const http = new Http({ fetch, timeoutMs: 5 });
    expect((await failureOf(http.request("GET", "/x"))).ids).toEqual([TIMED_OUT]);
  });
});
