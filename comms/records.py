"""Writes call records from the live store into the database.

Telephony adds `CallRecord`s to the stream `Keys.records`; the queue role tells the length of each
wrap-up. Entries are acknowledged and deleted after the database committed them, events are passed
only then, and what is written is such that a repetition changes nothing: a crash at any point
loses and doubles no record. While the database is locked, full or away, entries stay in the stream
and are tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from comms.bus import acd
from comms.bus.records import CallRecord
from comms.bus.streams import Codec, Keys
from comms.store import models as m
from comms.store.engine import insert_of, is_temporary, writing
from comms.tasks import end

log = structlog.get_logger(__name__)

GROUP = "records"
_BATCH = 500
_BLOCK_MS = 1000
_GATHER_SECONDS = 0.5
#: entries that another writer read and did not finish for this long are taken over
_CLAIM_AFTER_MS = 60_000
_CLAIM_EVERY_SECONDS = 30.0
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
#: undecodable entries that are kept for inspection, at most
_REFUSED_KEPT = 1000

_records: Codec[CallRecord] = Codec(CallRecord)
_events: Codec[acd.Event] = Codec(acd.Event)
_WRAP_UP_MARK = b'"wrap-up-over"'

Row = tuple[bytes, dict[bytes, bytes]]


@dataclass(slots=True)
class WriterHealth:
    """How the writer does, for `/api/v1/ready` and `/metrics`."""

    written: int = 0
    refused: int = 0
    #: since when (epoch seconds) the database has not taken records; None: it does
    failing_since: float | None = None
    #: short and without personal data
    problem: str | None = None


class RecordWriter:
    """Reads the streams as one consumer of a group, so that several web roles share the work."""

    def __init__(self, redis: Redis, keys: Keys, engine: AsyncEngine, consumer: str) -> None:
        self._redis = redis
        self._keys = keys
        self._engine = engine
        self._consumer = consumer
        self._task: asyncio.Task[None] | None = None
        self._next_claim = 0.0
        #: the last of the queue role's events whose wrap-ups are in the database
        self._event = b"0-0"
        self.health = WriterHealth()

    def start(self) -> None:
        """Begin to write in the background."""
        self._task = asyncio.create_task(self._run(), name="record-writer")

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return what runs in the background; it ends only when it is stopped, or by a mistake."""
        return [] if self._task is None else [self._task]

    async def stop(self) -> None:
        """Stop after the batch at hand."""
        await end(self._task)
        self._task = None

    async def backlog(self) -> int:
        """Return how many records wait in the stream."""
        return int(await self._redis.xlen(self._keys.records))

    async def _run(self) -> None:
        failures = 0
        ready = False
        while True:
            try:
                if not ready:
                    await self._create_groups()
                    # What this consumer read before it was restarted comes first.
                    while await self._turn("0"):
                        pass
                    ready = True
                if time.monotonic() >= self._next_claim:
                    self._next_claim = time.monotonic() + _CLAIM_EVERY_SECONDS
                    await self._claim()
                if await self._turn(">"):
                    # one transaction for what ends meanwhile, not one a call
                    await asyncio.sleep(_GATHER_SECONDS)
                failures = 0
            except (RedisError, OSError) as error:
                # NOGROUP after the live store lost its data: the groups are made anew.
                ready = False
                self._note(failures, f"live store: {type(error).__name__}")
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1

    async def _create_groups(self) -> None:
        for stream in (self._keys.records, self._keys.acd_events):
            try:
                await self._redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
        groups: Any = await self._redis.xinfo_groups(self._keys.acd_events)
        self._event = next(g["last-delivered-id"] for g in groups if g["name"] == GROUP.encode())

    async def _turn(self, start: str) -> bool:
        """Read a batch of records and all new events; return whether there were records."""
        streams: Any = {self._keys.records: start}
        answer: Any = await self._redis.xreadgroup(
            GROUP, self._consumer, streams, count=_BATCH, block=_BLOCK_MS
        )
        found = False
        for _, rows in answer or ():
            if rows:
                found = True
                await self._take_records(rows)
        await self._follow_events()
        return found

    async def _claim(self) -> None:
        claimed: Any = await self._redis.xautoclaim(
            self._keys.records, GROUP, self._consumer, min_idle_time=_CLAIM_AFTER_MS, count=_BATCH
        )
        if claimed[1]:
            await self._take_records(claimed[1])

    async def _take_records(self, rows: Sequence[Row]) -> None:
        records: list[CallRecord] = []
        refused: list[Row] = []
        for row in rows:
            # The content is None for an entry that was deleted while this consumer held it.
            raw = (row[1] or {}).get(b"m")
            try:
                records.append(_records.decode(raw or b""))
            except msgspec.DecodeError:
                if raw is not None:
                    refused.append(row)
        await self._persist(records, refused)
        await self._forget(rows, refused)

    async def _follow_events(self) -> None:
        """Write the wrap-ups among the events since the last one looked at.

        Hardly any event is one, so no event is held and acknowledged by itself: the group only
        keeps how far its members have come. Each of several web roles reads all events, and
        writing a wrap-up twice changes nothing.
        """
        stream = self._keys.acd_events
        rows: Sequence[Row] | None = None
        while rows is None or len(rows) >= _BATCH:
            answer: Any = await self._redis.xread({stream: self._event}, count=_BATCH)
            if not answer:
                return
            rows = answer[0][1]
            await self._take_events(rows)
            self._event = rows[-1][0]
            await self._redis.xgroup_setid(stream, GROUP, self._event)

    async def _take_events(self, rows: Sequence[Row]) -> None:
        wrap_ups: list[acd.WrapUpOver] = []
        for _, fields in rows:
            raw = fields.get(b"m", b"")
            # Most events are no wrap-ups; looking for the tag is cheaper than decoding them.
            if _WRAP_UP_MARK not in raw:
                continue
            try:
                event = _events.decode(raw)
            except msgspec.DecodeError:
                continue
            if isinstance(event, acd.WrapUpOver):
                wrap_ups.append(event)
        if wrap_ups:
            await self._retry(lambda session: write_wrap_ups(session, wrap_ups))

    async def _persist(self, records: list[CallRecord], refused: list[Row]) -> None:
        """Write records; those the database refuses for good are counted and left out."""
        if not records:
            return
        try:
            await self._retry(lambda session: write_records(session, records))
            self.health.written += len(records)
        except DBAPIError:
            for record in records:
                one = [record]
                try:
                    await self._retry(lambda session, one=one: write_records(session, one))
                    self.health.written += 1
                except DBAPIError as error:
                    log.error("call record refused", error=type(error.orig).__name__)
                    refused.append((b"", _records.fields(record)))

    async def _retry(self, write: Any) -> None:
        """Run a write in a transaction until it is committed.

        Raises:
            DBAPIError: the database will not take it at any time.
        """
        failures = 0
        while True:
            try:
                async with writing(self._engine) as session:
                    await write(session)
            except (DBAPIError, OSError) as error:
                if isinstance(error, DBAPIError) and not is_temporary(error):
                    raise
                self._note(failures, "database: " + type(_cause(error)).__name__)
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1
            else:
                if self.health.failing_since is not None:
                    log.info("call records are written again")
                    self.health.failing_since = self.health.problem = None
                return

    async def _forget(self, rows: Sequence[Row], refused: Sequence[Row]) -> None:
        ids: list[Any] = [row[0] for row in rows]
        async with self._redis.pipeline(transaction=True) as pipe:
            for _, content in refused:
                fields: Any = content
                pipe.xadd(
                    f"{self._keys.records}:refused",
                    fields,
                    maxlen=_REFUSED_KEPT,
                )
            pipe.xack(self._keys.records, GROUP, *ids)
            pipe.xdel(self._keys.records, *ids)
            await pipe.execute()
        self.health.refused += len(refused)
        if self.health.problem is not None and self.health.problem.startswith("live store"):
            self.health.failing_since = self.health.problem = None

    def _note(self, failures: int, problem: str) -> None:
        if self.health.failing_since is None:
            self.health.failing_since = time.time()
        if failures == 0:
            log.warning("call records wait", problem=problem)
        self.health.problem = problem


