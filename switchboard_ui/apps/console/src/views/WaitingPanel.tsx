import { Empty, Icon, useFormats, VisuallyHidden } from "@comms/ui";
import type { LiveData } from "@comms/api";

import { waitingRows, type QueueRow, type WaitingRow } from "../model/queues";
import { useTexts } from "../texts";
import { Elapsed, useNow } from "./hooks";

/** Who waits in the chosen queue, in the order of service. */
export function WaitingPanel({ data, queue }: { data: LiveData; queue: QueueRow }) {
  const texts = useTexts();
  const rows = waitingRows(data, queue.name);
  return (
    <section className="card" aria-labelledby="waiting-title">
      <header className="card-head">
        <h2 id="waiting-title">{texts.waiting.title}</h2>
        <p className="card-note">{queue.title}</p>
      </header>
      {rows.length === 0 ? (
        <Empty title={texts.waiting.none}>{texts.waiting.noneText}</Empty>
      ) : (
        <table className="list waiting">
          <thead>
            <tr>
              <th scope="col">{texts.waiting.position}</th>
              <th scope="col">{texts.waiting.caller}</th>
              <th scope="col" className="numeric">
                {texts.waiting.since}
              </th>
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <WaitingLine key={row.id} row={row} />
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function WaitingLine({ row }: { row: WaitingRow }) {
  const texts = useTexts();
  const formats = useFormats();
  return (
    <tr>
      <td className="position">{row.position}</td>
      <th scope="row" className="waiting-who">
        <span className={row.number === null ? "waiting-hidden" : "waiting-number"}>
          {row.number === null ? texts.waiting.hidden : formats.phone(row.number)}
        </span>
        <span className={row.offered ? "waiting-state waiting-offered" : "waiting-state"}>
          <Icon name={row.offered ? "offered" : "clock"} />
          {row.offered ? texts.waiting.offered(formats.list(row.agents)) : texts.waiting.waits}
        </span>
      </th>
      <td className="numeric waiting-time">
        <Elapsed since={row.since} lateAt={row.lateAt} />
        <LateMark lateAt={row.lateAt} />
      </td>
    </tr>
  );
}

function LateMark({ lateAt }: { lateAt: number }) {
  const texts = useTexts();
  if (useNow() < lateAt) return null;
  return (
    <span className="late" title={texts.waiting.late}>
      <Icon name="warning" />
      <VisuallyHidden>{texts.waiting.late}</VisuallyHidden>
    </span>
  );
}
