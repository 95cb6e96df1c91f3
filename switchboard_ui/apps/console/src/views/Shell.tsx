import { useEffect, useRef, useState } from "react";

import { Banner, Icon, IconButton, Menu, Skeleton, useFormats, useShared } from "@comms/ui";

import { commandOf, type Command } from "../model/shortcuts";
import { myAgent } from "../model/workplace";
import { shownActivity, titleOf, totals } from "../model/queues";
import { useTexts } from "../texts";
import { Brand } from "./Brand";
import { CallPanel } from "./CallPanel";
import { DialPanel } from "./DialPanel";
import { HelpDialog } from "./HelpDialog";
import { HistoryView } from "./HistoryView";
import { QueuesView } from "./QueuesView";
import { Settings } from "./Settings";
import { StatePanel } from "./StatePanel";
import { useDesk, useLiveData, useNow, usePlace, useStore } from "./hooks";

/** A short loss mends itself unseen: the banner comes after this many milliseconds. */
const GRACE_MS = 2000;

export function Shell() {
  const texts = useTexts();
  const { router } = usePlace();
  const route = useStore(router.route);
  const data = useLiveData();
  const main = useRef<HTMLElement>(null);
  const dialField = useRef<HTMLInputElement>(null);
  const [help, setHelp] = useState(false);

  useShortcuts((command) => {
    if (command === "help") setHelp(true);
    else if (command === "dial") dialField.current?.focus();
  });
  useTitle();

  return (
    <div className="shell">
      <a
        className="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        {texts.skip}
      </a>
      <Header onHelp={() => setHelp(true)} />
      <ConnectionBanner />
      <div className="desk">
        <aside className="side" aria-label={texts.side}>
          {data === null ? (
            <section className="panel">
              <Skeleton lines={4} />
            </section>
          ) : (
            <>
              <StatePanel data={data} />
              <CallPanel data={data} />
              <DialPanel data={data} fieldRef={dialField} />
            </>
          )}
        </aside>
        <main className="main" id="main" ref={main} tabIndex={-1}>
          {route.view === "history" ? (
            <HistoryView data={data} />
          ) : (
            <QueuesView data={data} selected={route.queue} />
          )}
        </main>
      </div>
      <Announcements />
      <HelpDialog isOpen={help} onClose={() => setHelp(false)} />
    </div>
  );
}

function Header({ onHelp }: { onHelp: () => void }) {
  const texts = useTexts();
  const { model, router } = usePlace();
  const route = useStore(router.route);
  const me = useLiveData()?.me;
  return (
    <header className="head">
      <Brand />
      <nav className="nav" aria-label={texts.nav.label}>
        <a
          className="nav-link"
          href="#/queues"
          aria-current={route.view === "queues" ? "page" : undefined}
        >
          <Icon name="queue" />
          {texts.nav.queues}
        </a>
        <a
          className="nav-link"
          href="#/history"
          aria-current={route.view === "history" ? "page" : undefined}
        >
          <Icon name="history" />
          {texts.nav.history}
        </a>
      </nav>
      <div className="head-end">
        <ConnectionMark />
        <Settings model={model} />
        <IconButton icon="help" label={texts.header.help} onPress={onHelp} />
        <Menu
          label={texts.header.account(me?.name ?? "")}
          entries={[{ id: "logout", text: texts.header.logout, icon: "logout" }]}
          onAction={() => void model.session.logout(model.api)}
        >
          <IconButton icon="person" label={texts.header.account(me?.name ?? "")} />
        </Menu>
        {me && (
          <span className="head-person">
            <span className="head-name">{me.name}</span>
            {me.extension && (
              <span className="head-extension">{texts.header.extension(me.extension)}</span>
            )}
          </span>
        )}
      </div>
    </header>
  );
}

