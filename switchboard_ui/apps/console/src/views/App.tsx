import { useEffect } from "react";

import { LanguageProvider } from "@comms/ui";

import type { ConsoleModel } from "../model/console";
import type { Router } from "../model/router";
import { texts } from "../texts";
import { LoginView } from "./LoginView";
import { PlaceContext, useStore } from "./hooks";
import { Shell } from "./Shell";

export function App({ model, router }: { model: ConsoleModel; router: Router }) {
  const { locale, theme } = useStore(model.preferences.state);
  const desk = useStore(model.desk);
  useEffect(() => {
    const root = document.documentElement;
    if (theme === "system") delete root.dataset["theme"];
    else root.dataset["theme"] = theme;
  }, [theme]);
  return (
    <LanguageProvider locale={locale} texts={texts}>
      {desk === null ? (
        <LoginView model={model} />
      ) : (
        <PlaceContext value={{ model, router, desk }}>
          <Shell />
        </PlaceContext>
      )}
    </LanguageProvider>
  );
}
