import { useEffect } from "react";

import {
  Button,
  Empty,
  Failed,
  Icon,
  IconButton,
  InlineProblem,
  Select,
  Skeleton,
  useFormats,
  VisuallyHidden,
  type IconName,
} from "@comms/ui";
import type { CallItem, LiveData } from "@comms/api";

import {
  callBackNumber,
  CAUSES,
  daysOf,
  NO_FILTER,
  wasAnswered,
  type CauseFilter,
  type DirectionFilter,
  type HistoryState,
  type PeriodFilter,
} from "../model/history";
import { queueRows, titleOf } from "../model/queues";
import { useTexts } from "../texts";
import { useDesk, useNow, useStore } from "./hooks";

const DIRECTIONS: Record<CallItem["direction"], IconName> = {
  inbound: "incoming",
  outbound: "outgoing",
  internal: "internal",
};

export function HistoryView({ data }: { data: LiveData | null }) {
  const texts = useTexts();
  const { history } = useDesk();
  const state = useStore(history.state);

  useEffect(() => {
    void history.load();
  }, [history]);

  return (
    <>
      <header className="view-head">
        <h1 className="view-title">{texts.history.title}</h1>
        <IconButton
          icon="refresh"
          label={texts.history.refresh}
          onPress={() => void history.load()}
        />
      </header>
      <section className="card">
        <Filters data={data} state={state} />
        <Calls data={data} state={state} />
      </section>
    </>
  );
}

function Filters({ data, state }: { data: LiveData | null; state: HistoryState }) {
  const texts = useTexts();
  const formats = useFormats();
  const { history } = useDesk();
  const all = { id: "all", text: texts.history.all } as const;
  const queues = data === null ? [] : queueRows(data, formats.locale);
  return (
    <div className="filters">
      <Select<DirectionFilter>
        label={texts.history.direction}
        options={[
          all,
          { id: "inbound", text: texts.history.directions.inbound },
          { id: "outbound", text: texts.history.directions.outbound },
          { id: "internal", text: texts.history.directions.internal },
        ]}
        value={state.filter.direction}
        onChange={(direction) => void history.filter({ direction })}
      />
      <Select<CauseFilter>
        label={texts.history.result}
        options={[all, ...CAUSES.map((id) => ({ id, text: texts.history.causes[id] }))]}
        value={state.filter.cause}
        onChange={(cause) => void history.filter({ cause })}
      />
      <Select<PeriodFilter>
        label={texts.history.period}
        options={[
          all,
          { id: "today", text: texts.history.periods.today },
          { id: "week", text: texts.history.periods.week },
        ]}
        value={state.filter.period}
        onChange={(period) => void history.filter({ period })}
      />
      {queues.length > 0 && (
        <Select<string>
          label={texts.history.queue}
          options={[all, ...queues.map((queue) => ({ id: queue.name, text: queue.title }))]}
          value={state.filter.queue}
          onChange={(queue) => void history.filter({ queue })}
        />
      )}
    </div>
  );
}

