import { useEffect, type FormEvent, type RefObject } from "react";

import { Button, InlineProblem, TextField, useFormats } from "@comms/ui";
import type { LiveData } from "@comms/api";

import { useTexts } from "../texts";
import { useDesk, useStore } from "./hooks";

export function DialPanel({
  data,
  fieldRef,
}: {
  data: LiveData;
  fieldRef: RefObject<HTMLInputElement | null>;
}) {
  const texts = useTexts();
  const formats = useFormats();
  const { dial } = useDesk();
  const { to, pending, ringing, failure, invalid } = useStore(dial.state);
  const calls = data.calls.size;

  useEffect(() => {
    // As soon as the call is among the own calls, the note has done its work.
    if (calls > 0) dial.settle();
  }, [calls, dial]);

  const submit = (event: FormEvent): void => {
    event.preventDefault();
    void dial.submit();
  };

  return (
    <section className="panel">
      <form className="dial" onSubmit={submit} noValidate>
        <TextField
          label={texts.dial.label}
          description={texts.dial.hint}
          type="tel"
          inputMode="tel"
          autoComplete="off"
          aria-keyshortcuts="/"
          value={to}
          onChange={(value) => dial.type(value)}
          isInvalid={invalid}
          errorMessage={texts.dial.invalid}
          inputRef={fieldRef}
        />
        <Button kind="primary" type="submit" icon="phone" pending={pending}>
          {texts.dial.submit}
        </Button>
      </form>
      <InlineProblem failure={failure} />
      <div role="status">
        {ringing !== null && (
          <p className="panel-note">{texts.dial.ringing(formats.phone(ringing))}</p>
        )}
      </div>
    </section>
  );
}
