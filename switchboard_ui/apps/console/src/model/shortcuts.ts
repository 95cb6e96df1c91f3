export type Command =
  | "help"
  | "dial"
  | "queues"
  | "history"
  | "available"
  | "break"
  | "offline"
  | "finish-wrap-up";

/** Single keys and what they do, in the order of the help. */
export const SHORTCUTS: readonly { key: string; command: Command }[] = [
  { key: "1", command: "available" },
  { key: "2", command: "break" },
  { key: "3", command: "offline" },
  { key: "0", command: "finish-wrap-up" },
  { key: "/", command: "dial" },
  { key: "w", command: "queues" },
  { key: "v", command: "history" },
  { key: "?", command: "help" },
];

export interface KeyPress {
  readonly key: string;
  readonly ctrlKey: boolean;
  readonly altKey: boolean;
  readonly metaKey: boolean;
  readonly repeat: boolean;
  /** The key belongs to a text field, or a window lies above the page. */
  readonly elsewhere: boolean;
}

/** The command of a key press; null where the key is not for us. */
export function commandOf(press: KeyPress, singleKeys: boolean): Command | null {
  if (press.elsewhere || press.repeat || press.ctrlKey || press.altKey || press.metaKey) return null;
  if (!singleKeys) return null;
  return SHORTCUTS.find((shortcut) => shortcut.key === press.key.toLowerCase())?.command ?? null;
}
