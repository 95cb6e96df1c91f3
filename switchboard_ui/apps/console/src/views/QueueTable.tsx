import type { ReactNode } from "react";
import { Cell, Column, Row, Table, TableBody, TableHeader } from "react-aria-components";

import { Icon, useFormats, VisuallyHidden } from "@comms/ui";

import type { QueueRow, Staffing } from "../model/queues";
import { useTexts } from "../texts";
import { Elapsed } from "./hooks";

/** All queues with their figures; moving through it with the arrow keys chooses one. */
export function QueueTable({
  rows,
  selected,
  onSelect,
}: {
  rows: readonly QueueRow[];
  selected: string;
  onSelect: (queue: string) => void;
}) {
  const texts = useTexts();
  return (
    <section className="card">
      <Table
        aria-label={texts.queues.table}
        className="queues"
        selectionMode="single"
        selectionBehavior="replace"
        disallowEmptySelection
        selectedKeys={[selected]}
        onSelectionChange={(keys) => {
          const [queue] = keys === "all" ? [] : [...keys];
          if (queue !== undefined) onSelect(String(queue));
        }}
      >
        <TableHeader>
          <Column isRowHeader>{texts.queues.name}</Column>
          <Column className="numeric">{texts.queues.waiting}</Column>
          <Column className="numeric">{texts.queues.longest}</Column>
          <Column className="numeric">{texts.queues.free}</Column>
          <Column className="numeric">{texts.queues.level}</Column>
          <Column className="numeric">{texts.queues.answered}</Column>
          <Column className="numeric">{texts.queues.abandoned}</Column>
        </TableHeader>
        <TableBody>
          {rows.map((row) => (
            <QueueLine key={row.name} row={row} />
          ))}
        </TableBody>
      </Table>
    </section>
  );
}

function QueueLine({ row }: { row: QueueRow }) {
  const texts = useTexts();
  const formats = useFormats();
  return (
    <Row id={row.name} textValue={row.title} className="queue">
      <Cell className="queue-name">
        <span className="queue-title">{row.title}</span>
        <span className="queue-facts">
          {row.number && <span>{row.number}</span>}
          <span className={row.open ? "open" : "open closed"}>
            <Icon name={row.open ? "open" : "closed"} />
            {row.open ? texts.queues.open : texts.queues.closed}
          </span>
        </span>
      </Cell>
      <Figure label={texts.queues.waiting} className="queue-waiting">
        {row.waiting === null ? (
          <Unknown />
        ) : (
          <span className={row.waiting > 0 ? "figure-big figure-some" : "figure-big figure-none"}>
            {formats.number(row.waiting)}
          </span>
        )}
      </Figure>
      <Figure label={texts.queues.longestShort}>
        {row.waiting === null ? (
          <Unknown />
        ) : row.longestSince === null ? (
          <span className="figure-none">–</span>
        ) : (
          <Elapsed
            since={row.longestSince}
            lateAt={row.longestSince + row.serviceLevelSeconds * 1000}
          />
        )}
      </Figure>
      <Figure label={texts.queues.free}>
        {row.staffing === null ? <Unknown /> : <Free staffing={row.staffing} />}
      </Figure>
      <Figure label={texts.queues.levelShort} className="queue-level">
        <ServiceLevel row={row} />
      </Figure>
      <Figure label={texts.queues.answered}>{formats.number(row.answered)}</Figure>
      <Figure label={texts.queues.abandoned}>{formats.number(row.abandoned)}</Figure>
    </Row>
  );
}

/** A figure this person may not see. */
function Unknown() {
  const texts = useTexts();
  return (
    <span className="figure-none">
      <span aria-hidden="true">–</span>
      <VisuallyHidden>{texts.queues.notShown}</VisuallyHidden>
    </span>
  );
}

function Free({ staffing: { free, present } }: { staffing: Staffing }) {
  const texts = useTexts();
  return (
    <>
      <span aria-hidden="true" className={free === 0 ? "figure-none" : ""}>
        {texts.queues.freeOf(free, present)}
      </span>
      <VisuallyHidden>{texts.queues.freeLong(free, present)}</VisuallyHidden>
    </>
  );
}

/** One figure; where the table becomes cards, its column's name stands beside it. */
function Figure({
  label,
  className = "",
  children,
}: {
  label: string;
  className?: string;
  children: ReactNode;
}) {
  return (
    <Cell className={`numeric ${className}`}>
      <span className="cell-label" aria-hidden="true">
        {label}
      </span>
      <span className="cell-value">{children}</span>
    </Cell>
  );
}

function ServiceLevel({ row }: { row: QueueRow }) {
  const texts = useTexts();
  const formats = useFormats();
  const seconds = formats.seconds(row.serviceLevelSeconds);
  if (row.answered === 0) return <span className="figure-none">–</span>;
  return (
    <>
      <span aria-hidden="true" className="level">
        <span className="level-figures">
          <span className="level-percent">{formats.percent(row.answeredInTime, row.answered)}</span>
          <span className="level-within">{texts.queues.within(seconds)}</span>
        </span>
        <svg className="level-bar" viewBox="0 0 100 4" preserveAspectRatio="none">
          <rect className="bar-rest" width="100" height="4" />
          <rect className="bar-part" width={(100 * row.answeredInTime) / row.answered} height="4" />
        </svg>
      </span>
      <VisuallyHidden>
        {texts.queues.levelLong(row.answeredInTime, row.answered, seconds)}
      </VisuallyHidden>
    </>
  );
}
