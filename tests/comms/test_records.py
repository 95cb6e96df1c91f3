"""Call records from the live store to SQL, the history, its export and its end."""

from __future__ import annotations

import csv
import io
import random
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from sqlalchemy import event, func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine
from support.servers import ValkeyInstance, eventually
from support.web import Web

from comms.bus import acd
from comms.bus.records import CallRecord, LegRecord, Quality
from comms.bus.streams import Codec, Keys
from comms.calls.history import Cursor, Filter, export_csv, list_calls, safe_cell
from comms.calls.retention import Retention, sweep
from comms.people.access import CallScope
from comms.people.actions import do_change_house
from comms.problems import Invalid
from comms.records import GROUP, RecordWriter, call_of
from comms.store import models as m
from comms.store.engine import open_engine, reading, writing
from comms.store.house import House
from comms.store.migrate import migrate

KEYS = Keys()
records: Codec[CallRecord] = Codec(CallRecord)
events: Codec[acd.Event] = Codec(acd.Event)
EVERYTHING = CallScope(all=True, person="", queues=frozenset())
ANNA = "anna.schmidt"


def record(call: str, started: float = 1_800_000_000.0, **changes: Any) -> CallRecord:
    """Return a queue call that was answered."""
    legs = (
        LegRecord(
            f"{call}-a",
            "caller",
            None,
            None,
            "+4915100000001",
            started,
            started,
            started + 60,
            quality=Quality(3000, 2, 1.5),
        ),
        LegRecord(f"{call}-b", "callee", ANNA, "201", "201", started, started + 9, started + 60),
    )
    made = CallRecord(
        call=call,
        direction="inbound",
        from_number="+4915100000001",
        to_number="160",
        from_person=None,
        to_person=ANNA,
        started=started,
        answered=started + 9,
        ended=started + 60,
        ended_by="caller",
        cause="completed",
        legs=legs,
        queue="zentrale",
        agent=ANNA,
        waiting=4.0,
        ringing=5.0,
        talking=51.0,
    )
    return msgspec.structs.replace(made, **changes)


async def add(redis: Redis, *made: CallRecord) -> None:
    """Put records into the stream, as telephony does."""
    for one in made:
        await redis.xadd(KEYS.records, records.fields(one))  # type: ignore[arg-type]


@pytest.fixture
async def writer(redis: Redis, engine: AsyncEngine) -> AsyncIterator[RecordWriter]:
    """A running writer."""
    made = RecordWriter(redis, KEYS, engine, "web-1")
    made.start()
    yield made
    await made.stop()


async def stored(engine: AsyncEngine) -> int:
    """Return how many calls the database holds."""
    async with reading(engine) as session:
        return int(await session.scalar(select(func.count()).select_from(m.CallRecord)) or 0)


async def nothing_left(redis: Redis) -> bool:
    """Whether the stream is empty and nothing is held by a writer."""
    if await redis.xlen(KEYS.records):
        return False
    pending: Any = await redis.xpending(KEYS.records, GROUP)
    return int(pending["pending"]) == 0


async def test_records_and_legs_are_written_and_taken_off_the_stream(
    writer: RecordWriter, redis: Redis, engine: AsyncEngine
) -> None:
    await add(redis, *(record(f"c{n}") for n in range(450)))
    await eventually(lambda: nothing_left(redis), 15)
    assert await stored(engine) == 450
    async with reading(engine) as session:
        row = await session.get(m.CallRecord, "c7")
        assert row is not None
        assert (row.queue, row.agent, row.waiting, row.talking) == ("zentrale", ANNA, 4.0, 51.0)
        legs = list(
            await session.scalars(
                select(m.CallLeg).where(m.CallLeg.call == "c7").order_by(m.CallLeg.position)
            )
        )
    assert [(x.leg, x.packets, x.lost, x.jitter_ms) for x in legs] == [
        ("c7-a", 3000, 2, 1.5),
        ("c7-b", 0, 0, None),
    ]


