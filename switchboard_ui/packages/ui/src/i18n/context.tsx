import { createContext, useContext, useEffect, useMemo, type ReactNode } from "react";
import { I18nProvider } from "react-aria-components";

import { de, type SharedTexts } from "./de";
import { en } from "./en";
import { formats, type Formats, type Locale } from "./formats";

const SHARED: Record<Locale, SharedTexts> = { de, en };

interface Language {
  shared: SharedTexts;
  formats: Formats;
  own: unknown;
}

const LanguageContext = createContext<Language | null>(null);

/** Gives everything below it the language; `texts` are the application's own. */
export function LanguageProvider<T>({
  locale,
  texts,
  children,
}: {
  locale: Locale;
  texts: Record<Locale, T>;
  children: ReactNode;
}) {
  const value = useMemo<Language>(
    () => ({ shared: SHARED[locale], formats: formats(locale), own: texts[locale] }),
    [locale, texts],
  );
  useEffect(() => {
    document.documentElement.lang = locale;
  }, [locale]);
  return (
    <LanguageContext value={value}>
      <I18nProvider locale={value.formats.tag}>{children}</I18nProvider>
    </LanguageContext>
  );
}

function useLanguage(): Language {
  const value = useContext(LanguageContext);
  if (value === null) throw new Error("LanguageProvider is missing above this component");
  return value;
}

export const useShared = (): SharedTexts => useLanguage().shared;
export const useFormats = (): Formats => useLanguage().formats;

/** A hook that gives an application its own texts. */
export function ownTexts<T>(): () => T {
  return () => useLanguage().own as T;
}
