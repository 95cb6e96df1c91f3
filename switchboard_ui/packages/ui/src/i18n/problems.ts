import type { SharedTexts } from "./de";

/** What is known of an error; `ApiError` of @comms/api has this shape. */
export interface Failure {
  /** The most telling first. */
  readonly ids: readonly string[];
  readonly retryAfter: number | undefined;
}

/** The text a person reads for an error; its id decides, never the server's own words. */
export function problemText(shared: SharedTexts, failure: Failure): string {
  const known = failure.ids.find((id) => id in shared.problems);
  const text = known === undefined ? shared.unknownProblem : (shared.problems[known] as string);
  if (failure.retryAfter === undefined || failure.retryAfter <= 0) return text;
  return `${text} ${shared.retryAfter(Math.ceil(failure.retryAfter))}`;
}