function ConnectionMark() {
  const texts = useTexts();
  const { status } = useStore(useDesk().live.state);
  const live = status.kind === "live";
  return (
    <span className={live ? "connection connection-live" : "connection"}>
      <Icon name={live ? "signal" : "no-signal"} />
      <span className="connection-text">
        {live
          ? texts.connection.live
          : status.kind === "lost"
            ? texts.connection.lostShort
            : texts.connection.connecting}
      </span>
    </span>
  );
}

/** Says calmly that what is shown may be old, and since when. */
function ConnectionBanner() {
  const texts = useTexts();
  const formats = useFormats();
  const { status, data, clockOffset } = useStore(useDesk().live.state);
  const now = useNow();
  if (status.kind === "connecting" && status.failed) {
    return (
      <Banner tone="warning" icon="no-signal">
        {texts.connection.neverConnected}
      </Banner>
    );
  }
  if (status.kind === "lost") {
    const since = status.since + clockOffset;
    if (now - since < GRACE_MS) return null;
    return (
      <Banner tone="warning" icon="no-signal">
        {texts.connection.lost(formats.time(new Date(status.since)))}{" "}
        <span aria-hidden="true" className="figure">
          ({formats.clock((now - since) / 1000)})
        </span>
      </Banner>
    );
  }
  if (data?.queuesCurrent === false) {
    return (
      <Banner tone="warning" icon="clock">
        {texts.connection.stale}
      </Banner>
    );
  }
  return null;
}

/** For people who listen: new waiting calls, and the own state when it changes. */
function Announcements() {
  const texts = useTexts();
  const shared = useShared();
  const formats = useFormats();
  const desk = useDesk();
  const data = useLiveData();
  const news = useStore(desk.announcer.announcement);
  const agent = data === null ? null : myAgent(data);
  const names = (news?.queues ?? []).map((name) => {
    const queue = data?.queues.get(name);
    return queue ? titleOf(queue, formats.locale) : name;
  });
  return (
    <>
      <div className="ui-visually-hidden" role="status" aria-live="polite">
        {news && <p key={news.serial}>{texts.announce(news.calls, formats.list(names))}</p>}
      </div>
      <div className="ui-visually-hidden" role="status" aria-live="polite">
        {agent && <p>{texts.state.changed(shared.activity[shownActivity(agent)])}</p>}
      </div>
    </>
  );
}

function useShortcuts(handle: (command: Command) => void): void {
  const { model, router, desk } = usePlace();
  const { singleKeys } = useStore(model.preferences.state);
  const latest = useRef(handle);
  useEffect(() => {
    latest.current = handle;
  });
  useEffect(() => {
    const listen = (event: KeyboardEvent): void => {
      const command = commandOf(
        {
          key: event.key,
          ctrlKey: event.ctrlKey,
          altKey: event.altKey,
          metaKey: event.metaKey,
          repeat: event.repeat,
          elsewhere: event.defaultPrevented || belongsElsewhere(event.target),
        },
        singleKeys,
      );
      if (command === null) return;
      event.preventDefault();
      if (command === "queues") router.go({ view: "queues", queue: null });
      else if (command === "history") router.go({ view: "history" });
      else if (command === "available" || command === "break" || command === "offline") {
        void desk.states.setState("me", command);
      } else if (command === "finish-wrap-up") void desk.states.finishWrapUp();
      latest.current(command);
    };
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  }, [desk, router, singleKeys]);
}

function belongsElsewhere(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  return (
    target.isContentEditable ||
    target.closest("input, textarea, select, [role=dialog], [role=menu], [role=listbox]") !== null
  );
}

/** How many wait stands in the tab's title, so that it is seen from elsewhere. */
function useTitle(): void {
  const texts = useTexts();
  const data = useLiveData();
  const { router } = usePlace();
  const { view } = useStore(router.route);
  const waiting = data === null ? 0 : totals(data).waiting;
  useEffect(() => {
    const count = waiting > 0 ? `(${waiting}) ` : "";
    document.title = `${count}${texts.nav[view]} · ${texts.product}`;
  }, [waiting, texts, view]);
}
