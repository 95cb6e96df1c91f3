import { io, type Socket } from "socket.io-client";

import type { LiveTransport } from "./live-client";
import type { LiveEvent, SessionOver, Snapshot } from "./types";

/** How long to wait before a connection that the platform closed or refused is tried again. */
const RETRY_MS = 3000;
/** What the platform says when it refuses the token. */
const NOT_AUTHENTICATED = "not-authenticated";

/** The live connection over Socket.IO, which tries again by itself with growing pauses. */
export function socketTransport(token: () => string | null, base = ""): LiveTransport {
  const socket: Socket = io(base, {
    path: "/socket.io",
    autoConnect: false,
    transports: ["websocket", "polling"],
    auth: (send) => send({ token: token() }),
    reconnectionDelay: 500,
    reconnectionDelayMax: 5000,
  });
  let retry: ReturnType<typeof setTimeout> | undefined;
  const connectLater = (): void => {
    clearTimeout(retry);
    retry = setTimeout(() => socket.connect(), RETRY_MS);
  };
  return {
    connect: () => {
      socket.connect();
    },
    close: () => {
      clearTimeout(retry);
      socket.close();
    },
    resync: () => {
      socket.emit("resync");
    },
    listen: (listener) => {
      socket.on("connect", () => listener.connected());
      socket.on("disconnect", (reason) => {
        if (reason === "io client disconnect") return;
        // Socket.IO does not come back by itself when the server ended the connection.
        if (reason === "io server disconnect") connectLater();
        listener.disconnected();
      });
      socket.on("connect_error", (error) => {
        // `active` tells trouble on the way, which is tried again, from a refusal by the server.
        if (!socket.active) {
          if (error.message.includes(NOT_AUTHENTICATED)) {
            listener.sessionOver("expired");
            return;
          }
          connectLater();
        }
        listener.disconnected();
      });
      socket.on("session_over", (over: SessionOver) => {
        listener.sessionOver(over.reason);
      });
      socket.on("snapshot", (snapshot: Snapshot) => listener.snapshot(snapshot));
      socket.on("event", (event: LiveEvent) => listener.event(event));
    },
  };
}
