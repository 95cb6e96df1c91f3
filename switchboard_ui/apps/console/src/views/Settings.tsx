import { IconButton, Menu, useShared } from "@comms/ui";

import type { ConsoleModel } from "../model/console";
import type { Locale, Theme } from "../model/preferences";
import { useTexts } from "../texts";
import { useStore } from "./hooks";

const THEMES: readonly Theme[] = ["system", "light", "dark"];
const LOCALES: readonly Locale[] = ["de", "en"];

/** Language by one press each, appearance by a menu. */
export function Settings({ model }: { model: ConsoleModel }) {
  const texts = useTexts();
  const shared = useShared();
  const { locale, theme } = useStore(model.preferences.state);
  return (
    <>
      <div className="language" role="group" aria-label={shared.language.label}>
        {LOCALES.map((choice) => (
          <button
            key={choice}
            type="button"
            className="language-choice"
            lang={choice}
            aria-pressed={choice === locale}
            onClick={() => model.preferences.change({ locale: choice })}
          >
            <span aria-hidden="true">{choice.toUpperCase()}</span>
            <span className="ui-visually-hidden">{shared.language[choice]}</span>
          </button>
        ))}
      </div>
      <Menu
        label={shared.theme.label}
        entries={THEMES.map((choice) => ({
          id: choice,
          text: shared.theme[choice],
          checked: choice === theme,
        }))}
        onAction={(choice) => model.preferences.change({ theme: choice })}
      >
        <IconButton icon="theme" label={`${texts.header.appearance}: ${shared.theme[theme]}`} />
      </Menu>
    </>
  );
}
