"""The history of calls: pages, single calls and the export."""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, and_, or_, select, true, tuple_, union
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from comms.people.access import CallScope
from comms.problems import FieldProblem, Invalid, NotFound
from comms.store import models as m
from comms.store.engine import reading

MAX_PAGE = 200
_EXPORT_PAGE = 1000
#: SQLite takes 500 parts of a compound query; somebody who supervises more reads a little slower
_MOST_BRANCHES = 200


@dataclass(frozen=True, slots=True)
class Filter:
    """Which calls are wanted; None: any. Times are epoch seconds of the start, [since, until)."""

    queue: str | None = None
    person: str | None = None
    since: float | None = None
    until: float | None = None
    direction: str | None = None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last call of a page; the next page begins after it."""

    started: float
    call: str

    def encode(self) -> str:
        """Return it as a client hands it back."""
        raw = f"{self.started!r} {self.call}".encode()
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Return the cursor in `text`.

        Raises:
            Invalid: it is none.
        """
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
            started, _, call = raw.partition(" ")
            cursor = cls(float(started), call)
        except (ValueError, binascii.Error):
            raise Invalid(FieldProblem("cursor", "bad-cursor", "is not one of ours")) from None
        if not cursor.call or cursor.started != cursor.started:
            raise Invalid(FieldProblem("cursor", "bad-cursor", "is not one of ours"))
        return cursor


def _reasons(scope: CallScope) -> list[ColumnElement[bool]]:
    """Return the reasons for which a call may be seen; each has an index of its own."""
    r = m.CallRecord
    if scope.all:
        return [true()]
    own = [r.from_person == scope.person, r.to_person == scope.person, r.agent == scope.person]
    return own + [r.queue == queue for queue in sorted(scope.queues)]


def _visible(scope: CallScope) -> ColumnElement[bool]:
    return or_(*_reasons(scope))


def _wanted(wanted: Filter) -> Iterable[ColumnElement[bool]]:
    r = m.CallRecord
    if wanted.queue is not None:
        yield r.queue == wanted.queue
    if wanted.person is not None:
        yield or_(
            r.from_person == wanted.person, r.to_person == wanted.person, r.agent == wanted.person
        )
    if wanted.since is not None:
        yield r.started >= wanted.since
    if wanted.until is not None:
        yield r.started < wanted.until
    if wanted.direction is not None:
        yield r.direction == wanted.direction
    if wanted.cause is not None:
        yield r.cause == wanted.cause


async def list_calls(
    session: AsyncSession, scope: CallScope, wanted: Filter, after: Cursor | None, limit: int
) -> tuple[list[m.CallRecord], Cursor | None]:
    """Return at most `limit` calls, newest first, and where the next page begins."""
    r = m.CallRecord
    conditions = list(_wanted(wanted))
    if after is not None:
        conditions.append(tuple_(r.started, r.call) < (after.started, after.call))
    newest = (r.started.desc(), r.call.desc())
    reasons = _reasons(scope)
    if 1 < len(reasons) <= _MOST_BRANCHES:
        # The newest of each reason by its index: with one OR, a database reads all calls somebody
        # ever had before it sorts them.
        branches = [
            select(
                select(r.call.label("call_id"))
                .where(reason, *conditions)
                .order_by(*newest)
                .limit(limit + 1)
                .subquery()
                .c.call_id
            )
            for reason in reasons
        ]
        query = select(r).where(r.call.in_(union(*branches)))
    else:
        query = select(r).where(and_(or_(*reasons), *conditions))
    rows = list(await session.scalars(query.order_by(*newest).limit(limit + 1)))
    if len(rows) <= limit:
        return rows, None
    rows.pop()
    return rows, Cursor(rows[-1].started, rows[-1].call)


async def access_call(
    session: AsyncSession, scope: CallScope, call: str
) -> tuple[m.CallRecord, list[m.CallLeg]]:
    """Return a call and its legs.

    Raises:
        NotFound: there is no such call, or the person may not know of it.
    """
    row = await session.scalar(
        select(m.CallRecord).where(m.CallRecord.call == call, _visible(scope))
    )
    if row is None:
        raise NotFound("there is no such call")
    legs = await session.scalars(
        select(m.CallLeg).where(m.CallLeg.call == call).order_by(m.CallLeg.position)
    )
    return row, list(legs)


CSV_COLUMNS = (
    "call",
    "direction",
    "from_number",
    "from_person",
    "to_number",
    "to_person",
    "queue",
    "agent",
    "started",
    "answered",
    "ended",
    "waiting",
    "ringing",
    "talking",
    "wrap_up",
    "ended_by",
    "cause",
)
_TIMES = frozenset({"started", "answered", "ended"})


async def export_csv(engine: AsyncEngine, scope: CallScope, wanted: Filter) -> AsyncIterator[str]:
    """Yield the calls as CSV (RFC 4180), newest first, a page at a time.

    Calls that come in meanwhile are left out, because each page begins after the last one.
    """
    yield _lines([CSV_COLUMNS])
    after: Cursor | None = None
    while True:
        async with reading(engine) as session:
            rows, after = await list_calls(session, scope, wanted, after, _EXPORT_PAGE)
        if rows:
            yield _lines([[_cell(row, column) for column in CSV_COLUMNS] for row in rows])
        if after is None:
            return


def _lines(rows: Iterable[Iterable[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue()


def _cell(row: m.CallRecord, column: str) -> str:
    value = getattr(row, column)
    if value is None:
        return ""
    if column in _TIMES:
        return datetime.fromtimestamp(value, UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, float):
        return f"{value:.3f}"
    return safe_cell(str(value))


def safe_cell(text: str) -> str:
    """Return text that a spreadsheet will not run as a formula.

    A caller chooses the number that is shown, and a cell that begins with =, +, -, @, tab or
    return is code to a spreadsheet (OWASP, "CSV Injection"). A plus followed by nothing but digits
    is a number in E.164 and stays readable.
    """
    if text[:1] in {"=", "+", "-", "@", "\t", "\r"} and not (
        text[0] == "+" and text[1:].isascii() and text[1:].isdigit()
    ):
        return "'" + text
    return text
