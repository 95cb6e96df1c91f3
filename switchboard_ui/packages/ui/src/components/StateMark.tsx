import { useShared } from "../i18n/context";
import { Icon } from "./Icon";

export type ActivityName = "available" | "break" | "offline" | "offered" | "busy" | "wrap-up";

/** What somebody is doing, as picture, word and colour. */
export function StateMark({ activity, detail }: { activity: ActivityName; detail?: string | null }) {
  const shared = useShared();
  return (
    <span className={`ui-state ui-state-${activity}`}>
      <Icon name={activity} />
      <span className="ui-state-text">
        {shared.activity[activity]}
        {detail && <span className="ui-state-detail"> · {detail}</span>}
      </span>
    </span>
  );
}