def _cause(error: BaseException) -> BaseException:
    original = getattr(error, "orig", None)
    return original if isinstance(original, BaseException) else error


async def write_records(session: AsyncSession, records: Iterable[CallRecord]) -> None:
    """Insert call records with their legs; those that are there already stay as they are."""
    calls, legs = [], []
    for record in records:
        calls.append(
            {
                "call_id": _cut(record.call, 128),
                "direction": record.direction,
                "from_number": _cut(record.from_number, 64),
                "to_number": _cut(record.to_number, 64),
                "from_person": _cut(record.from_person, 64),
                "to_person": _cut(record.to_person, 64),
                "started": record.started,
                "answered": record.answered,
                "ended": record.ended,
                "ended_by": record.ended_by,
                "cause": record.cause,
                "queue": _cut(record.queue, 40),
                "agent": _cut(record.agent, 64),
                "waiting": record.waiting,
                "ringing": record.ringing,
                "talking": record.talking,
                "wrap_up": None,
                "shortened": False,
            }
        )
        legs += [
            {
                "call_id": _cut(record.call, 128),
                "leg": _cut(leg.leg, 128),
                "position": position,
                "role": leg.role,
                "person": _cut(leg.person, 64),
                "device": _cut(leg.device, 64),
                "number": _cut(leg.number, 64),
                "started": leg.started,
                "answered": leg.answered,
                "ended": leg.ended,
                "status": leg.status,
                "packets": leg.quality.packets,
                "lost": leg.quality.lost,
                "jitter_ms": leg.quality.jitter_ms,
            }
            for position, leg in enumerate(record.legs)
        ]
    await _insert_missing(session, m.CallRecord, calls)
    await _insert_missing(session, m.CallLeg, legs)
    ids = [str(call["call_id"]) for call in calls if call["queue"] is not None]
    await _sum_wrap_ups(session, ids)