async def test_a_record_told_twice_is_one_row(
    writer: RecordWriter, redis: Redis, engine: AsyncEngine
) -> None:
    await add(redis, record("c1"), record("c1"), record("c2"), record("c1", cause="failed"))
    await eventually(lambda: nothing_left(redis))
    assert await stored(engine) == 2


async def test_what_a_dead_writer_held_is_written_when_it_starts_again(
    redis: Redis, engine: AsyncEngine
) -> None:
    await add(redis, record("c1"), record("c2"))
    await redis.xgroup_create(KEYS.records, GROUP, id="0")
    # Read and never acknowledged: what a crash between reading and the commit leaves.
    await redis.xreadgroup(GROUP, "web-1", {KEYS.records: ">"})
    writer = RecordWriter(redis, KEYS, engine, "web-1")
    writer.start()
    await eventually(lambda: nothing_left(redis))
    await writer.stop()
    assert await stored(engine) == 2


async def test_two_writers_share_the_work(redis: Redis, engine: AsyncEngine) -> None:
    writers = [RecordWriter(redis, KEYS, engine, f"web-{n}") for n in (1, 2)]
    for one in writers:
        one.start()
    await add(redis, *(record(f"c{n}") for n in range(300)))
    await eventually(lambda: nothing_left(redis), 15)
    for one in writers:
        await one.stop()
    assert await stored(engine) == 300


async def test_what_is_no_record_is_set_aside(
    writer: RecordWriter, redis: Redis, engine: AsyncEngine
) -> None:
    await redis.xadd(KEYS.records, {b"m": b"{not json"})
    await redis.xadd(KEYS.records, {b"x": b"?"})
    await add(redis, record("c1"))
    await eventually(lambda: nothing_left(redis))
    assert await stored(engine) == 1
    assert await redis.xlen(f"{KEYS.records}:refused") == 1
    assert writer.health.refused == 1


async def test_whatever_a_caller_sends_fits(
    writer: RecordWriter, redis: Redis, engine: AsyncEngine
) -> None:
    await add(redis, record("c1", from_number="=1+1\x00" + "9" * 500, to_number="ü" * 300))
    await eventually(lambda: nothing_left(redis))
    async with reading(engine) as session:
        row = await session.get(m.CallRecord, "c1")
    assert row is not None
    assert row.from_number is not None
    assert row.from_number.startswith("=1+19")
    assert len(row.from_number) == 64


async def test_a_full_disk_keeps_records_waiting_and_is_reported(
    redis: Redis, sqlite_url: str
) -> None:
    await migrate(sqlite_url)
    engine = open_engine(sqlite_url)

    full = True

    @event.listens_for(engine.sync_engine, "begin")
    def limit(connection: Any) -> None:
        # The same error as of a full disk: the file may not grow any more.
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar() if full else 1_000_000
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    writer = RecordWriter(redis, KEYS, engine, "web-1")
    writer.start()
    await add(redis, *(record(f"c{n}") for n in range(150)))
    await eventually(lambda: writer.health.failing_since is not None)
    assert writer.health.problem == "database: OperationalError"
    # Some may have found room in the file as it is; none is lost and none is in both places.
    waiting = await redis.xlen(KEYS.records)
    assert waiting > 0
    assert waiting + await stored(engine) == 150
    full = False
    await eventually(lambda: nothing_left(redis), 15)
    assert writer.health.failing_since is None
    assert await stored(engine) == 150
    await writer.stop()
    await engine.dispose()


async def test_a_locked_database_is_waited_for(redis: Redis, sqlite_url: str) -> None:
    await migrate(sqlite_url)
    engine = open_engine(sqlite_url)
    writer = RecordWriter(redis, KEYS, engine, "web-1")
    writer.start()
    async with writing(engine) as session:
        await session.execute(text("DELETE FROM audit"))
        await add(redis, record("c1"))
        assert await redis.xlen(KEYS.records) == 1
    await eventually(lambda: nothing_left(redis), 15)
    assert await stored(engine) == 1
    await writer.stop()
    await engine.dispose()


