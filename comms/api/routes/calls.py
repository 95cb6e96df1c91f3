"""Dialling and the history of calls."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Path, Query
from fastapi.responses import StreamingResponse

from comms.api.deps import Asker, Deps
from comms.api.schemas import (
    CallAccepted,
    CallDetail,
    CallItem,
    CallLeg,
    CallPage,
    CallRequest,
    Cause,
)
from comms.calls.history import MAX_PAGE, Cursor, Filter, access_call, export_csv, list_calls
from comms.live.views import Lookup, when
from comms.people.access import CallScope, Viewer, access_history, access_queue_history
from comms.problems import NotPermitted
from comms.store import models as m
from comms.store.engine import reading

router = APIRouter(tags=["calls"])


@router.post("/calls", status_code=202, response_model=CallAccepted, summary="Call a number")
async def place_call(
    given: CallRequest,
    asker: Asker,
    deps: Deps,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1,
            max_length=128,
            pattern=r"^[\x21-\x7e]+$",
            description="The same key and number again gives the same call, dialled once.",
        ),
    ] = None,
) -> CallAccepted:
    """Ring my own phone first; when I answer, the number is called."""
    done = await deps.originator.do_call(asker, given.to, idempotency_key)
    return CallAccepted(call=done.call, to=done.to)


def _filter(
    queue: Annotated[str | None, Query(max_length=40)] = None,
    person: Annotated[str | None, Query(max_length=64)] = None,
    since: Annotated[
        datetime | None, Query(alias="from", description="started at or after")
    ] = None,
    until: Annotated[datetime | None, Query(alias="to", description="started before")] = None,
    direction: Literal["internal", "inbound", "outbound"] | None = None,
    cause: Cause | None = None,
) -> Filter:
    """Which calls are wanted. Times without zone are taken as UTC."""
    return Filter(
        queue=queue,
        person=person,
        since=_epoch(since),
        until=_epoch(until),
        direction=direction,
        cause=cause,
    )


Wanted = Annotated[Filter, Depends(_filter)]


def _scope(asker: Viewer, wanted: Filter) -> CallScope:
    """Return what the person may see, refusing filters that would only ever find nothing."""
    scope = access_history(asker)
    if wanted.queue is not None and not asker.agent:
        access_queue_history(asker, wanted.queue)
    if wanted.person not in (None, asker.id) and not (scope.all or scope.queues):
        raise NotPermitted("you may see your own calls only")
    return scope


@router.get("/calls", response_model=CallPage, summary="The history of calls")
async def history(
    asker: Asker,
    deps: Deps,
    wanted: Wanted,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    cursor: Annotated[str | None, Query(max_length=300, description="`next` of a page")] = None,
) -> CallPage:
    """Return calls, newest first: one's own, those of supervised queues, all for administrators."""
    scope = _scope(asker, wanted)
    after = None if cursor is None else Cursor.decode(cursor)
    async with reading(deps.engine) as session:
        rows, following = await list_calls(session, scope, wanted, after, limit)
    lookup = deps.hub.lookup
    return CallPage(
        items=tuple(_item(row, lookup) for row in rows),
        next=None if following is None else following.encode(),
    )


@router.get(
    "/calls.csv",
    summary="The history of calls as CSV",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"example": "call,direction,from_number,…\r\n"}}}},
)
async def history_csv(asker: Asker, deps: Deps, wanted: Wanted) -> StreamingResponse:
    """Return the same calls as one CSV file (RFC 4180, UTF-8), without a limit."""
    scope = _scope(asker, wanted)
    return StreamingResponse(
        export_csv(deps.engine, scope, wanted),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="calls.csv"'},
    )


@router.get("/calls/{id}", response_model=CallDetail, summary="One call")
async def get_call(
    id: Annotated[str, Path(max_length=128)], asker: Asker, deps: Deps
) -> CallDetail:
    """Return a call with its legs."""
    scope = access_history(asker)
    async with reading(deps.engine) as session:
        row, legs = await access_call(session, scope, id)
    lookup = deps.hub.lookup
    return CallDetail(**dict(_item(row, lookup)), legs=tuple(_leg(leg, lookup) for leg in legs))


def _epoch(time: datetime | None) -> float | None:
    if time is None:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _maybe(epoch: float | None) -> datetime | None:
    return None if epoch is None else when(epoch)


def _item(row: m.CallRecord, lookup: Lookup) -> CallItem:
    return CallItem.model_validate(
        {
            "id": row.call,
            "direction": row.direction,
            "from_number": row.from_number,
            "to_number": row.to_number,
            "from_person": lookup.person(row.from_person),
            "to_person": lookup.person(row.to_person),
            "started": when(row.started),
            "answered": _maybe(row.answered),
            "ended": when(row.ended),
            "ended_by": row.ended_by,
            "cause": row.cause,
            "queue": row.queue,
            "agent": lookup.person(row.agent),
            "waiting": row.waiting,
            "ringing": row.ringing,
            "talking": row.talking,
            "wrap_up": row.wrap_up,
        }
    )


def _leg(row: m.CallLeg, lookup: Lookup) -> CallLeg:
    return CallLeg.model_validate(
        {
            "id": row.leg,
            "role": row.role,
            "person": lookup.person(row.person),
            "device": row.device,
            "number": row.number,
            "started": when(row.started),
            "answered": _maybe(row.answered),
            "ended": when(row.ended),
            "status": row.status,
            "packets": row.packets,
            "lost": row.lost,
            "jitter_ms": row.jitter_ms,
        }
    )
