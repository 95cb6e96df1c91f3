import { describe, expect, it } from "vitest";

import { de } from "./de";
import { en } from "./en";
import { formats, phone } from "./formats";
import { problemText } from "./problems";

describe("durations", () => {
  const { clock, spoken } = formats("de");

  it("are digits for the eye", () => {
    expect([0, 9.9, 65, 3725, -4].map(clock)).toEqual(["0:00", "0:09", "1:05", "1:02:05", "0:00"]);
  });

  it("are words for the ear", () => {
    expect([0, 65, 120, 3725].map(spoken)).toEqual([
      "0 Sekunden",
      "1 Minute 5 Sekunden",
      "2 Minuten",
      "1 Stunde 2 Minuten",
    ]);
    expect(formats("en").spoken(61)).toBe("1 minute 1 second");
  });
});

describe("days", () => {
  const now = new Date(2026, 5, 10, 0, 5);

  it("have names when they are near, by local midnight and not by 24 hours", () => {
    const { day } = formats("de");
    expect(day(new Date(2026, 5, 10, 0, 1), now)).toBe("heute");
    expect(day(new Date(2026, 5, 9, 23, 59), now)).toBe("gestern");
    expect(day(new Date(2026, 5, 1), now)).toBe("Mo., 1. Juni");
    expect(formats("en").day(new Date(2026, 5, 9), now)).toBe("yesterday");
  });
});

describe("numbers", () => {
  it("are grouped where they come from outside, and left alone otherwise", () => {
    expect(phone("+4922147110150")).toBe("+49 221 471 101 50");
    expect(phone("+492214711015")).toBe("+49 221 471 1015");
    expect(phone("+12025550123")).toBe("+1 202 555 0123");
    expect(phone("+420123456789")).toBe("+420 123 456 789");
    expect(phone("201")).toBe("201");
    expect(phone("Anna Schmidt")).toBe("Anna Schmidt");
  });

  it("follow the language", () => {
    expect(formats("de").percent(1, 3)).toBe("33\u00a0%");
    expect(formats("en").percent(1, 3)).toBe("33%");
    expect(formats("en").percent(0, 0)).toBe("0%");
  });
});

describe("problems", () => {
  it("have a text of their own in both languages", () => {
    expect(Object.keys(en.problems).sort()).toEqual(Object.keys(de.problems).sort());
  });

  it("are told by their id, with the wait where there is one", () => {
    const failure = { ids: ["too-many-attempts"], retryAfter: 6.2 };
    expect(problemText(en, failure)).toBe(
      "Too many attempts. Please wait a moment. Possible again in 7 s.",
    );
    expect(problemText(en, { ids: ["of-tomorrow", "conflict"], retryAfter: undefined })).toBe(
      en.problems["conflict"],
    );
    expect(problemText(de, { ids: ["of-tomorrow"], retryAfter: undefined })).toBe(
      de.unknownProblem,
    );
  });
});
