import { useEffect, useRef, useState, type FormEvent } from "react";

import { Button, Icon, InlineProblem, PasswordField, TextField } from "@comms/ui";

import type { ConsoleModel } from "../model/console";
import { useTexts } from "../texts";
import { Brand } from "./Brand";
import { useStore } from "./hooks";
import { Settings } from "./Settings";

export function LoginView({ model }: { model: ConsoleModel }) {
  const texts = useTexts();
  const { failure, pending, ended } = useStore(model.session.state);
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const userField = useRef<HTMLInputElement>(null);
  const passwordField = useRef<HTMLInputElement>(null);

  useEffect(() => {
    document.title = `${texts.login.title} · ${texts.product}`;
  }, [texts]);

  useEffect(() => {
    userField.current?.focus();
  }, []);

  useEffect(() => {
    // The name is most likely right: the password is what one types again.
    if (failure !== null) passwordField.current?.select();
  }, [failure]);

  const submit = (event: FormEvent<HTMLFormElement>): void => {
    event.preventDefault();
    // Password managers may fill the fields without an event: what the form holds counts.
    const given = new FormData(event.currentTarget);
    void model.session.login(
      model.api,
      String(given.get("username") ?? user),
      String(given.get("password") ?? password),
    );
  };

  return (
    <div className="login">
      <header className="login-head">
        <Settings model={model} />
      </header>
      <main className="login-main">
        <div className="login-card">
          <Brand />
          <div>
            <h1>{texts.login.title}</h1>
            <p className="login-intro">{texts.login.intro}</p>
          </div>
          {ended === "expired" && (
            <p className="login-notice" role="status">
              <Icon name="clock" />
              {texts.login.expired}
            </p>
          )}
          <form className="login-form" method="post" onSubmit={submit}>
            <TextField
              label={texts.login.user}
              description={texts.login.userHint}
              name="username"
              autoComplete="username"
              inputProps={{ autoCapitalize: "none" }}
              spellCheck="false"
              isRequired
              value={user}
              onChange={setUser}
              inputRef={userField}
            />
            <PasswordField
              label={texts.login.password}
              name="password"
              autoComplete="current-password"
              isRequired
              value={password}
              onChange={setPassword}
              inputRef={passwordField}
            />
            <InlineProblem failure={failure} />
            <Button kind="primary" type="submit" pending={pending}>
              {pending ? texts.login.pending : texts.login.submit}
            </Button>
          </form>
        </div>
      </main>
    </div>
  );
}
