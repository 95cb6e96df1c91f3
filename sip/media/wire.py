"""The two connections to an engine process: commands to rtp-io, filters and notices beside it.

Commands of one turn of the event loop leave in one write, and replies are matched in order, so
that a command costs a few microseconds here and no task of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

#: An engine that leaves a command unanswered this long is taken for dead. It answers in
#: microseconds; only a stopped process takes longer.
STALL_SECONDS = 3.0
_MAX_BUFFER = 1 << 20


class LineProtocol(asyncio.Protocol):
    """A stream of lines: batches of requests out, as many reply lines back, in order."""

    def __init__(
        self, on_lost: Callable[[], None], on_notice: Callable[[bytes], bool] | None = None
    ) -> None:
        """Tell `on_lost` once when the connection ends.

        `on_notice` sees every line first and returns True if the line is no reply.
        """
        self._on_lost = on_lost
        self._on_notice = on_notice
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._unread = b""
        self._unsent: list[str] = []
        self._waiting: deque[tuple[int, list[str], asyncio.Future[list[str]]]] = deque()
        self._answered = 0
        self._seen = 0
        self._watch: asyncio.TimerHandle | None = None

    def request(self, lines: list[str]) -> asyncio.Future[list[str]]:
        """Send lines; the future gives their replies, ConnectionError if the connection ends."""
        future: asyncio.Future[list[str]] = self._loop.create_future()
        if self._transport is None:
            future.set_exception(ConnectionResetError("not connected"))
            return future
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent += lines
        self._waiting.append((len(lines), [], future))
        if self._watch is None:
            self._seen = self._answered
            self._watch = self._loop.call_later(STALL_SECONDS, self._check)
        return future

    def close(self) -> None:
        """Send what is queued and end the connection."""
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        # uvloop's transports are no subclasses of asyncio's
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        *lines, self._unread = (self._unread + data).split(b"\n")
        if len(self._unread) > _MAX_BUFFER and self._transport is not None:
            self._transport.abort()
            return
        for raw in lines:
            # rtp-io ends some replies with a zero byte after the line's end.
            line = raw.strip(b"\0")
            if self._on_notice is not None and self._on_notice(line):
                continue
            if not self._waiting:
                continue
            count, replies, future = self._waiting[0]
            replies.append(line.decode("ascii", "replace"))
            self._answered += 1
            if len(replies) == count:
                self._waiting.popleft()
                if not future.done():
                    future.set_result(replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        waiting, self._waiting = self._waiting, deque()
        for _, _, future in waiting:
            if not future.done():
                future.set_exception(ConnectionResetError("the connection to the engine ended"))
                future.exception()  # somebody who no longer waits is no unhandled error
        self._on_lost()

    def _flush(self) -> None:
        if self._unsent and self._transport is not None:
            self._transport.write(("\n".join(self._unsent) + "\n").encode("ascii"))
        self._unsent.clear()

    def _check(self) -> None:
        self._watch = None
        if not self._waiting:
            return
        if self._answered == self._seen and self._transport is not None:
            self._transport.abort()
            return
        self._seen = self._answered
        self._watch = self._loop.call_later(STALL_SECONDS, self._check)