async def test_a_live_store_that_lost_everything_is_used_again(
    writer: RecordWriter, redis: Redis, engine: AsyncEngine, valkey: ValkeyInstance
) -> None:
    await add(redis, record("c1"))
    await eventually(lambda: nothing_left(redis))
    await redis.flushall()
    await add(redis, record("c2"))

    async def both() -> bool:
        return await stored(engine) == 2

    await eventually(both, 15)


async def test_wrap_ups_are_added_whichever_comes_first(
    writer: RecordWriter, redis: Redis, engine: AsyncEngine
) -> None:
    async def wrap_up(work: str, seconds: float) -> None:
        message = acd.WrapUpOver(work, ANNA, seconds)
        await redis.xadd(KEYS.acd_events, events.fields(message))  # type: ignore[arg-type]

    async def of(call: str) -> float | None:
        async with reading(engine) as session:
            return await session.scalar(
                select(m.CallRecord.wrap_up).where(m.CallRecord.call == call)
            )

    await wrap_up("early", 7.5)
    other = acd.QueueRemoved("wrap-up-over")
    await redis.xadd(KEYS.acd_events, events.fields(other))  # type: ignore[arg-type]
    await add(redis, record("early"), record("late"), record("moved"))
    await eventually(lambda: nothing_left(redis))
    await wrap_up("late", 5.0)
    await wrap_up("late", 5.0)
    await wrap_up("moved", 1.0)
    await wrap_up("moved.1", 2.0)

    async def all_there() -> bool:
        return [await of(c) for c in ("early", "late", "moved")] == [7.5, 5.0, 3.0]

    await eventually(all_there)


async def test_wrap_ups_while_nobody_wrote_are_added_by_the_next(
    redis: Redis, engine: AsyncEngine
) -> None:
    async def wrap_up(work: str, seconds: float) -> Any:
        message = acd.WrapUpOver(work, ANNA, seconds)
        return await redis.xadd(KEYS.acd_events, events.fields(message))  # type: ignore[arg-type]

    async def passed() -> list[Any]:
        groups = await redis.xinfo_groups(KEYS.acd_events)
        return [group["last-delivered-id"] for group in groups]

    async def noted() -> float | None:
        async with reading(engine) as session:
            return await session.scalar(select(func.sum(m.WrapUp.seconds)))

    for work, seconds, total in (("c1", 4.0, 4.0), ("c1.1", 3.0, 7.0)):
        last = await wrap_up(work, seconds)
        writer = RecordWriter(redis, KEYS, engine, f"web-of-{work}")
        writer.start()

        async def read(last: Any = last) -> bool:
            return await passed() == [last]

        await eventually(read)
        assert await noted() == total
        await writer.stop()
    # nothing is held for a single reader, which could be gone
    assert (await redis.xpending(KEYS.acd_events, GROUP))["pending"] == 0


def test_work_is_named_after_its_call() -> None:
    assert call_of("abc") == "abc"
    assert call_of("abc.2") == "abc"
    assert call_of("abc.x") == "abc.x"


# --- history ----------------------------------------------------------------------------------


@pytest.fixture
async def many(engine: AsyncEngine) -> AsyncEngine:
    """A database with 120 calls, several at the same moment."""
    from comms.records import write_records

    chance = random.Random(5)
    made = [
        record(
            f"c{n:03}",
            started=1_800_000_000.0 + n // 3,
            queue=chance.choice(["zentrale", "kfz", None]),
            to_person=chance.choice([ANNA, "julia.weber"]),
            agent=None,
        )
        for n in range(120)
    ]
    async with writing(engine) as session:
        await write_records(session, made)
    return engine


