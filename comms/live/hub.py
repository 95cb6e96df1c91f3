"""Follows the roles' events and keeps the live state of this process up to date."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from comms.bus import acd
from comms.bus import sip as sip_bus
from comms.bus.streams import Codec, Keys
from comms.live.state import Change, LiveState
from comms.live.views import Lookup
from comms.people.queries import load_briefs
from comms.store import models as m
from comms.store.engine import reading
from comms.tasks import end

T = TypeVar("T")

log = structlog.get_logger(__name__)

_acd_events: Codec[acd.Event] = Codec(acd.Event)
_sip_events: Codec[sip_bus.Event] = Codec(sip_bus.Event)
_works = msgspec.json.Decoder(acd.WorkView)
_agents = msgspec.json.Decoder(acd.AgentView)
_queues = msgspec.json.Decoder(acd.QueueView)
_calls = msgspec.json.Decoder(sip_bus.CallView)

#: how long one XREAD waits; also how soon a queue role that went away is noticed
_BLOCK_SECONDS = 1.0
_GATHER_SECONDS = 0.1
#: how often it is looked whether a queue role leads, however much happens
_LEASE_SECONDS = 0.5
_BATCH = 500
#: how entries begin that change no view: most of them, and not worth decoding
_WITHOUT_VIEW = tuple(
    f'{{"type":"{kind.__struct_config__.tag}"'.encode()
    for kind in (
        acd.Decision,
        acd.OfferEnded,
        acd.OfferMade,
        acd.WorkAssigned,
        acd.WorkOverflowed,
        acd.WrapUpOver,
        sip_bus.DevicesChanged,
    )
)
#: pauses between attempts to reach the live store
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)

#: called with the changes of one batch; None: the state was read anew, everything may differ
Listener = Callable[[list[Change] | None], None]


class LiveHub:
    """The live state of this process and who listens to its changes.

    The state is read from the view hashes in one transaction together with the streams' last
    ids, and then follows the streams from there. When the streams were cut further than this
    process has read, or the live store was away, it is read anew.
    """

    def __init__(self, redis: Redis, keys: Keys, engine: AsyncEngine) -> None:
        self._redis = redis
        self._keys = keys
        self._engine = engine
        self._acd_id = b"0-0"
        self._sip_id = b"0-0"
        #: monotonic seconds at which the lease was last looked at
        self._lease_at = 0.0
        self._listeners: list[Listener] = []
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self.state = LiveState()
        self.lookup = Lookup({}, {})
        #: whether the state follows the streams at the moment
        self.following = False
        #: entries of the streams that could not be understood
        self.unknown = 0

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` after every batch of changes."""
        self._listeners.append(listener)

    async def start(self) -> None:
        """Read the state, then follow it in the background.

        When the live store is out of reach, it starts empty and catches up later.
        """
        await self.refresh_lookup()
        try:
            await self._read_state()
            self.following = True
        except RedisError:
            log.warning("live store out of reach")
        self._task = asyncio.create_task(self._follow(), name="live-hub")

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return what runs in the background; it ends only when it is stopped, or by a mistake."""
        return [] if self._task is None else [self._task]

    async def stop(self) -> None:
        """Stop following."""
        await end(self._task)
        self._task = None

    async def refresh_lookup(self) -> None:
        """Read names and numbers anew, after people or queues changed."""
        async with reading(self._engine) as session:
            people = await load_briefs(session)
            rows = await session.execute(select(m.Queue.name, m.Queue.number))
            self.lookup = Lookup(people, dict(rows.all()))

    async def wait_until(self, condition: Callable[[LiveState], bool], seconds: float) -> bool:
        """Wait until the state fulfils a condition; return whether it did in time."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: condition(self.state))
        except TimeoutError:
            return False
        return True

    async def _follow(self) -> None:
        failures = 0
        while True:
            try:
                if not self.following:
                    await self._read_state()
                    self.following = True
                    await self._tell(None)
                await self._step()
                failures = 0
            except (RedisError, OSError) as error:
                if failures == 0:
                    log.warning("live store out of reach", error=type(error).__name__)
                self.following = False
                changes = self.state.set_current(False)
                if changes:
                    await self._tell(changes)
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1

    async def _step(self) -> None:
        streams: Any = {self._keys.acd_events: self._acd_id, self._keys.sip_events: self._sip_id}
        started = time.monotonic()
        answer: Any = await self._redis.xread(
            streams, count=_BATCH, block=int(_BLOCK_SECONDS * 1000)
        )
        full = any(len(rows) >= _BATCH for _, rows in answer or ())
        # Far behind: whoever writes the streams may have cut what was not read yet.
        if (full or time.monotonic() - started > 2 * _BLOCK_SECONDS) and await self._cut():
            self.following = False
            return
        current = self.state.current
        if time.monotonic() - self._lease_at >= _LEASE_SECONDS:
            current = bool(await self._redis.exists(self._keys.acd_lease))
            self._lease_at = time.monotonic()
        # From here to telling the listeners nothing is awaited: whoever reads the state meanwhile
        # would see changes that come once more as events.
        changes: list[Change] = []
        for stream, rows in answer or ():
            if stream == self._keys.acd_events.encode():
                self._acd_id = rows[-1][0]
                changes += self._apply(_acd_events, rows)
            else:
                self._sip_id = rows[-1][0]
                changes += self._apply(_sip_events, rows)
        changes += self.state.set_current(current)
        if changes:
            await self._tell(changes)
        if answer:
            # what happens meanwhile goes out together
            await asyncio.sleep(_GATHER_SECONDS)

    def _apply(
        self, codec: Codec[Any], rows: Iterable[tuple[bytes, dict[bytes, bytes]]]
    ) -> list[Change]:
        changes: list[Change] = []
        for _, fields in rows:
            try:
                raw = fields[b"m"]
                if raw.startswith(_WITHOUT_VIEW):
                    continue
                event = codec.decode(raw)
            except (msgspec.DecodeError, KeyError):
                self.unknown += 1
                continue
            changes += self.state.apply(event)
        return changes

    async def _cut(self) -> bool:
        """Whether entries after the last one read may have been cut off."""
        for stream, last in (
            (self._keys.acd_events, self._acd_id),
            (self._keys.sip_events, self._sip_id),
        ):
            if not await self._redis.exists(stream):
                continue
            info: Any = await self._redis.xinfo_stream(stream)
            trimmed = int(info["entries-added"]) > int(info["length"])
            first = info["first-entry"]
            if trimmed and (first is None or _id(first[0]) > _id(last)):
                return True
        return False

    async def _read_state(self) -> None:
        """Read the views together with the streams' last ids.

        The views are written in the same transaction as the events they result from, so this is
        the state exactly after these ids.
        """
        keys = self._keys
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hvals(keys.acd_works)
            pipe.hvals(keys.acd_agents)
            pipe.hvals(keys.acd_queues)
            pipe.hvals(keys.sip_calls_view)
            pipe.xrevrange(keys.acd_events, count=1)
            pipe.xrevrange(keys.sip_events, count=1)
            pipe.exists(keys.acd_lease)
            works, agents, queues, calls, acd_last, sip_last, lease = await pipe.execute()
        self.state = LiveState.of(
            works=self._decoded(_works, works),
            agents=self._decoded(_agents, agents),
            queues=self._decoded(_queues, queues),
            calls=self._decoded(_calls, calls),
            current=bool(lease),
        )
        self._acd_id = acd_last[0][0] if acd_last else b"0-0"
        self._sip_id = sip_last[0][0] if sip_last else b"0-0"

    def _decoded(self, decoder: msgspec.json.Decoder[T], raws: Iterable[bytes]) -> Iterator[T]:
        for raw in raws:
            try:
                yield decoder.decode(raw)
            except msgspec.DecodeError:
                self.unknown += 1

    async def _tell(self, changes: list[Change] | None) -> None:
        for listener in self._listeners:
            listener(changes)
        async with self._changed:
            self._changed.notify_all()


