/** What is kept in the browser; the page works without it too (private windows may refuse). */
export interface Storage {
  read(key: string): string | null;
  write(key: string, value: string | null): void;
}

const PREFIX = "comms.console.";

export const browserStorage: Storage = {
  read: (key) => {
    try {
      return localStorage.getItem(PREFIX + key);
    } catch {
      return null;
    }
  },
  write: (key, value) => {
    try {
      if (value === null) localStorage.removeItem(PREFIX + key);
      else localStorage.setItem(PREFIX + key, value);
    } catch {
      // Nothing is lost but the comfort of finding it again.
    }
  },
};
