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
import redis.asyncio
import redis.exceptions
import structlog

_log = structlog.get_logger(__name__)

Write = tuple[Any, ...]

#: writes that are kept at most while Valkey is away; states of calls do not count
MAX_BACKLOG = 100_000
_RETRY_SECONDS = 0.25
_ERRORS = (redis.exceptions.RedisError, OSError)


class Committer:
    """Collects writes and releases what waits for them."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._writes: list[Write] = []
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
                pipeline = self._client.pipeline(transaction=False)
                for (key, name), value in hashes.items():
                    if value is None:
                        pipeline.execute_command("HDEL", key, name)
                    else:
                        pipeline.execute_command("HSET", key, name, value)
                for command in writes:
                    pipeline.execute_command(*command)
                await pipeline.execute()
                self.commits += 1
            if not self.ok:
                self.ok = True
                _log.info("store-back", backlog=len(writes))
        except _ERRORS as error:
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

    async def close(self) -> None:
        """Write what is left, then stop."""
        self._closing = True
        self._wake.set()
        await self._task


def encode(value: Any) -> bytes:
    """Return the JSON of a state."""
    return msgspec.json.encode(value)
