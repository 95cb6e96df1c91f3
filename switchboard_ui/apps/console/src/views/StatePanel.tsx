import {
  Button,
  Icon,
  InlineProblem,
  Select,
  STATE_ICONS,
  useFormats,
  useShared,
} from "@comms/ui";
import type { ChosenState, LiveAgent, LiveData } from "@comms/api";

import { shownActivity } from "../model/queues";
import { BREAK_REASONS, IDLE, myAgent, wrapUpDone, wrapUpLeft } from "../model/workplace";
import { useTexts } from "../texts";
import { Elapsed, useDesk, useNow, useStore } from "./hooks";

const CHOICES: readonly ChosenState[] = ["available", "break", "offline"];

export function StatePanel({ data }: { data: LiveData }) {
  const texts = useTexts();
  const agent = myAgent(data);
  return (
    <section className="panel" aria-labelledby="state-title">
      <h2 className="panel-title" id="state-title">
        {texts.state.title}
      </h2>
      {agent === null ? (
        <p className="panel-note">{texts.state.noAgent}</p>
      ) : (
        <OwnState agent={agent} />
      )}
    </section>
  );
}

function OwnState({ agent }: { agent: LiveAgent }) {
  const texts = useTexts();
  const shared = useShared();
  const { states } = useDesk();
  const { pending, failure } = useStore(states.actions).get("me") ?? IDLE;
  const wrapsUp = agent.activity === "wrap-up";
  const shown = shownActivity(agent);
  const chosenLater = agent.activity !== agent.chosen && agent.chosen !== "available";
  return (
    <div className="own-state">
      <div className={`own-state-now own-state-${shown}`}>
        <Icon name={STATE_ICONS[shown]} />
        <div>
          <p className="own-state-name">{shared.activity[shown]}</p>
          {chosenLater && (
            <p className="own-state-note">{texts.state.afterwards(texts.state[agent.chosen])}</p>
          )}
        </div>
        {wrapsUp && agent.until !== null ? (
          <WrapUpLeft agent={agent} />
        ) : (
          <p className="own-state-time">
            <Elapsed since={Date.parse(agent.since)} />
          </p>
        )}
        {wrapsUp && <WrapUpBar agent={agent} />}
      </div>
      {wrapsUp && (
        <Button kind="primary" pending={pending} onPress={() => void states.finishWrapUp()}>
          {texts.state.finishWrapUp}
          <kbd className="key">0</kbd>
        </Button>
      )}
      <div className="choices" role="group" aria-label={texts.state.choose}>
        {CHOICES.map((choice, index) => (
          <Button
            key={choice}
            icon={choice}
            className={`choice choice-${choice}`}
            aria-pressed={agent.chosen === choice}
            aria-keyshortcuts={String(index + 1)}
            pending={pending}
            onPress={() => void states.setState("me", choice)}
          >
            {texts.state[choice]}
          </Button>
        ))}
      </div>
      {agent.chosen === "break" && <BreakReasonField agent={agent} />}
      {!agent.reachable && agent.chosen !== "offline" && (
        <p className="own-state-warning">
          <Icon name="warning" />
          {texts.state.unreachable}
        </p>
      )}
      <InlineProblem failure={failure} />
    </div>
  );
}

function BreakReasonField({ agent }: { agent: LiveAgent }) {
  const texts = useTexts();
  const { states } = useDesk();
  const known: readonly string[] = BREAK_REASONS;
  const options = [
    { id: "", text: texts.state.noReason },
    ...BREAK_REASONS.map((id) => ({ id: id as string, text: texts.state.reasons[id] })),
    // A reason that the platform or a supervisor gave stays shown as it is.
    ...(agent.reason && !known.includes(agent.reason)
      ? [{ id: agent.reason, text: reasonText(texts.state, agent.reason) }]
      : []),
  ];
  return (
    <Select
      label={texts.state.breakReason}
      options={options}
      value={agent.reason ?? ""}
      onChange={(reason) => void states.setState("me", "break", reason === "" ? undefined : reason)}
    />
  );
}

/** The words for a reason that the live view names. */
export function reasonText(
  texts: { reasons: Record<string, string>; missedOffers: string },
  reason: string,
): string {
  if (reason === "missed-offers") return texts.missedOffers;
  return texts.reasons[reason] ?? reason;
}

function WrapUpLeft({ agent }: { agent: LiveAgent }) {
  const texts = useTexts();
  const formats = useFormats();
  const left = wrapUpLeft(agent, useNow()) ?? 0;
  return <p className="own-state-time">{texts.state.wrapUpLeft(formats.clock(left))}</p>;
}

function WrapUpBar({ agent }: { agent: LiveAgent }) {
  const done = wrapUpDone(agent, useNow());
  return (
    <svg className="own-state-bar" viewBox="0 0 100 3" preserveAspectRatio="none" aria-hidden="true">
      <rect className="bar-rest" width="100" height="3" />
      <rect className="bar-part" width={100 * (1 - done)} height="3" />
    </svg>
  );
}
