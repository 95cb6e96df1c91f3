import { Empty, IconButton, Menu, problemText, StateMark, useShared } from "@comms/ui";
import type { ChosenState, LiveAgent, LiveData } from "@comms/api";

import { agentsOf, maySetState, shownActivity, type QueueRow } from "../model/queues";
import { IDLE } from "../model/workplace";
import { useTexts } from "../texts";
import { reasonText } from "./StatePanel";
import { Elapsed, useDesk, useStore } from "./hooks";

/** Who serves the chosen queue and what they are doing; supervisors may change it. */
export function AgentsPanel({ data, queue }: { data: LiveData; queue: QueueRow }) {
  const texts = useTexts();
  const agents = agentsOf(data, queue.name);
  const withMenu = agents.some((agent) => maySetState(data, agent));
  return (
    <section className="card" aria-labelledby="agents-title">
      <header className="card-head">
        <h2 id="agents-title">{texts.agents.title}</h2>
        {queue.staffing && (
          <p className="card-note">
            {texts.queues.freeLong(queue.staffing.free, queue.staffing.present)}
          </p>
        )}
      </header>
      {agents.length === 0 ? (
        <Empty icon="person" title={texts.agents.none} />
      ) : (
        <table className="list agents">
          <thead>
            <tr>
              <th scope="col">{texts.agents.name}</th>
              <th scope="col">{texts.agents.state}</th>
              <th scope="col" className="numeric">
                {texts.agents.since}
              </th>
              {withMenu && (
                <th scope="col" className="actions">
                  <span className="ui-visually-hidden">{texts.agents.actionsColumn}</span>
                </th>
              )}
            </tr>
          </thead>
          <tbody>
            {agents.map((agent) => (
              <AgentLine
                key={agent.id}
                agent={agent}
                isMe={agent.id === data.me.id}
                withMenu={withMenu}
                maySet={maySetState(data, agent)}
              />
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function AgentLine({
  agent,
  isMe,
  withMenu,
  maySet,
}: {
  agent: LiveAgent;
  isMe: boolean;
  withMenu: boolean;
  maySet: boolean;
}) {
  const texts = useTexts();
  const shared = useShared();
  const { states } = useDesk();
  const { failure } = useStore(states.actions).get(agent.id) ?? IDLE;
  const details = [
    agent.activity === "break" && agent.reason ? reasonText(texts.state, agent.reason) : null,
    agent.engaged > 0 ? texts.agents.engaged : null,
  ].filter((detail) => detail !== null);
  return (
    <tr>
      <th scope="row" className="agent-name">
        <span>
          {agent.name}
          {isMe && <span className="agent-me"> ({texts.agents.you})</span>}
        </span>
        <span className="agent-extension">{agent.extension}</span>
      </th>
      <td className="agent-state">
        <StateMark activity={shownActivity(agent)} detail={details.join(", ")} />
        {failure && !isMe && (
          <span className="ui-error" role="alert">
            {problemText(shared, failure)}
          </span>
        )}
      </td>
      <td className="numeric">
        <Elapsed since={Date.parse(agent.since)} />
      </td>
      {withMenu && (
        <td className="actions">
          {maySet && (
            <Menu<ChosenState>
              label={texts.agents.actions(agent.name)}
              entries={[
                { id: "available", text: texts.agents.setAvailable, icon: "available" },
                { id: "break", text: texts.agents.setBreak, icon: "break" },
                { id: "offline", text: texts.agents.setOffline, icon: "offline" },
              ]}
              onAction={(state) => void states.setState(isMe ? "me" : agent.id, state)}
            >
              <IconButton icon="more" label={texts.agents.actions(agent.name)} />
            </Menu>
          )}
        </td>
      )}
    </tr>
  );
}
