import type { ReactNode } from "react";
import {
  Button as AriaButton,
  Tooltip,
  TooltipTrigger,
  type ButtonProps as AriaButtonProps,
} from "react-aria-components";

import { Icon, type IconName } from "./Icon";

export interface ButtonProps
  extends Omit<AriaButtonProps, "children" | "className" | "style" | "isPending"> {
  /** What it started is not done yet: it keeps its place and the focus, and does nothing. */
  pending?: boolean;
  kind?: "primary" | "plain" | "quiet";
  size?: "m" | "s";
  icon?: IconName;
  className?: string;
  children?: ReactNode;
}

// React Aria's own pending state announces the button by reference, which is left without a name
// when the button is gone by then.
function pendingProps(pending: boolean, onPress: ButtonProps["onPress"]): AriaButtonProps {
  return pending ? { "aria-disabled": true } : { onPress };
}

/** A button with text. */
export function Button({
  kind = "plain",
  size = "m",
  icon,
  pending = false,
  onPress,
  className = "",
  children,
  ...rest
}: ButtonProps) {
  return (
    <AriaButton
      {...rest}
      {...pendingProps(pending, onPress)}
      className={`ui-button ui-button-${kind} ui-button-${size} ${className}`}
    >
      {icon && <Icon name={icon} />}
      {children}
    </AriaButton>
  );
}

export interface IconButtonProps extends Omit<ButtonProps, "children" | "icon"> {
  icon: IconName;
  label: string;
}

/** A button with a picture alone; its name is read aloud and shown as a tooltip. */
export function IconButton({
  icon,
  label,
  kind = "quiet",
  pending = false,
  onPress,
  className = "",
  ...rest
}: IconButtonProps) {
  return (
    <TooltipTrigger delay={500} closeDelay={100}>
      <AriaButton
        {...rest}
        {...pendingProps(pending, onPress)}
        aria-label={label}
        className={`ui-button ui-button-${kind} ui-button-icon ${className}`}
      >
        <Icon name={icon} />
      </AriaButton>
      <Tooltip className="ui-tooltip" offset={6}>
        {label}
      </Tooltip>
    </TooltipTrigger>
  );
}
