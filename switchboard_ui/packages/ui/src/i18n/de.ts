/** Texts that every application shares. The English ones must have the same members. */
export const de = {
  activity: {
    available: "Verfügbar",
    break: "Pause",
    offline: "Abgemeldet",
    unreachable: "Nicht erreichbar",
    offered: "Es klingelt",
    busy: "Im Gespräch",
    "wrap-up": "Nachbearbeitung",
  },
  actions: {
    close: "Schließen",
    cancel: "Abbrechen",
    retry: "Erneut versuchen",
    showPassword: "Passwort anzeigen",
    hidePassword: "Passwort verbergen",
    loading: "Wird geladen",
  },
  theme: { label: "Darstellung", system: "Wie das System", light: "Hell", dark: "Dunkel" },
  language: { label: "Sprache", de: "Deutsch", en: "English" },
  /** By the last part of the problem's type. */
  problems: {
    "network-unreachable": "Der Server ist nicht erreichbar. Prüfen Sie die Verbindung.",
    "network-timeout": "Der Server hat nicht rechtzeitig geantwortet.",
    "unexpected-answer": "Der Server hat unerwartet geantwortet.",
    "wrong-credentials": "Benutzername oder Passwort ist falsch.",
    "too-many-attempts": "Zu viele Versuche. Bitte warten Sie einen Moment.",
    "not-authenticated": "Ihre Sitzung ist abgelaufen. Bitte melden Sie sich neu an.",
    "not-permitted": "Dazu fehlt Ihnen die Berechtigung.",
    "not-found": "Das gibt es nicht (mehr).",
    "no-device": "Für Sie ist kein Telefon eingerichtet.",
    invalid: "Die Angaben sind nicht gültig.",
    "bad-request": "Die Angaben sind nicht gültig.",
    conflict: "Das verträgt sich nicht mit dem, was schon da ist.",
    "idempotency-key-reused": "Diese Anfrage wurde schon mit anderen Angaben gestellt.",
    unavailable: "Dieser Dienst ist gerade nicht verfügbar. Bitte versuchen Sie es gleich noch einmal.",
    internal: "Im Server ist etwas schiefgegangen. Es wurde vermerkt.",
  } as Record<string, string>,
  unknownProblem: "Das hat nicht geklappt.",
  retryAfter: (seconds: number) => `Erneut möglich in ${seconds} s.`,
};

export type SharedTexts = typeof de;
