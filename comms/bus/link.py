"""One connection to Redis on which several commands go out in one write.

redis-py opens the connection (address, TLS, log-in, database); from there on this protocol
replaces its streams. A command through redis-py's asyncio client costs several times what a role
spends on deciding what to write; here it costs packing, one write and one read.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import hiredis
import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

_log = structlog.get_logger(__name__)

#: A command and its arguments.
Parts: TypeAlias = "tuple[bytes | str | int, ...]"

#: Seconds without an answer after which a server counts as gone, although the connection stands.
SILENCE = 3.0

_NOTHING = object()

# Its type stub takes tuples of one item only.
_pack: Callable[[Parts], bytes] = hiredis.pack_command  # type: ignore[assignment]


class Link(asyncio.Protocol):
    """Writes commands and collects their replies, which come in the same order."""

    def __init__(self, client: Redis) -> None:
        pool = client.connection_pool
        self._connection: Connection = pool.make_connection()  # type: ignore[no-untyped-call]
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._replies: deque[Any] = deque()
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._lost: Exception | None = None
        self._heard = 0.0
        self._watch: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            redis.exceptions.ConnectionError: there is nobody, or they do not let us in.
        """
        await self._connection.connect()  # type: ignore[no-untyped-call]
        # redis-py has no public way to its transport.
        writer = self._connection._writer
        assert writer is not None
        self._transport = writer.transport
        self._transport.set_protocol(self)
        self._heard = time.monotonic()
        self._look_for_silence()

    async def close(self) -> None:
        """Disconnect; replies that are under way are lost."""
        if self._watch is not None:
            self._watch.cancel()
        await self._connection.disconnect(nowait=True)

    def send(self, *commands: Parts) -> None:
        """Write commands; each has one reply.

        Raises:
            redis.exceptions.ConnectionError: the connection is gone.
        """
        if self._lost is not None or self._transport.is_closing():
            # uvloop's transports raise RuntimeError in that case
            raise self._lost or RedisConnectionError("the connection to Redis is gone")
        self._transport.write(b"".join([_pack(c) for c in commands]))

    async def replies(self, count: int) -> list[Any]:
        """Return the next replies, once all of them are there.

        Raises:
            redis.exceptions.ResponseError: one of them is an error; the rest is of no use then.
            redis.exceptions.ConnectionError: the connection is gone.
        """
        if len(self._replies) < count:
            if self._lost is not None:
                raise self._lost
            self._wanted = count
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        found = [self._replies.popleft() for _ in range(count)]
        for reply in found:
            if isinstance(reply, hiredis.ReplyError):
                raise ResponseError(str(reply))
        return found

    async def call(self, *command: bytes | str | int) -> Any:
        """Send one command and return its reply. Only while no other reply is under way."""
        self.send(command)
        return (await self.replies(1))[0]

    # --- asyncio.Protocol -----------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take bytes from the server."""
        self._heard = time.monotonic()
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not _NOTHING:
            self._replies.append(reply)
        if self._waiter is not None and len(self._replies) >= self._wanted:
            self._finish(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone."""
        self._lost = RedisConnectionError("the connection to Redis is gone")
        self._finish(self._lost)

    def _finish(self, error: Exception | None) -> None:
        if self._waiter is None or self._waiter.done():
            return
        if error is None:
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(error)

    def _look_for_silence(self) -> None:
        # One look a second costs less than a time-out around every read.
        if self._waiter is not None and time.monotonic() - self._heard > SILENCE:
            _log.warning("redis-silent", seconds=SILENCE)
            self._transport.abort()
            return
        self._watch = asyncio.get_running_loop().call_later(1.0, self._look_for_silence)
