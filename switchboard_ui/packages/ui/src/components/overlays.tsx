import type { ReactElement, ReactNode } from "react";
import {
  Dialog as AriaDialog,
  Heading,
  Menu as AriaMenu,
  MenuItem as AriaMenuItem,
  MenuTrigger,
  Modal,
  ModalOverlay,
  Popover,
} from "react-aria-components";

import { useShared } from "../i18n/context";
import { IconButton } from "./Button";
import { Icon, type IconName } from "./Icon";

/** A window above the page: it holds the focus, Escape closes it. */
export function Dialog({
  title,
  isOpen,
  onClose,
  children,
}: {
  title: string;
  isOpen: boolean;
  onClose: () => void;
  children: ReactNode;
}) {
  const shared = useShared();
  return (
    <ModalOverlay
      className="ui-overlay"
      isDismissable
      isOpen={isOpen}
      onOpenChange={(open) => {
        if (!open) onClose();
      }}
    >
      <Modal className="ui-modal">
        <AriaDialog className="ui-dialog">
          <header className="ui-dialog-head">
            <Heading slot="title">{title}</Heading>
            <IconButton icon="close" label={shared.actions.close} onPress={onClose} />
          </header>
          {children}
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}

export interface MenuEntry<K extends string> {
  id: K;
  text: string;
  icon?: IconName;
  checked?: boolean;
}

/** A button (the child) that opens a list of actions. */
export function Menu<K extends string>({
  label,
  entries,
  onAction,
  children,
}: {
  label: string;
  entries: readonly MenuEntry<K>[];
  onAction: (id: K) => void;
  children: ReactElement;
}) {
  return (
    <MenuTrigger>
      {children}
      <Popover className="ui-popover" offset={4} placement="bottom end">
        <AriaMenu
          className="ui-list"
          aria-label={label}
          items={entries}
          onAction={(key) => onAction(key as K)}
        >
          {(entry) => (
            <AriaMenuItem className="ui-list-item" id={entry.id} textValue={entry.text}>
              {entry.icon && <Icon name={entry.icon} />}
              <span>{entry.text}</span>
              {entry.checked === true && <Icon name="check" className="ui-list-mark" />}
            </AriaMenuItem>
          )}
        </AriaMenu>
      </Popover>
    </MenuTrigger>
  );
}
