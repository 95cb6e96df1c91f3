import { useShared } from "../i18n/context";
import { Icon, type IconName } from "./Icon";

/** Every state has a picture of its own shape, so that nobody needs to tell colours apart. */
export const STATE_ICONS = {
  available: "available",
  break: "break",
  offline: "offline",
  unreachable: "no-signal",
  offered: "offered",
  busy: "busy",
  "wrap-up": "wrap-up",
} as const satisfies Record<string, IconName>;

export type ActivityName = keyof typeof STATE_ICONS;

/** What somebody is doing, as picture, word and colour. */
export function StateMark({ activity, detail }: { activity: ActivityName; detail?: string | null }) {
  const shared = useShared();
  return (
    <span className={`ui-state ui-state-${activity}`}>
      <Icon name={STATE_ICONS[activity]} />
      <span className="ui-state-text">
        {shared.activity[activity]}
        {detail && <span className="ui-state-detail"> · {detail}</span>}
      </span>
    </span>
  );
}
