"""Deletes call records that are older than the house keeps them, and shortens outside numbers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import structlog
from sqlalchemy import case, delete, func, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from comms.people.actions import audit
from comms.store import models as m
from comms.store.engine import writing
from comms.store.house import House, load_house
from comms.tasks import end

log = structlog.get_logger(__name__)

_DAY = 86_400.0
#: rows of one transaction: a long one would hold SQLite's only write lock
_CHUNK = 500
#: digits at a number's end that are dropped, as German practice is for itemised bills
_DROPPED = 3


@dataclass(frozen=True, slots=True)
class Swept:
    """What one run did."""

    deleted: int
    shortened: int


async def sweep(engine: AsyncEngine, default_days: int, now: float | None = None) -> Swept:
    """Delete and shorten what is due, and note the counts in the audit.

    Args:
        default_days: how long records are kept where the house has not set it.
        now: epoch seconds; given by tests.
    """
    now = time.time() if now is None else now
    async with writing(engine) as session:
        house = await load_house(session)
    days = house.retention_days if house.retention_days is not None else default_days
    deleted = await _delete(engine, now - days * _DAY)
    shortened = await _shorten(engine, house, now)
    if deleted or shortened:
        async with writing(engine) as session:
            audit(
                session,
                "system",
                "calls.swept",
                deleted=deleted,
                shortened=shortened,
                kept_days=days,
            )
        log.info("call records swept", deleted=deleted, shortened=shortened)
    return Swept(deleted, shortened)


async def _delete(engine: AsyncEngine, before: float) -> int:
    deleted = 0
    while True:
        async with writing(engine) as session:
            ids = list(
                await session.scalars(
                    select(m.CallRecord.call).where(m.CallRecord.ended < before).limit(_CHUNK)
                )
            )
            if ids:
                await session.execute(delete(m.CallLeg).where(m.CallLeg.call.in_(ids)))
                await session.execute(delete(m.WrapUp).where(m.WrapUp.call.in_(ids)))
                await session.execute(delete(m.CallRecord).where(m.CallRecord.call.in_(ids)))
            else:
                # Of calls whose record never came.
                await session.execute(delete(m.WrapUp).where(m.WrapUp.at < before))
        if not ids:
            return deleted
        deleted += len(ids)


async def _shorten(engine: AsyncEngine, house: House, now: float) -> int:
    if house.shorten_numbers_after_days is None:
        return 0
    before = now - house.shorten_numbers_after_days * _DAY
    shortened = 0
    while True:
        async with writing(engine) as session:
            ids = list(
                await session.scalars(
                    select(m.CallRecord.call)
                    .where(m.CallRecord.ended < before, m.CallRecord.shortened.is_(False))
                    .limit(_CHUNK)
                )
            )
            if ids:
                legs = (
                    update(m.CallLeg)
                    .where(m.CallLeg.call.in_(ids))
                    .values(number=_short(m.CallLeg.number))
                )
                calls = (
                    update(m.CallRecord)
                    .where(m.CallRecord.call.in_(ids))
                    .values(
                        from_number=_short(m.CallRecord.from_number),
                        to_number=_short(m.CallRecord.to_number),
                        shortened=True,
                    )
                )
                quick = {"synchronize_session": False}
                await session.execute(legs, execution_options=quick)
                await session.execute(calls, execution_options=quick)
        if not ids:
            return shortened
        shortened += len(ids)


def _short(column: object) -> object:
    """A number without its last digits; internal numbers, which are no longer than 8, stay."""
    length = func.length(column)
    return case(
        (length > 8, func.substr(column, 1, length - _DROPPED).concat("xxx")),
        else_=column,
    )


class Retention:
    """Runs the sweep at once and then every so many seconds."""

    def __init__(self, engine: AsyncEngine, default_days: int, every: float = _DAY) -> None:
        self._engine = engine
        self._days = default_days
        self._every = every
        self._task: asyncio.Task[None] | None = None
        #: epoch seconds of the last sweep that succeeded
        self.last: float | None = None

    def start(self) -> None:
        """Begin in the background."""
        self._task = asyncio.create_task(self._run(), name="retention")

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return what runs in the background; it ends only when it is stopped, or by a mistake."""
        return [] if self._task is None else [self._task]

    async def stop(self) -> None:
        """Stop; a sweep that runs is cut between two transactions or rolled back."""
        await end(self._task)
        self._task = None

    async def _run(self) -> None:
        while True:
            pause = self._every
            try:
                await sweep(self._engine, self._days)
                self.last = time.time()
            except (DBAPIError, OSError) as error:
                log.warning("sweep of call records failed", error=type(error).__name__)
                pause = min(60.0, self._every)
            await asyncio.sleep(pause)
