import { Value, type Store } from "@comms/api";

export type Route = { view: "queues"; queue: string | null } | { view: "history" };

/** `#/queues/zentrale` and `#/history`; anything else is the list of queues. */
export function parseRoute(hash: string): Route {
  const [view, name] = hash.replace(/^#\/?/, "").split("/");
  if (view === "history") return { view: "history" };
  return { view: "queues", queue: name ? decodeSafely(name) : null };
}

export function routeHash(route: Route): string {
  if (route.view === "history") return "#/history";
  return route.queue === null ? "#/queues" : `#/queues/${encodeURIComponent(route.queue)}`;
}

function decodeSafely(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** Where the page is, kept in the address so that it can be linked to and gone back from. */
export class Router {
  readonly route: Store<Route>;
  readonly #route: Value<Route>;
  readonly #window: Pick<Window, "location" | "history" | "addEventListener">;

  constructor(window: Pick<Window, "location" | "history" | "addEventListener">) {
    this.#window = window;
    this.#route = new Value(parseRoute(window.location.hash));
    this.route = this.#route;
    window.addEventListener("hashchange", () => {
      this.#route.set(parseRoute(window.location.hash));
    });
  }

  go(route: Route): void {
    this.#window.location.hash = routeHash(route);
  }

  /** Like `go`, but Back does not lead through it: for moving within one list. */
  replace(route: Route): void {
    this.#window.history.replaceState(null, "", routeHash(route));
    this.#route.set(route);
  }
}
