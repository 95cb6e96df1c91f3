import { useState, type InputHTMLAttributes, type ReactNode, type Ref } from "react";
import {
  Button as AriaButton,
  FieldError,
  Input,
  Label,
  ListBox,
  ListBoxItem,
  Popover,
  Select as AriaSelect,
  SelectValue,
  Text,
  TextField as AriaTextField,
  type TextFieldProps as AriaTextFieldProps,
} from "react-aria-components";

import { useShared } from "../i18n/context";
import { Icon } from "./Icon";

export interface TextFieldProps extends Omit<AriaTextFieldProps, "children" | "className" | "style"> {
  label: string;
  description?: string | undefined;
  errorMessage?: string | undefined;
  placeholder?: string;
  /** Stands at the end of the field's frame, e.g. a button. */
  end?: ReactNode;
  inputRef?: Ref<HTMLInputElement>;
  /** Attributes of the input element that React Aria does not pass on. */
  inputProps?: Pick<InputHTMLAttributes<HTMLInputElement>, "autoCapitalize">;
}

export function TextField({
  label,
  description,
  errorMessage,
  placeholder,
  end,
  inputRef,
  inputProps,
  ...rest
}: TextFieldProps) {
  return (
    <AriaTextField {...rest} className="ui-field">
      <Label className="ui-label">{label}</Label>
      <div className="ui-input-frame">
        <Input {...inputProps} className="ui-input" placeholder={placeholder} ref={inputRef} />
        {end}
      </div>
      {description && (
        <Text slot="description" className="ui-hint">
          {description}
        </Text>
      )}
      <FieldError className="ui-error">{errorMessage}</FieldError>
    </AriaTextField>
  );
}

/** A password that can be looked at; password managers find it by its autocomplete value. */
export function PasswordField(props: Omit<TextFieldProps, "type" | "end">) {
  const shared = useShared();
  const [shown, setShown] = useState(false);
  return (
    <TextField
      {...props}
      type={shown ? "text" : "password"}
      end={
        <AriaButton
          className="ui-input-button"
          aria-label={shown ? shared.actions.hidePassword : shared.actions.showPassword}
          onPress={() => setShown(!shown)}
        >
          <Icon name={shown ? "eye-off" : "eye"} />
        </AriaButton>
      }
    />
  );
}

export interface Option<K extends string> {
  id: K;
  text: string;
}

export interface SelectProps<K extends string> {
  label: string;
  options: readonly Option<K>[];
  value: K;
  onChange: (value: K) => void;
}

export function Select<K extends string>({ label, options, value, onChange }: SelectProps<K>) {
  return (
    <AriaSelect
      className="ui-field"
      value={value}
      onChange={(key) => {
        if (key !== null) onChange(key as K);
      }}
    >
      <Label className="ui-label">{label}</Label>
      <AriaButton className="ui-select-button">
        <SelectValue className="ui-select-value" />
        <Icon name="down" />
      </AriaButton>
      <Popover className="ui-popover" offset={4}>
        <ListBox className="ui-list" items={options}>
          {(option) => (
            <ListBoxItem className="ui-list-item" id={option.id} textValue={option.text}>
              {({ isSelected }) => (
                <>
                  <span>{option.text}</span>
                  {isSelected && <Icon name="check" />}
                </>
              )}
            </ListBoxItem>
          )}
        </ListBox>
      </Popover>
    </AriaSelect>
  );
}