async def write_wrap_ups(session: AsyncSession, wrap_ups: Iterable[acd.WrapUpOver]) -> None:
    """Note wrap-ups and add them up in the records that are there; the others get them later."""
    now = time.time()
    rows = [
        {
            "work_id": _cut(w.work, 140),
            "agent": _cut(w.agent, 64),
            "call_id": _cut(call_of(w.work), 128),
            "seconds": w.seconds,
            "at": now,
        }
        for w in wrap_ups
    ]
    await _insert_missing(session, m.WrapUp, rows)
    await _sum_wrap_ups(session, [str(row["call_id"]) for row in rows])


def call_of(work: str) -> str:
    """Return the call behind a piece of work.

    Telephony names a call's work after the call, with `.N` when it moved to another queue.
    """
    call, dot, count = work.rpartition(".")
    return call if dot and count.isdigit() else work


async def _sum_wrap_ups(session: AsyncSession, calls: list[str]) -> None:
    if not calls:
        return
    total = (
        select(func.sum(m.WrapUp.seconds))
        .where(m.WrapUp.call == m.CallRecord.call)
        .scalar_subquery()
    )
    await session.execute(
        update(m.CallRecord)
        .where(m.CallRecord.call.in_(calls))
        .values(wrap_up=total)
        .execution_options(synchronize_session=False)
    )


async def _insert_missing(
    session: AsyncSession, model: type[m.Base], rows: list[dict[str, Any]]
) -> None:
    if not rows:
        return
    table: Any = model.__table__
    await session.execute(insert_of(session)(table).on_conflict_do_nothing(), rows)


def _cut(text: str | None, length: int) -> str | None:
    """Return text that fits its column: what a caller sends may be anything."""
    if text is None:
        return None
    return text.replace("\x00", "")[:length]