async def test_pages_hold_every_call_once_in_order(many: AsyncEngine) -> None:
    found: list[tuple[float, str]] = []
    after: Cursor | None = None
    while True:
        async with reading(many) as session:
            rows, after = await list_calls(session, EVERYTHING, Filter(), after, 7)
        found += [(row.started, row.call) for row in rows]
        if after is None:
            break
        after = Cursor.decode(after.encode())
    assert len(found) == 120
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("text", ["", "x", "%%%", "bm90aGluZw", "bmFuIGM"])
def test_a_made_up_cursor_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        Cursor.decode(text)


async def test_filters_and_scopes_narrow_the_history(many: AsyncEngine) -> None:
    async def calls(scope: CallScope = EVERYTHING, **wanted: Any) -> list[m.CallRecord]:
        async with reading(many) as session:
            return (await list_calls(session, scope, Filter(**wanted), None, 200))[0]

    every = await calls()
    assert {c.queue for c in await calls(queue="kfz")} == {"kfz"}
    assert {c.to_person for c in await calls(person=ANNA)} == {ANNA}
    middle = 1_800_000_000.0 + 20
    late, early = await calls(since=middle), await calls(until=middle)
    assert {c.call for c in late} | {c.call for c in early} == {c.call for c in every}
    assert not {c.call for c in late} & {c.call for c in early}
    own = CallScope(all=False, person=ANNA, queues=frozenset())
    assert {c.to_person for c in await calls(own)} == {ANNA}
    supervisor = CallScope(all=False, person="x", queues=frozenset({"kfz"}))
    assert {c.queue for c in await calls(supervisor)} == {"kfz"}
    assert await calls(CallScope(all=False, person="x", queues=frozenset())) == []
    assert await calls(cause="busy") == []


async def test_the_export_holds_what_the_history_holds(many: AsyncEngine) -> None:
    parts = [part async for part in export_csv(many, EVERYTHING, Filter(queue="kfz"))]
    rows = list(csv.DictReader(io.StringIO("".join(parts))))
    assert {row["queue"] for row in rows} == {"kfz"}
    assert rows[0]["from_number"] == "+4915100000001"
    assert rows[0]["started"].endswith("Z")
    assert rows[0]["waiting"] == "4.000"


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("+4915100000001", "+4915100000001"),
        ("201", "201"),
        ('=HYPERLINK("x")', '\'=HYPERLINK("x")'),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("+", "'+"),
        ("+²", "'+²"),
        ("", ""),
    ],
)
def test_no_cell_is_a_formula(given: str, safe: str) -> None:
    assert safe_cell(given) == safe


async def test_the_history_over_http(web: Web, redis: Redis) -> None:
    mine = record("c1", queue=None, agent=None)
    theirs = record("c2", to_person="julia.weber", agent="julia.weber", queue="kfz")
    await add(redis, mine, theirs)
    await eventually(lambda: nothing_left(redis))

    async def calls(person: str, query: str = "") -> Any:
        async with await web.as_(person) as client:
            return await client.get(f"/api/v1/calls{query}")

    page = (await calls(ANNA)).json()
    assert [c["id"] for c in page["items"]] == ["c1"]
    assert page["next"] is None
    item = page["items"][0]
    assert item["to_person"] == {"id": ANNA, "name": "Anna Schmidt", "extension": "201"}
    assert item["started"] == "2027-01-15T08:00:00Z"
    ids = {c["id"] for c in (await calls("sabine.koch")).json()["items"]}
    assert ids == {"c2"}
    ids = {c["id"] for c in (await calls("katrin.vogel")).json()["items"]}
    assert ids == {"c1", "c2"}
    assert (await calls("markus.lehmann")).json()["items"] == []
    assert (await calls("markus.lehmann", "?person=anna.schmidt")).status_code == 403
    assert (await calls("markus.lehmann", "?queue=kfz")).status_code == 403
    assert (await calls(ANNA, "?cursor=%25")).status_code == 422
    assert (await calls(ANNA, "?limit=0")).status_code == 422
    page = (await calls("katrin.vogel", "?limit=1")).json()
    following = (await calls("katrin.vogel", f"?limit=1&cursor={page['next']}")).json()
    assert [page["items"][0]["id"], following["items"][0]["id"]] == ["c2", "c1"]
    nothing = await calls("katrin.vogel", "?from=2027-01-15T08:00:01Z")
    assert nothing.json()["items"] == []
    detail = (await calls(ANNA, "/c1")).json()
    assert [leg["role"] for leg in detail["legs"]] == ["caller", "callee"]
    assert detail["legs"][0]["packets"] == 3000
    assert (await calls(ANNA, "/c2")).status_code == 404
    export = await calls("sabine.koch", ".csv")
    assert export.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert [line.split(",")[0] for line in export.text.splitlines()] == ["call", "c2"]


