"""SIP over TCP and TLS (RFC 3261 section 18, RFC 5626 keep-alive)."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from sip.core.errors import ParseError
from sip.core.flow import Flow
from sip.core.framing import StreamFramer

#: bytes that may wait for a slow reader before its connection is closed
_MAX_UNSENT = 1024 * 1024
_CONNECT_SECONDS = 5.0
_PING = b"\r\n\r\n"
_PONG = b"\r\n"

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What connections may cost. Seconds and counts, see `comms.settings.Sip`."""

    max_connections: int = 5000
    max_per_address: int = 500
    first_message_seconds: float = 10.0
    idle_seconds: float = 900.0
    max_message: int = 65_535


@dataclass(slots=True)
class StreamStats:
    """Counters for the metrics."""

    accepted: int = 0
    refused: int = 0
    timed_out: int = 0
    malformed: int = 0


class _Connection(asyncio.Protocol):
    """One connection, ours or the peer's."""

    def __init__(self, owner: StreamTransport, remote: tuple[str, int] | None) -> None:
        self._owner = owner
        self._framer = StreamFramer(max_head=owner.limits.max_message)
        self._pipe: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._number = next(_numbers)
        self._deadline: asyncio.TimerHandle | None = None
        self.outgoing = remote is not None
        self.complete = False
        self.last = 0.0
        self.flow = Flow(owner.kind, owner.address, remote or ("", 0), self._number)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's
        self._pipe = transport = cast(asyncio.Transport, transport)
        owner = self._owner
        if not self.outgoing:
            peer = transport.get_extra_info("peername")
            if peer is None or not owner._admit(peer[0]):
                transport.abort()
                self._pipe = None
                return
            self.flow = Flow(owner.kind, owner.address, peer[:2], self._number)
            self._deadline = owner._loop.call_later(
                owner.limits.first_message_seconds, self._first_message_missing
            )
        self.last = owner._loop.time()
        owner._open[self.flow] = self
        for data in self._unsent:
            transport.write(data)
        self._unsent.clear()

    def _first_message_missing(self) -> None:
        """Slow senders and half-open connections: no whole message came in time."""
        if not self.complete:
            self._owner.stats.timed_out += 1
            self.abort()

    def data_received(self, data: bytes) -> None:
        self.last = self._owner._loop.time()
        try:
            messages = self._framer.feed(data)
        except ParseError as error:
            self._owner.stats.malformed += 1
            self._owner._unreadable(self, error)
            return
        for message in messages:
            if message == _PING:
                self.send(_PONG)
            elif message != _PONG:
                self.complete = True
                self._owner._received(message, self.flow)
        # a message that never ends must not keep the connection alive
        if self._framer.pending and self._deadline is not None and self.complete:
            self._deadline.cancel()
            self.complete = False
            self._deadline = self._owner._loop.call_later(
                self._owner.limits.first_message_seconds, self._first_message_missing
            )

    def send(self, data: bytes) -> None:
        if self._pipe is None:
            self._unsent.append(data)
            return
        if self._pipe.is_closing():
            return
        self._pipe.write(data)
        if self._pipe.get_write_buffer_size() > _MAX_UNSENT:
            self.abort()

    def abort(self) -> None:
        if self._pipe is not None:
            self._pipe.abort()

    def close(self) -> None:
        if self._pipe is not None:
            self._pipe.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._owner._closed(self)


class StreamTransport:
    """A listener and its connections.

    Args:
        kind: "tcp" or "tls".
        received: called with each whole message and its flow.
        unreadable: called with the flow and the error of bytes that are no SIP; the connection
            is closed afterwards.
        failed: called with a flow whose connection is gone.
    """

    def __init__(
        self,
        kind: Literal["tcp", "tls"],
        received: Callable[[bytes, Flow], None],
        unreadable: Callable[[Flow, ParseError], None],
        failed: Callable[[Flow], None],
        limits: StreamLimits | None = None,
    ) -> None:
        self.kind: Literal["tcp", "tls"] = kind
        self.limits = limits or StreamLimits()
        self.stats = StreamStats()
        self.address: tuple[str, int] = ("", 0)
        self._received = received
        self._on_unreadable = unreadable
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._open: dict[Flow, _Connection] = {}
        self._by_address: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._client_tls: ssl.SSLContext | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Start to accept connections.

        Raises:
            OSError: the address cannot be bound.
        """
        self._server = await self._loop.create_server(
            lambda: _Connection(self, None), host, port, ssl=tls, backlog=1024
        )
        self.address = self._server.sockets[0].getsockname()[:2]
        self._sweep()

    def __len__(self) -> int:
        return len(self._open)

    def _admit(self, address: str) -> bool:
        if (
            len(self._open) >= self.limits.max_connections
            or self._by_address[address] >= self.limits.max_per_address
        ):
            self.stats.refused += 1
            return False
        self._by_address[address] += 1
        self.stats.accepted += 1
        return True

    def _unreadable(self, connection: _Connection, error: ParseError) -> None:
        self._on_unreadable(connection.flow, error)
        connection.close()

    def _closed(self, connection: _Connection) -> None:
        if self._open.pop(connection.flow, None) is None:
            return
        if not connection.outgoing:
            address = connection.flow.remote[0]
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
        self._failed(connection.flow)

    def _sweep(self) -> None:
        """Close what was silent for too long."""
        oldest = self._loop.time() - self.limits.idle_seconds
        for connection in [c for c in self._open.values() if c.last < oldest]:
            connection.close()
        self._sweeper = self._loop.call_later(self.limits.idle_seconds / 10, self._sweep)

    def flow_to(self, host: str, port: int) -> Flow:
        """Return a flow to an address: a connection that stands, or one that is being made."""
        for flow, connection in self._open.items():
            if flow.remote == (host, port) and connection.outgoing:
                return flow
        connection = _Connection(self, (host, port))
        self._open[connection.flow] = connection
        task = self._loop.create_task(self._connect(connection, host, port))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return connection.flow

    async def _connect(self, connection: _Connection, host: str, port: int) -> None:
        tls = None
        if self.kind == "tls":
            tls = self._client_tls = self._client_tls or ssl.create_default_context()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await self._loop.create_connection(lambda: connection, host, port, ssl=tls)
        except (OSError, TimeoutError):
            self._closed(connection)

    def send(self, flow: Flow, data: bytes) -> None:
        """Send on the flow's connection; if it is gone the flow is reported as failed."""
        connection = self._open.get(flow)
        if connection is None:
            self._loop.call_soon(self._failed, flow)
        else:
            connection.send(data)

    async def close(self) -> None:
        """Close the listener and all connections."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        for connection in list(self._open.values()):
            connection.abort()
        if self._server is not None:
            await self._server.wait_closed()
