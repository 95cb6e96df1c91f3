"""The store on SQLite and PostgreSQL: migrations, the dial plan's rules, Musterstadt."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from comms import seed
from comms.auth.passwords import Passwords
from comms.bus import acd
from comms.people import actions
from comms.people.actions import DeviceSpec, Member, PersonSpec, QueueSpec
from comms.problems import Conflict, Invalid, NotFound
from comms.store import models as m
from comms.store.directory import load_acd_configuration, load_directory
from comms.store.engine import is_temporary, open_engine, reading, writing
from comms.store.house import House, load_house
from comms.store.migrate import SchemaTooNew, configuration, migrate
from comms.store.prepare import prepare_store


async def test_roles_that_start_at_once_agree_on_the_domain(sql_url: str) -> None:
    await asyncio.gather(*(prepare_store(sql_url, "musterstadt.example") for _ in range(4)))
    engine = open_engine(sql_url)
    async with reading(engine) as session:
        assert (await load_house(session)).domain == "musterstadt.example"
    await engine.dispose()


async def test_migrating_twice_at_once_gives_the_schema_of_the_models(sql_url: str) -> None:
    await asyncio.gather(migrate(sql_url), migrate(sql_url))
    await migrate(sql_url)
    engine = open_engine(sql_url)
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    async with engine.connect() as connection:
        differences = await connection.run_sync(
            lambda c: compare_metadata(
                MigrationContext.configure(c, opts={"compare_type": True}), m.Base.metadata
            )
        )
    await engine.dispose()
    assert differences == []


async def test_a_schema_from_the_future_is_refused(sql_url: str) -> None:
    await migrate(sql_url)
    engine = open_engine(sql_url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await engine.dispose()
    with pytest.raises(SchemaTooNew, match="9999"):
        await migrate(sql_url)


async def test_a_database_that_is_away_is_told_as_temporary(tmp_path: Path) -> None:
    engine = open_engine(f"postgresql://postgres@/none?host={tmp_path}")
    for attempt in (reading, writing):
        with pytest.raises(DBAPIError) as failed:
            async with attempt(engine):
                pass
        assert is_temporary(failed.value)
    await engine.dispose()


def test_only_sqlite_and_postgresql_are_supported() -> None:
    with pytest.raises(ValueError, match=r"mysql.*allowed: sqlite, postgresql"):
        open_engine("mysql://somewhere/db")


def test_migrations_have_one_head() -> None:
    from alembic.script import ScriptDirectory

    assert len(ScriptDirectory.from_config(configuration()).get_heads()) == 1


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        ("110", "emergency-number", "emergency"),
        ("1105", "emergency-number", "110"),
        ("112", "emergency-number", "112"),
        ("11288", "emergency-number", "112"),
        ("012", "outside-prefix", "outside"),
        ("1", "not-a-number", "digits"),
        ("20a", "not-a-number", "digits"),
        ("²³", "not-a-number", "digits"),
        ("123456789", "not-a-number", "digits"),
    ],
)
async def test_the_dial_plan_refuses_a_number_and_says_why(
    engine: AsyncEngine, number: str, code: str, says: str
) -> None:
    with pytest.raises(Invalid) as refused:
        async with writing(engine) as session:
            await actions.do_create_person(session, "t", PersonSpec("a.b", "A B", number))
    assert refused.value.problems[0].code == code
    assert says in refused.value.problems[0].message
    async with reading(engine) as session:
        assert await session.get(m.Person, "a.b") is None


async def test_the_database_itself_refuses_emergency_numbers(engine: AsyncEngine) -> None:
    with pytest.raises(IntegrityError):
        async with writing(engine) as session:
            await session.execute(insert(m.Number).values(number="1121", kind="echo", target=""))


async def test_numbers_are_unique_among_people_queues_and_services(engine: AsyncEngine) -> None:
    async with writing(engine) as session:
        await actions.do_create_person(session, "t", PersonSpec("a.b", "A B", "20"))
        await actions.do_create_number(session, "t", "21", "echo", "")
        await actions.do_create_queue(session, "t", QueueSpec("22", acd.QueueConfig("line")))
    for taken in ("20", "21", "22"):
        with pytest.raises(Conflict) as conflict:
            async with writing(engine) as session:
                await actions.do_create_person(session, "t", PersonSpec("c.d", "C D", taken))
        assert conflict.value.problems[0].code == "number-taken"
        assert conflict.value.problems[0].field == "extension"
    with pytest.raises(Conflict, match=r"already stands for person a\.b"):
        async with writing(engine) as session:
            await actions.do_create_queue(session, "t", QueueSpec("20", acd.QueueConfig("other")))


async def test_two_requests_for_one_number_at_once_give_it_to_one(engine: AsyncEngine) -> None:
    async def create(id_: str) -> str:
        try:
            async with writing(engine) as session:
                await actions.do_create_person(session, "t", PersonSpec(id_, "Some One", "30"))
        except Conflict as conflict:
            return conflict.problems[0].code
        return "created"

    results = await asyncio.gather(*(create(f"p{n}") for n in range(4)))
    assert sorted(results) == ["created", *["number-taken"] * 3]


async def test_a_changed_extension_frees_the_old_one(engine: AsyncEngine) -> None:
    async with writing(engine) as session:
        await actions.do_create_person(session, "t", PersonSpec("a.b", "A B", "20"))
        await actions.do_change_person(session, "t", PersonSpec("a.b", "A B", "25"))
        await actions.do_create_person(session, "t", PersonSpec("c.d", "C D", "20"))
    directory = await load_directory(engine)
    assert directory.numbers["25"].target == "a.b"
    assert directory.numbers["20"].target == "c.d"


async def test_a_deleted_person_leaves_nothing_but_their_devices(engine: AsyncEngine) -> None:
    async with writing(engine) as session:
        await actions.do_create_person(session, "t", PersonSpec("a.b", "A B", "20"))
        device = DeviceSpec(user="20", person="a.b", password="a password")
        await actions.do_create_device(session, "t", device)
        queue = QueueSpec("22", acd.QueueConfig("line"), members=(Member("a.b"),))
        await actions.do_create_queue(session, "t", queue)
        await actions.do_delete_person(session, "t", "a.b")
    directory = await load_directory(engine)
    assert directory.people == {}
    assert directory.devices["20"].person is None
    assert "20" not in directory.numbers
    assert (await load_acd_configuration(engine)).agents == ()
    with pytest.raises(NotFound):
        async with writing(engine) as session:
            await actions.do_delete_person(session, "t", "a.b")


async def test_a_queue_others_send_calls_to_cannot_go(engine: AsyncEngine) -> None:
    async with writing(engine) as session:
        await actions.do_create_queue(session, "t", QueueSpec("22", acd.QueueConfig("last")))
        overflowing = acd.QueueConfig("first", overflow=(acd.Overflow("last", after=10.0),))
        await actions.do_create_queue(session, "t", QueueSpec("23", overflowing))
    with pytest.raises(Conflict, match="queue first sends calls to it"):
        async with writing(engine) as session:
            await actions.do_delete_queue(session, "t", "last")


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        (acd.QueueConfig("q", overflow=(acd.Overflow("q", after=1.0),)), "overflow-to-itself"),
        (acd.QueueConfig("q", overflow=(acd.Overflow("no", after=1.0),)), "unknown-queue"),
        (acd.QueueConfig("q", hours=acd.Hours(timezone="Mars/Base")), "unknown-timezone"),
        (acd.QueueConfig("q", hours=acd.Hours(holidays="XX")), "unknown-holidays"),
        (acd.QueueConfig("q", hours=acd.Hours(weekly=((),))), "bad-hours"),
        (acd.QueueConfig("q", hours=acd.Hours(weekly=(((60, 30),),) * 7)), "bad-hours"),
        (acd.QueueConfig("q", hours=acd.Hours(exceptions={"1.5.": ()})), "bad-hours"),
    ],
)
async def test_wrong_rules_are_refused(
    engine: AsyncEngine, rules: acd.QueueConfig, code: str
) -> None:
    with pytest.raises(Invalid) as refused:
        async with writing(engine) as session:
            await actions.do_create_queue(session, "t", QueueSpec("22", rules))
    assert code in {p.code for p in refused.value.problems}


async def test_musterstadt_is_what_the_design_says(engine: AsyncEngine) -> None:
    await seed.seed_musterstadt(engine, trunk_port=5999)
    directory = await load_directory(engine)
    assert directory.domain == "musterstadt.example"
    assert directory.head_number + "0" == "+4922147100"
    assert directory.numbers[directory.main_extension].target == "zentrale"
    anna = directory.people["anna.schmidt"]
    assert (anna.extension, anna.devices, anna.agent) == ("201", ("201",), True)
    a1 = b"201:musterstadt.example:demo-sip-201"
    assert directory.devices["201"].ha1_md5 == hashlib.md5(a1).hexdigest()
    assert directory.devices["201"].ha1_sha256 == hashlib.sha256(a1).hexdigest()
    assert all(directory.devices[str(n)].person is None for n in range(300, 310))
    assert {q.number: q.name for q in directory.queues.values()} == {
        "150": "buergertelefon",
        "160": "zentrale",
        "170": "kfz",
        "180": "migration",
    }
    assert [k.key for k in directory.queues["buergertelefon"].menu] == ["1", "2", "3", "0"]
    (trunk,) = directory.trunks
    assert (trunk.kind, trunk.allowed, trunk.port) == ("address", ("127.0.0.1",), 5999)
    assert trunk.main_number == "+4922147100"

    agents = {a.agent: a for a in (await load_acd_configuration(engine)).agents}
    members = {name: {q.queue for q in agent.queues} for name, agent in agents.items()}
    assert members == {
        "anna.schmidt": {"zentrale", "buergertelefon"},
        "mehmet.yilmaz": {"zentrale", "buergertelefon"},
        "julia.weber": {"kfz"},
        "olena.kovalenko": {"kfz", "migration"},
        "tom.brandt": {"kfz"},
    }
    async with reading(engine) as session:
        koch = set(
            await session.scalars(
                select(m.Supervision.queue).where(m.Supervision.person == "sabine.koch")
            )
        )
        hash_ = await session.scalar(
            select(m.Person.password_hash).where(m.Person.id == "anna.schmidt")
        )
    assert koch == set(directory.queues)
    passwords = Passwords()
    assert await passwords.matches(hash_, "demo-201")
    assert not await passwords.matches(hash_, "demo-202")
    passwords.close()


async def test_seeding_again_changes_nothing_and_keeps_what_was_changed(
    engine: AsyncEngine,
) -> None:
    await seed.seed_musterstadt(engine)
    async with writing(engine) as session:
        changed = replace(seed.PEOPLE[0], name="Anna Other")
        await actions.do_change_person(session, "t", changed)
    before = await load_directory(engine)
    started = time.perf_counter()
    await seed.seed_musterstadt(engine)
    assert time.perf_counter() - started < 1.0
    assert await load_directory(engine) == before
    assert before.people["anna.schmidt"].name == "Anna Other"


async def test_the_directory_of_10000_devices_loads_quickly(engine: AsyncEngine) -> None:
    row = {"person": None, "ha1_md5": "0" * 32, "ha1_sha256": "0" * 64, "behind_nat": False}
    async with writing(engine) as session:
        rows = [{"user": f"d{n}", **row} for n in range(10_000)]
        await session.execute(insert(m.Device), rows)
    started = time.perf_counter()
    directory = await load_directory(engine)
    assert len(directory.devices) == 10_000
    assert time.perf_counter() - started < 3.0


async def test_the_domain_is_fixed_once_devices_exist(engine: AsyncEngine) -> None:
    async with writing(engine) as session:
        await actions.do_change_house(session, "t", House(domain="one.example"))
        device = DeviceSpec(user="20", password="a password")
        await actions.do_create_device(session, "t", device)
    with pytest.raises(Conflict, match="domain"):
        async with writing(engine) as session:
            await actions.do_change_house(session, "t", House(domain="two.example"))
    async with reading(engine) as session:
        assert (await load_house(session)).domain == "one.example"


async def test_changes_are_audited_without_names(engine: AsyncEngine) -> None:
    async with writing(engine) as session:
        await actions.do_create_person(session, "boss", PersonSpec("a.b", "Secret Name", "20"))
    async with reading(engine) as session:
        row = (await session.scalars(select(m.Audit))).one()
        assert (row.actor, row.action, row.subject) == ("boss", "person.created", "a.b")
        assert "Secret" not in str(row.details)
        assert await session.scalar(select(func.count()).select_from(m.Audit)) == 1
