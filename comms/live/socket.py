"""The Socket.IO server of the live views; `comms.live.schemas` describes its messages."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import socketio
import structlog
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from comms.auth.sessions import ActiveSession, Sessions
from comms.live import schemas as s
from comms.live.hub import LiveHub
from comms.live.state import Change
from comms.live.views import Teller, snapshot
from comms.people.access import Viewer
from comms.people.queries import me_of
from comms.problems import NotAuthenticated
from comms.tasks import end

log = structlog.get_logger(__name__)

#: packets that may wait for one client; a slower one gets a snapshot when it has caught up
MAX_PENDING = 100
MAX_CONNECTIONS = 5000
MAX_CONNECTIONS_PER_PERSON = 20
#: how often slow clients, expired sessions and asked-for snapshots are looked at
_ROUND_SECONDS = 0.1
_SESSION_CHECK_SECONDS = 30.0
#: at most one snapshot in this time for one client
_SNAPSHOT_SECONDS = 0.5


@dataclass(slots=True, eq=False)
class Connection:
    """One browser page."""

    sid: str
    token_hash: str
    expires: float
    viewer: Viewer
    me: s.Me
    seq: int = 0
    #: it needs a snapshot before it may get events again
    stale: bool = True
    last_snapshot: float = field(default=-_SNAPSHOT_SECONDS)


class LiveServer:
    """Serves live views to any number of browser pages of this process.

    Args:
        hub: the live state; its changes are pushed.
        sessions: checks tokens.
        origins: origins that may connect besides pages of the host they connect to, e.g. the
            public address behind a reverse proxy.
    """

    def __init__(self, hub: LiveHub, sessions: Sessions, origins: tuple[str, ...] = ()) -> None:
        self._hub = hub
        self._sessions = sessions
        self._origins = frozenset(origins)
        self._connections: dict[str, Connection] = {}
        self._round: asyncio.Task[None] | None = None
        self._outbox: asyncio.Queue[list[Change] | None] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None
        #: a batch is being sent: the state already holds its changes
        self._sending = False
        self._next_session_check = 0.0
        #: how often a slow client was sent a snapshot instead of events
        self.dropped = 0
        self.server = socketio.AsyncServer(
            async_mode="asgi",
            transports=["websocket", "polling"],
            cors_allowed_origins=self._allowed_origin,
            max_http_buffer_size=16 * 1024,
            ping_interval=20,
            ping_timeout=20,
            logger=False,
            engineio_logger=False,
        )
        self.server.on("connect", self._on_connect)
        self.server.on("disconnect", self._on_disconnect)
        self.server.on("resync", self._on_resync)
        hub.subscribe(self._outbox.put_nowait)

    @property
    def connections(self) -> int:
        """How many pages are connected."""
        return len(self._connections)

    def start(self) -> None:
        """Begin to push in the background."""
        self._sender = asyncio.create_task(self._send_changes(), name="live-sender")
        self._round = asyncio.create_task(self._rounds(), name="live-rounds")

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return what runs in the background; it ends only when it is stopped, or by a mistake."""
        return [task for task in (self._sender, self._round) if task is not None]

    async def stop(self) -> None:
        """Stop pushing and disconnect everybody; their pages will connect again."""
        if self._sender is None or self._round is None:
            return
        tasks = [self._sender, self._round]
        self._sender = self._round = None
        await end(*tasks)
        for sid in list(self._connections):
            await self.server.disconnect(sid)
        self._connections.clear()
        # Its watcher of dead connections starts with the first connection.
        if self.server.eio.service_task_handle is not None:
            await self.server.shutdown()

    def _allowed_origin(self, origin: str | None, environ: dict[str, Any]) -> bool:
        """Whether pages of an origin may connect. The scheme is not compared, because a reverse
        proxy that ends TLS need not tell it."""
        if origin is None or origin in self._origins:
            return True
        return urlsplit(origin).netloc == environ.get("HTTP_HOST")

    # --- from clients -----------------------------------------------------------------------

    async def _on_connect(self, sid: str, _environ: dict[str, Any], auth: object) -> None:
        try:
            given = s.ConnectAuth.model_validate(auth)
            session = await self._sessions.find(given.token)
        except (ValidationError, NotAuthenticated):
            raise socketio.exceptions.ConnectionRefusedError("not-authenticated") from None
        except DBAPIError:
            raise socketio.exceptions.ConnectionRefusedError("unavailable") from None
        same = sum(c.viewer.id == session.viewer.id for c in self._connections.values())
        if len(self._connections) >= MAX_CONNECTIONS or same >= MAX_CONNECTIONS_PER_PERSON:
            raise socketio.exceptions.ConnectionRefusedError("too-many-connections")
        # The snapshot goes out in the next round: the client knows it is connected by then.
        self._connections[sid] = Connection(
            sid, session.token_hash, session.expires, session.viewer, me_of(session.viewer)
        )

    async def _on_disconnect(self, sid: str, _reason: str | None = None) -> None:
        self._connections.pop(sid, None)

    async def _on_resync(self, sid: str, _data: object = None) -> None:
        connection = self._connections.get(sid)
        if connection is not None:
            connection.stale = True

    # --- to clients -------------------------------------------------------------------------

    async def _send_changes(self) -> None:
        while True:
            self._sending = False
            changes = await self._outbox.get()
            self._sending = True
            if changes is None:
                for connection in self._connections.values():
                    connection.stale = True
                continue
            teller = Teller(self._hub.lookup)
            for connection in list(self._connections.values()):
                if connection.stale:
                    continue
                if self._pending(connection.sid) > MAX_PENDING:
                    connection.stale = True
                    self.dropped += 1
                    continue
                for change in changes:
                    for type_, data in teller.told(change, connection.viewer):
                        connection.seq += 1
                        await self.server.emit(
                            "event",
                            {"seq": connection.seq, "type": type_, "data": data},
                            to=connection.sid,
                        )

    async def _rounds(self) -> None:
        while True:
            await asyncio.sleep(_ROUND_SECONDS)
            now = time.monotonic()
            for connection in list(self._connections.values()):
                if (
                    connection.stale
                    and now - connection.last_snapshot >= _SNAPSHOT_SECONDS
                    and self._pending(connection.sid) == 0
                    and self._outbox.empty()
                    and not self._sending
                ):
                    await self._send_snapshot(connection)
            if now >= self._next_session_check:
                self._next_session_check = now + _SESSION_CHECK_SECONDS
                await self._check_sessions(only_expired=True)

    async def _send_snapshot(self, connection: Connection) -> None:
        connection.seq += 1
        message = snapshot(
            self._hub.state,
            connection.viewer,
            connection.me,
            self._hub.lookup,
            connection.seq,
            time.time(),
        )
        # No await between reading the state and this: a change that comes later is an event.
        connection.stale = False
        connection.last_snapshot = time.monotonic()
        await self.server.emit("snapshot", message.model_dump(mode="json"), to=connection.sid)

    def _pending(self, sid: str) -> int:
        """How many packets wait for the client's network."""
        eio_sid = self.server.manager.eio_sid_from_sid(sid, "/")
        socket = self.server.eio.sockets.get(eio_sid)
        return 0 if socket is None else int(socket.queue.qsize())

    # --- sessions and permissions -----------------------------------------------------------

    async def on_session_over(self, what: str | None) -> None:
        """End connections whose session is over: of a token hash, of `person:<id>`, or of all."""
        if what is not None and not what.startswith("person:"):
            for connection in self._of(what):
                await self._end(connection, "logged-out")
            return
        person = what.removeprefix("person:") if what is not None else None
        await self._check_sessions(person=person)

    async def on_directory(self) -> None:
        """Read names and everybody's permissions anew and show them the result."""
        await self._hub.refresh_lookup()
        await self._check_sessions()

    def _of(self, token_hash: str) -> list[Connection]:
        return [c for c in self._connections.values() if c.token_hash == token_hash]

    async def _check_sessions(
        self, *, person: str | None = None, only_expired: bool = False
    ) -> None:
        now = time.time()
        concerned: dict[str, list[Connection]] = {}
        for connection in self._connections.values():
            if person is not None and connection.viewer.id != person:
                continue
            if only_expired and connection.expires > now:
                continue
            concerned.setdefault(connection.token_hash, []).append(connection)
        for token_hash, connections in concerned.items():
            try:
                session: ActiveSession | None = await self._sessions.check(token_hash)
            except NotAuthenticated:
                session = None
            except DBAPIError:
                # Whoever was let in stays while the database is away.
                return
            for connection in connections:
                if session is None:
                    expired = connection.expires <= now
                    await self._end(connection, "expired" if expired else "revoked")
                    continue
                connection.expires = session.expires
                if not only_expired:
                    connection.viewer = session.viewer
                    connection.me = me_of(session.viewer)
                    connection.stale = True

    async def _end(self, connection: Connection, reason: Any) -> None:
        self._connections.pop(connection.sid, None)
        message = s.SessionOver(reason=reason)
        await self.server.emit("session_over", message.model_dump(mode="json"), to=connection.sid)
        await self.server.disconnect(connection.sid)
