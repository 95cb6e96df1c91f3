import { ownTexts } from "@comms/ui";

import { de, type Texts } from "./de";
import { en } from "./en";

export const texts: Record<"de" | "en", Texts> = { de, en };
export const useTexts = ownTexts<Texts>();