# --- retention --------------------------------------------------------------------------------

DAY = 86_400.0


async def with_ages(engine: AsyncEngine, now: float) -> None:
    """Write calls that ended 1, 20 and 100 days ago."""
    from comms.records import write_records

    async with writing(engine) as session:
        await write_records(
            session, [record(f"d{days}", started=now - days * DAY - 60) for days in (1, 20, 100)]
        )


async def rows(engine: AsyncEngine) -> dict[str, str | None]:
    """Return call -> caller's number."""
    async with reading(engine) as session:
        found = await session.execute(select(m.CallRecord.call, m.CallRecord.from_number))
        return dict(found.all())  # type: ignore[arg-type]


async def test_old_records_are_deleted_with_their_legs_and_counted(engine: AsyncEngine) -> None:
    now = time.time()
    await with_ages(engine, now)
    done = await sweep(engine, default_days=90, now=now)
    assert (done.deleted, done.shortened) == (1, 0)
    assert set(await rows(engine)) == {"d1", "d20"}
    async with reading(engine) as session:
        calls = set(await session.scalars(select(m.CallLeg.call)))
        audit = (
            await session.scalars(select(m.Audit).where(m.Audit.action == "calls.swept"))
        ).one()
    assert calls == {"d1", "d20"}
    assert audit.details == {"deleted": 1, "shortened": 0, "kept_days": 90}
    assert (await sweep(engine, default_days=90, now=now)).deleted == 0


async def test_the_house_may_keep_records_shorter_and_shorten_numbers(
    engine: AsyncEngine,
) -> None:
    now = time.time()
    await with_ages(engine, now)
    async with writing(engine) as session:
        house = replace(House(), retention_days=30, shorten_numbers_after_days=7)
        await do_change_house(session, "t", house)
    done = await sweep(engine, default_days=90, now=now)
    assert (done.deleted, done.shortened) == (1, 1)
    assert await rows(engine) == {"d1": "+4915100000001", "d20": "+4915100000xxx"}
    async with reading(engine) as session:
        query = select(m.CallLeg.number).where(m.CallLeg.call == "d20").order_by(m.CallLeg.leg)
        # Internal numbers stay.
        assert list(await session.scalars(query)) == ["+4915100000xxx", "201"]
    assert (await sweep(engine, default_days=90, now=now)).shortened == 0


async def test_the_job_runs_at_start_and_again(engine: AsyncEngine) -> None:
    now = time.time()
    await with_ages(engine, now)
    job = Retention(engine, default_days=90, every=0.05)
    job.start()

    async def gone(call: str) -> bool:
        return call not in await rows(engine)

    await eventually(lambda: gone("d100"))
    async with writing(engine) as session:
        await do_change_house(session, "t", replace(House(), retention_days=10))
    await eventually(lambda: gone("d20"))
    await job.stop()
    assert set(await rows(engine)) == {"d1"}
