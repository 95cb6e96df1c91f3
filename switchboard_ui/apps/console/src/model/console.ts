import { Api, Http, LiveClient, socketTransport, Value, type LiveTransport, type Store } from "@comms/api";

import { Announcer } from "./announcer";
import { Clock } from "./clock";
import { DialModel } from "./dial";
import { HistoryModel } from "./history";
import { PreferencesModel } from "./preferences";
import { SessionModel } from "./session";
import type { Storage } from "./storage";
import { StateActions } from "./workplace";

/** Everything of one logged-in session; thrown away when it ends. */
export interface Desk {
  readonly live: LiveClient;
  readonly clock: Clock;
  readonly history: HistoryModel;
  readonly dial: DialModel;
  readonly announcer: Announcer;
  readonly states: StateActions;
  close(): void;
}

/** The console without its pictures: what lives for the whole visit, and the desk of a session. */
export class ConsoleModel {
  readonly preferences: PreferencesModel;
  readonly session: SessionModel;
  readonly api: Api;
  readonly desk: Store<Desk | null>;
  readonly #desk = new Value<Desk | null>(null);
  readonly #transport: (token: () => string | null) => LiveTransport;

  constructor(
    storage: Storage,
    options: { http?: Http; transport?: (token: () => string | null) => LiveTransport } = {},
  ) {
    this.preferences = new PreferencesModel(storage);
    this.session = new SessionModel(storage);
    const http =
      options.http ??
      new Http({ token: this.session.token, onUnauthorized: () => this.session.expired() });
    this.api = new Api(http);
    this.#transport = options.transport ?? ((token) => socketTransport(token));
    this.desk = this.#desk;
    this.session.state.subscribe(() => this.#follow());
    this.#follow();
  }

  #follow(): void {
    const loggedIn = this.session.state.get().identity !== null;
    const desk = this.#desk.get();
    if (loggedIn && desk === null) this.#desk.set(this.#open());
    else if (!loggedIn && desk !== null) {
      this.#desk.set(null);
      desk.close();
    }
  }

  #open(): Desk {
    const live = new LiveClient(this.#transport(this.session.token), {
      onSessionOver: () => this.session.expired(),
    });
    const clock = new Clock();
    const history = new HistoryModel(this.api);
    const announcer = new Announcer(live.state);
    const unsubscribe = live.state.subscribe(() => clock.setOffset(live.state.get().clockOffset));
    clock.start();
    live.start();
    return {
      live,
      clock,
      history,
      dial: new DialModel(this.api),
      announcer,
      states: new StateActions(this.api),
      close: () => {
        unsubscribe();
        announcer.close();
        history.close();
        clock.stop();
        live.close();
      },
    };
  }
}
