import { Checkbox } from "react-aria-components";

import { Dialog, Icon, StateMark, type ActivityName } from "@comms/ui";

import { SHORTCUTS } from "../model/shortcuts";
import { useTexts } from "../texts";
import { usePlace, useStore } from "./hooks";

const ACTIVITIES: readonly ActivityName[] = [
  "available",
  "offered",
  "busy",
  "wrap-up",
  "break",
  "unreachable",
  "offline",
];

export function HelpDialog({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  const texts = useTexts();
  const { model } = usePlace();
  const { singleKeys } = useStore(model.preferences.state);
  return (
    <Dialog title={texts.help.title} isOpen={isOpen} onClose={onClose}>
      <section className="help-part">
        <h3>{texts.help.keys}</h3>
        <dl className="keys">
          {SHORTCUTS.map(({ key, command }) => (
            <div key={command} className={singleKeys ? "keys-row" : "keys-row keys-off"}>
              <dt>
                <kbd className="key">{key}</kbd>
              </dt>
              <dd>{texts.help.commands[command]}</dd>
            </div>
          ))}
          <div className="keys-row">
            <dt>
              <kbd className="key">Tab</kbd>
            </dt>
            <dd>{texts.help.tab}</dd>
          </div>
          <div className="keys-row">
            <dt>
              <kbd className="key">↑</kbd> <kbd className="key">↓</kbd>
            </dt>
            <dd>{texts.help.arrows}</dd>
          </div>
          <div className="keys-row">
            <dt>
              <kbd className="key">Esc</kbd>
            </dt>
            <dd>{texts.help.escape}</dd>
          </div>
        </dl>
        <Checkbox
          className="check"
          isSelected={singleKeys}
          onChange={(chosen) => model.preferences.change({ singleKeys: chosen })}
        >
          <span className="check-box">
            <Icon name="check" />
          </span>
          <span>
            {texts.help.single}
            <span className="ui-hint">{texts.help.singleHint}</span>
          </span>
        </Checkbox>
      </section>
      <section className="help-part">
        <h3>{texts.help.states}</h3>
        <ul className="help-states">
          {ACTIVITIES.map((activity) => (
            <li key={activity}>
              <StateMark activity={activity} />
            </li>
          ))}
        </ul>
      </section>
    </Dialog>
  );
}
