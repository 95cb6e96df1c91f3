"""What a worker stores in Valkey, written before it is spoken of.

All writes of one turn of the event loop go out as one pipeline, and the datagrams that depend on
them follow when Valkey has acknowledged it (group commit). While Valkey cannot be reached, calls
in progress go on: their newest states are kept and written when it is back, and `ok` tells that
new work has to be refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from comms.bus.link import Link, Parts

_log = structlog.get_logger(__name__)

#: writes that are kept at most while Valkey is away; states of calls do not count
MAX_BACKLOG = 100_000
_RETRY_SECONDS = 0.25
#: errors of a server that will take the same command later
_PASSING = ("OOM", "MISCONF", "LOADING", "READONLY", "BUSY", "CLUSTERDOWN")


class Committer:
    """Collects writes and releases what waits for them."""

    def __init__(self, client: Redis) -> None:
        self._client = client
        self._link: Link | None = None
        self._writes: list[Parts] = []
        self._hashes: dict[tuple[str, str], bytes | None] = {}
        self._waiting: list[Callable[[], None]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self.ok = True
        self.commits = 0
        self._busy = False
        self._task = asyncio.create_task(self._run(), name="committer")

    @property
    def idle(self) -> bool:
        """Whether nothing is waiting to be written."""
        return not (self._writes or self._hashes or self._waiting or self._busy)

    def write(self, *command: Any) -> None:
        """Append a command such as ("XADD", key, ...)."""
        if len(self._writes) < MAX_BACKLOG:
            self._writes.append(command)
        self._wake.set()

    def put(self, key: str, field: str, value: bytes | None) -> None:
        """Set (or with None delete) a field of a hash; a later value replaces an unwritten one."""
        self._hashes[key, field] = value
        self._wake.set()

    def after(self, release: Callable[[], None]) -> None:
        """Call `release` once everything written until now is stored.

        At once if it is already, or if Valkey cannot be reached.
        """
        if not self.ok or self.idle:
            release()
            return
        self._waiting.append(release)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not await self._commit():
                if self._closing:
                    return
                self._wake.set()
                await asyncio.sleep(_RETRY_SECONDS)
            if self._closing and self.idle:
                return

    async def _commit(self) -> bool:
        writes, self._writes = self._writes, []
        hashes, self._hashes = self._hashes, {}
        waiting, self._waiting = self._waiting, []
        self._busy = True
        done = True
        try:
            if writes or hashes:
                await self._send(
                    [
                        ("HDEL", key, name) if value is None else ("HSET", key, name, value)
                        for (key, name), value in hashes.items()
                    ]
                    + writes
                )
                self.commits += 1
            if not self.ok:
                self.ok = True
                _log.info("store-back", backlog=len(writes))
        except (RedisError, OSError) as error:
            done = False
            if self.ok:
                self.ok = False
                _log.error("store-lost", error=type(error).__name__)
            self._writes = (writes + self._writes)[:MAX_BACKLOG]
            self._hashes = hashes | self._hashes
        finally:
            self._busy = False
        for release in waiting:
            release()
        return done

    async def _send(self, commands: list[Parts]) -> None:
        if self._link is None:
            link = Link(self._client)
            await link.open()
            self._link = link
        try:
            self._link.send(*commands)
            await self._link.replies(len(commands))
        except ResponseError as error:
            if str(error).startswith(_PASSING):
                raise
            # a command that Valkey will never take must not hold up all others
            _log.error("write-refused", error=str(error).partition(" ")[0])
        except (RedisError, OSError):
            link, self._link = self._link, None
            await link.close()
            raise

    async def wait(self) -> None:
        """Return when the committer ended, which it does by `close` alone; raises what broke it."""
        await asyncio.shield(self._task)

    async def close(self) -> None:
        """Write what is left, then stop."""
        self._closing = True
        self._wake.set()
        # `wait` is who tells what broke it
        await asyncio.wait([self._task])
        if self._link is not None:
            await self._link.close()


def encode(value: Any) -> bytes:
    """Return the JSON of a state."""
    return msgspec.json.encode(value)