class ChannelListener:
    """Follows the channels that tell of changed people and of sessions that are over.

    Both callbacks may come once too often, also after the live store was away, because messages
    are not kept for somebody who does not listen.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        on_directory: Callable[[], Any],
        on_session_over: Callable[[str | None], Any],
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._on_directory = on_directory
        self._on_session_over = on_session_over
        self._task: asyncio.Task[None] | None = None
        self.listening = asyncio.Event()

    def start(self) -> None:
        """Begin to listen in the background."""
        self._task = asyncio.create_task(self._listen(), name="channels")

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return what runs in the background; it ends only when it is stopped, or by a mistake."""
        return [] if self._task is None else [self._task]

    async def stop(self) -> None:
        """Stop listening."""
        await end(self._task)
        self._task = None

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(self._keys.directory, self._keys.sessions_over)
                    await self._on_directory()
                    await self._on_session_over(None)
                    failures = 0
                    self.listening.set()
                    while True:
                        message: Any = await pubsub.get_message(timeout=5.0)
                        if message is None:
                            continue
                        if message["channel"] == self._keys.directory.encode():
                            await self._on_directory()
                        else:
                            await self._on_session_over(message["data"].decode())
            except (RedisError, OSError, DBAPIError) as error:
                self.listening.clear()
                if failures == 0:
                    log.warning("channels out of reach", error=type(error).__name__)
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1


def _id(raw: bytes | str) -> tuple[int, int]:
    text = raw.decode() if isinstance(raw, bytes) else raw
    time_, _, number = text.partition("-")
    return int(time_), int(number)
