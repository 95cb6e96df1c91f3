import { Value, type Store } from "@comms/api";

import type { Storage } from "./storage";

export type Locale = "de" | "en";
export type Theme = "system" | "light" | "dark";

export interface Preferences {
  locale: Locale;
  theme: Theme;
  /** Whether single keys are shortcuts (WCAG 2.1.4: they can be switched off). */
  singleKeys: boolean;
}

const DEFAULTS: Preferences = { locale: "de", theme: "system", singleKeys: true };

/** What a person chose for this browser. */
export class PreferencesModel {
  readonly state: Store<Preferences>;
  readonly #state: Value<Preferences>;
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
    this.#state = new Value(parse(storage.read("preferences")));
    this.state = this.#state;
  }

  change(part: Partial<Preferences>): void {
    this.#state.patch(part);
    this.#storage.write("preferences", JSON.stringify(this.#state.get()));
  }
}

function parse(raw: string | null): Preferences {
  if (raw === null) return DEFAULTS;
  try {
    const stored = JSON.parse(raw) as Partial<Preferences>;
    return {
      locale: stored.locale === "en" ? "en" : "de",
      theme: stored.theme === "light" || stored.theme === "dark" ? stored.theme : "system",
      singleKeys: stored.singleKeys !== false,
    };
  } catch {
    return DEFAULTS;
  }
}
