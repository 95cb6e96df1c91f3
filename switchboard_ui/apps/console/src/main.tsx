import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import "@comms/ui/styles.css";
import "./styles/console.css";
import { ConsoleModel } from "./model/console";
import { Router } from "./model/router";
import { browserStorage } from "./model/storage";
import { App } from "./views/App";

const root = document.getElementById("root");
if (root === null) throw new Error("the page has no #root");
const model = new ConsoleModel(browserStorage);
const router = new Router(window);
createRoot(root).render(
  <StrictMode>
    <App model={model} router={router} />
  </StrictMode>,
);
