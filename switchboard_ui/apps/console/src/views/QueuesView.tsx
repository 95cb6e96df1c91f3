import type { ReactNode } from "react";

import { Empty, Skeleton, useFormats } from "@comms/ui";
import type { LiveData } from "@comms/api";

import { queueRows, totals } from "../model/queues";
import { useTexts } from "../texts";
import { AgentsPanel } from "./AgentsPanel";
import { QueueTable } from "./QueueTable";
import { WaitingPanel } from "./WaitingPanel";
import { Elapsed, usePlace } from "./hooks";

export function QueuesView({ data, selected }: { data: LiveData | null; selected: string | null }) {
  const texts = useTexts();
  const formats = useFormats();
  const { router } = usePlace();
  if (data === null) {
    return (
      <>
        <h1 className="view-title">{texts.queues.title}</h1>
        <section className="card">
          <Skeleton lines={6} />
        </section>
      </>
    );
  }
  const rows = queueRows(data, formats.locale);
  const current = rows.find((row) => row.name === selected) ?? rows[0];
  return (
    <>
      <header className="view-head">
        <h1 className="view-title">{texts.queues.title}</h1>
        <TotalsLine data={data} />
      </header>
      {current === undefined ? (
        <section className="card">
          <Empty icon="queue" title={texts.queues.none}>
            {texts.queues.noneText}
          </Empty>
        </section>
      ) : (
        <>
          <QueueTable
            rows={rows}
            selected={current.name}
            onSelect={(queue) => router.replace({ view: "queues", queue })}
          />
          {current.waiting === null ? (
            <section className="card" aria-label={current.title}>
              <Empty icon="closed" title={texts.queues.notYours}>
                {texts.queues.notYoursText}
              </Empty>
            </section>
          ) : (
            <div className="details">
              <WaitingPanel data={data} queue={current} />
              <AgentsPanel data={data} queue={current} />
            </div>
          )}
        </>
      )}
    </>
  );
}

function TotalsLine({ data }: { data: LiveData }) {
  const texts = useTexts();
  const sums = totals(data);
  return (
    <dl className="totals" aria-label={texts.queues.totals}>
      <Total label={texts.queues.waiting}>{sums.waiting}</Total>
      <Total label={texts.queues.longest}>
        {sums.longestSince === null ? "–" : <Elapsed since={sums.longestSince} />}
      </Total>
      <Total label={texts.queues.free}>{texts.queues.freeOf(sums.staffing.free, sums.staffing.present)}</Total>
    </dl>
  );
}

function Total({ label, children }: { label: string; children: ReactNode }) {
  return (
    <div className="total">
      <dt>{label}</dt>
      <dd>{children}</dd>
    </div>
  );
}