function Calls({ data, state }: { data: LiveData | null; state: HistoryState }) {
  const texts = useTexts();
  const { history, dial } = useDesk();
  const { failure: dialFailure } = useStore(dial.state);
  const filtered = Object.values(state.filter).some((value) => value !== "all");
  if (state.phase === "failed" && state.failure !== null) {
    return <Failed failure={state.failure} onRetry={() => void history.load()} />;
  }
  if (state.calls.length === 0) {
    if (state.phase === "loading" || data === null) return <Skeleton lines={8} />;
    return filtered ? (
      <div className="history-empty">
        <Empty icon="history" title={texts.history.noMatch} />
        <Button onPress={() => void history.filter(NO_FILTER)}>{texts.history.reset}</Button>
      </div>
    ) : (
      <Empty icon="history" title={texts.history.none}>
        {texts.history.noneText}
      </Empty>
    );
  }
  return (
    <>
      <InlineProblem failure={dialFailure} />
      <table className="list history">
        <caption className="ui-visually-hidden">{texts.history.table}</caption>
        <thead>
          <tr>
            <th scope="col">{texts.history.when}</th>
            <th scope="col">{texts.history.who}</th>
            <th scope="col" className="history-result">
              <span className="history-cause-text">{texts.history.result}</span>
            </th>
            <th scope="col" className="numeric history-waited">
              {texts.history.waited}
            </th>
            <th scope="col" className="numeric history-talked">
              {texts.history.talked}
            </th>
            <th scope="col" className="actions">
              <VisuallyHidden>{texts.history.callBackShort}</VisuallyHidden>
            </th>
          </tr>
        </thead>
        {daysOf(state.calls).map((day) => (
          <tbody key={day.at.toDateString()}>
            <DayLine at={day.at} />
            {day.calls.map((call) => (
              <CallLine key={call.id} call={call} data={data} />
            ))}
          </tbody>
        ))}
      </table>
      <footer className="history-foot">
        {state.phase === "failed-more" && <InlineProblem failure={state.failure} />}
        {state.next === null ? (
          <p className="card-note">{texts.history.end}</p>
        ) : (
          <Button pending={state.phase === "loading-more"} onPress={() => void history.more()}>
            {texts.history.more}
          </Button>
        )}
      </footer>
    </>
  );
}

function DayLine({ at }: { at: Date }) {
  const formats = useFormats();
  const now = useNow();
  return (
    <tr className="day">
      <th scope="rowgroup" colSpan={6}>
        {formats.day(at, new Date(now))}
      </th>
    </tr>
  );
}

function CallLine({ call, data }: { call: CallItem; data: LiveData | null }) {
  const texts = useTexts();
  const formats = useFormats();
  const { dial } = useDesk();
  const { pending } = useStore(dial.state);
  const started = new Date(call.started);
  const me = data?.me.id ?? "";
  const other = call.from_person?.id === me ? call.to_person : call.from_person;
  const number = callBackNumber(call, me);
  const who =
    other?.name ??
    (call.direction === "outbound" ? call.to_number : call.from_number) ??
    null;
  const shownWho = who === null ? texts.call.unknown : formats.phone(who);
  const queue = call.queue === null ? undefined : data?.queues.get(call.queue);
  const details = [
    queue && titleOf(queue, formats.locale),
    call.agent && call.agent.id !== me ? texts.history.takenBy(call.agent.name) : null,
  ].filter(Boolean);
  const talked = call.talking === null ? null : formats.clock(call.talking);
  return (
    <tr>
      <td className="history-when">
        <Icon name={DIRECTIONS[call.direction]} />
        <time dateTime={call.started} title={formats.dateTime(started)}>
          {formats.time(started)}
        </time>
        <VisuallyHidden>{texts.history.directions[call.direction]}</VisuallyHidden>
      </td>
      <th scope="row" className="history-who">
        <span className="history-name">{shownWho}</span>
        {details.length > 0 && <span className="history-detail">{details.join(" · ")}</span>}
        {talked !== null && (
          <span className="history-detail history-narrow" aria-hidden="true">
            {texts.history.talked} {talked}
          </span>
        )}
      </th>
      <td className={wasAnswered(call) ? "history-result" : "history-result history-missed"}>
        <span className="history-cause">
          <Icon name={wasAnswered(call) ? "check" : "close"} />
          <span className="history-cause-text">{texts.history.causes[call.cause]}</span>
        </span>
      </td>
      <td className="numeric history-waited">
        {call.waiting === null ? "–" : formats.clock(call.waiting)}
      </td>
      <td className="numeric history-talked">
        {talked ?? "–"}
      </td>
      <td className="actions">
        {number !== null && (
          <IconButton
            icon="phone"
            label={texts.history.callBack(shownWho)}
            pending={pending}
            onPress={() => void dial.call(number)}
          />
        )}
      </td>
    </tr>
  );
}
