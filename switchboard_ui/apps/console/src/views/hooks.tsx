import { createContext, useContext, useSyncExternalStore } from "react";

import type { LiveData, Store } from "@comms/api";
import { useFormats, VisuallyHidden } from "@comms/ui";

import type { ConsoleModel, Desk } from "../model/console";
import type { Router } from "../model/router";

export function useStore<T>(store: Store<T>): T {
  return useSyncExternalStore(store.subscribe, store.get);
}

export interface Place {
  readonly model: ConsoleModel;
  readonly router: Router;
  readonly desk: Desk;
}

export const PlaceContext = createContext<Place | null>(null);

/** The models of the logged-in session. */
export function usePlace(): Place {
  const place = useContext(PlaceContext);
  if (place === null) throw new Error("PlaceContext is missing above this component");
  return place;
}

export const useDesk = (): Desk => usePlace().desk;

/** The live view; null before the first snapshot. */
export function useLiveData(): LiveData | null {
  return useStore(useDesk().live.state).data;
}

export const useNow = (): number => useStore(useDesk().clock.time);

/** A running time: digits for the eye, words for the ear. */
export function Elapsed({ since, lateAt }: { since: number; lateAt?: number }) {
  const now = useNow();
  const formats = useFormats();
  const seconds = (now - since) / 1000;
  const late = lateAt !== undefined && now >= lateAt;
  return (
    <span className={late ? "elapsed elapsed-late" : "elapsed"}>
      <span aria-hidden="true">{formats.clock(seconds)}</span>
      <VisuallyHidden>{formats.spoken(seconds)}</VisuallyHidden>
    </span>
  );
}
