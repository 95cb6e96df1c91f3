import type { ReactNode } from "react";

import { problemText, type Failure } from "../i18n/problems";
import { useShared } from "../i18n/context";
import { Button } from "./Button";
import { Icon, type IconName } from "./Icon";

/** A strip that tells of a lasting condition without taking the place of what is shown. */
export function Banner({
  tone,
  icon,
  children,
}: {
  tone: "warning" | "info";
  icon: IconName;
  children: ReactNode;
}) {
  return (
    <div className={`ui-banner ui-banner-${tone}`} role="status">
      <Icon name={icon} />
      <p>{children}</p>
    </div>
  );
}

/** Nothing to show, and why. */
export function Empty({ icon = "empty", title, children }: {
  icon?: IconName;
  title: string;
  children?: ReactNode;
}) {
  return (
    <div className="ui-empty">
      <Icon name={icon} />
      <p className="ui-empty-title">{title}</p>
      {children && <p className="ui-empty-text">{children}</p>}
    </div>
  );
}

/** What was asked for could not be had; it can be tried again. */
export function Failed({ failure, onRetry }: { failure: Failure; onRetry: () => void }) {
  const shared = useShared();
  return (
    <div className="ui-empty" role="alert">
      <Icon name="warning" className="ui-danger" />
      <p className="ui-empty-title">{problemText(shared, failure)}</p>
      <Button onPress={onRetry}>{shared.actions.retry}</Button>
    </div>
  );
}

/** One line beside a control that says why it did not work. */
export function InlineProblem({ failure }: { failure: Failure | null }) {
  const shared = useShared();
  return (
    <div role="alert" className="ui-inline-problem">
      {failure && (
        <p className="ui-error">
          <Icon name="warning" />
          {problemText(shared, failure)}
        </p>
      )}
    </div>
  );
}

/** Grey lines in the place of what is being loaded. */
export function Skeleton({ lines }: { lines: number }) {
  const shared = useShared();
  return (
    <div className="ui-skeleton" role="status">
      <span className="ui-visually-hidden">{shared.actions.loading}</span>
      {Array.from({ length: lines }, (_, line) => (
        <span key={line} className="ui-skeleton-line" aria-hidden="true" />
      ))}
    </div>
  );
}

export function VisuallyHidden({ children }: { children: ReactNode }) {
  return <span className="ui-visually-hidden">{children}</span>;
}
