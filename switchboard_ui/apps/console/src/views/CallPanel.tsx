import { Icon, useFormats } from "@comms/ui";
import type { LiveCall, LiveData } from "@comms/api";

import { titleOf } from "../model/queues";
import { myCalls, otherSide } from "../model/workplace";
import { useTexts } from "../texts";
import { Elapsed } from "./hooks";

/** Own calls; most of the time there is one, or none. */
export function CallPanel({ data }: { data: LiveData }) {
  const texts = useTexts();
  const calls = myCalls(data);
  return (
    <section
      className={calls.length === 0 ? "panel panel-idle" : "panel"}
      aria-labelledby="call-title"
    >
      <h2 className="panel-title" id="call-title">
        {texts.call.title}
      </h2>
      {calls.length === 0 ? (
        <p className="panel-note">{texts.call.none}</p>
      ) : (
        <ul className="calls">
          {calls.map((call) => (
            <OwnCall key={call.id} call={call} data={data} />
          ))}
        </ul>
      )}
    </section>
  );
}

function OwnCall({ call, data }: { call: LiveCall; data: LiveData }) {
  const texts = useTexts();
  const formats = useFormats();
  const { name, number } = otherSide(call, data.me.id);
  const queue = call.queue === null ? undefined : data.queues.get(call.queue);
  const shown = number === null ? null : formats.phone(number);
  return (
    <li className={`call call-${call.state}`}>
      <Icon name={call.state === "ringing" ? "offered" : "busy"} />
      <p className="call-name">{name ?? shown ?? texts.call.unknown}</p>
      <p className="call-detail">
        {[
          texts.call.states[call.state],
          name === null ? null : shown,
          queue && texts.call.queue(titleOf(queue, formats.locale)),
        ]
          .filter(Boolean)
          .join(" · ")}
      </p>
      <p className="call-time">
        <Elapsed since={Date.parse(call.since)} />
      </p>
    </li>
  );
}
