"""Musterstadt, the demonstration city: always the same, all fictional.

`docs` and tests rely on its names, numbers and passwords. Only this city has passwords that can be
guessed.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from comms.auth.passwords import Passwords
from comms.bus import acd
from comms.directory import MenuKey
from comms.people.actions import (
    DeviceSpec,
    Member,
    PersonSpec,
    QueueSpec,
    do_change_house,
    do_change_person,
    do_create_device,
    do_create_number,
    do_create_person,
    do_create_queue,
    do_put_trunk,
)
from comms.store import models as m
from comms.store.engine import reading, writing
from comms.store.house import load_house

DOMAIN = "musterstadt.example"
HEAD_NUMBER = "+492214710"
MAIN_EXTENSION = "160"
ECHO_NUMBER = "199"
TRUNK = "city"
ADMINISTRATOR = "katrin.vogel"
SUPERVISOR = "sabine.koch"
SHARED_DESKS = tuple(str(n) for n in range(300, 310))


def _person(
    extension: str, name: str, *roles: str, language: str = "de", **skills: int
) -> PersonSpec:
    id_ = name.lower().replace(" ", ".")
    return PersonSpec(
        id=id_,
        name=name,
        extension=extension,
        roles=("staff", *roles),
        language=language,
        email=f"{id_}@{DOMAIN}",
        skills=skills,
    )


PEOPLE: tuple[PersonSpec, ...] = (
    _person("201", "Anna Schmidt", "agent", de=5, en=3),
    _person("202", "Mehmet Yilmaz", "agent", de=5, en=3, tr=5),
    _person("211", "Julia Weber", "agent", de=5, en=3, kfz=5),
    _person("212", "Olena Kovalenko", "agent", de=4, en=4, uk=5, tr=1, kfz=3),
    _person("213", "Tom Brandt", "agent", de=5, en=4, kfz=4),
    _person("221", "Sabine Koch", "supervisor", de=5, en=4),
    _person("231", "Peter Hoffmann"),
    _person("232", "Aylin Demir"),
    _person("241", "Katrin Vogel", "administrator"),
    _person("242", "Markus Lehmann"),
    _person("243", "Fatma Kaya"),
    _person("244", "Stefan Krause"),
    _person("245", "Birgit Neumann"),
    _person("246", "Jonas Richter"),
    _person("247", "Maria Rossi"),
    _person("248", "David Miller", language="en"),
    _person("249", "Heike Sommer"),
)

# Musterstadt never closes, so that a demonstration at night or on a holiday shows calls too.
_ALWAYS = acd.Hours(timezone="Europe/Berlin")

QUEUES: tuple[QueueSpec, ...] = (
    QueueSpec(
        number="160",
        rules=acd.QueueConfig(
            name="zentrale",
            title={"de": "Telefonzentrale", "en": "Switchboard"},
            strategy="longest-idle",
            hours=_ALWAYS,
        ),
        members=(Member("anna.schmidt"), Member("mehmet.yilmaz", position=2)),
    ),
    QueueSpec(
        number="170",
        rules=acd.QueueConfig(
            name="kfz",
            title={"de": "Kfz-Zulassung", "en": "Vehicle registration"},
            strategy="fewest-calls",
            skills={"kfz": 1},
            hours=_ALWAYS,
        ),
        members=(
            Member("julia.weber"),
            Member("tom.brandt", position=2),
            Member("olena.kovalenko", position=3),
        ),
    ),
    QueueSpec(
        number="180",
        rules=acd.QueueConfig(
            name="migration",
            title={"de": "Ausländerbehörde", "en": "Immigration office"},
            strategy="longest-idle",
            skills={"de": 1},
            hours=_ALWAYS,
            # One agent serves it alone; whoever waits long reaches the switchboard.
            overflow=(acd.Overflow(to="zentrale", after=180.0),),
        ),
        members=(Member("olena.kovalenko"),),
    ),
    QueueSpec(
        number="150",
        rules=acd.QueueConfig(
            name="buergertelefon",
            title={"de": "Bürgertelefon", "en": "Citizens' line"},
            strategy="longest-idle",
            hours=_ALWAYS,
        ),
        greeting="greeting-buergertelefon",
        menu_prompt="menu-buergertelefon",
        menu=(
            MenuKey(key="1", queue="buergertelefon", prompt="matter-passport"),
            MenuKey(key="2", queue="kfz", prompt="matter-vehicles"),
            MenuKey(key="3", queue="buergertelefon", prompt="matter-residence"),
            MenuKey(key="0", queue="buergertelefon", prompt="matter-person"),
        ),
        members=(Member("anna.schmidt"), Member("mehmet.yilmaz", position=2)),
    ),
)


def login_password(extension: str) -> str:
    """Return the log-in password of a person of Musterstadt."""
    return f"demo-{extension}"


def sip_password(user: str) -> str:
    """Return the SIP password of a device of Musterstadt."""
    return f"demo-sip-{user}"


async def seed_musterstadt(
    engine: AsyncEngine, domain: str = DOMAIN, trunk_port: int = 5070
) -> None:
    """Write Musterstadt into a migrated database; what is there already is left as it is.

    `domain` is the SIP domain, `trunk_port` the UDP port on 127.0.0.1 that outgoing calls go to.

    Raises:
        Conflict: the database holds something else under Musterstadt's names or numbers.
    """
    async with reading(engine) as session:
        known = set(await session.scalars(select(m.Person.id)))
    missing = [p for p in PEOPLE if p.id not in known]
    passwords = Passwords(threads=4)
    try:
        hashes = await passwords.hash_all(login_password(p.extension or "") for p in missing)
    finally:
        passwords.close()

    async with writing(engine) as session:
        if await session.scalar(select(m.Device.user).limit(1)) is None:
            house = replace(await load_house(session), domain=domain)
            await do_change_house(session, "system", house)
        for person, hash_ in zip(missing, hashes, strict=True):
            await do_create_person(session, "system", replace(person, password_hash=hash_))
        users = set(await session.scalars(select(m.Device.user)))
        accounts: list[tuple[str, str | None]] = [(p.extension or "", p.id) for p in PEOPLE]
        accounts += [(user, None) for user in SHARED_DESKS]
        for user, owner in accounts:
            if user not in users:
                device = DeviceSpec(user=user, person=owner, password=sip_password(user))
                await do_create_device(session, "system", device)
        queues = set(await session.scalars(select(m.Queue.name)))
        for queue in QUEUES:
            if queue.rules.name not in queues:
                await do_create_queue(session, "system", queue)
        supervisor = next(p for p in PEOPLE if p.id == SUPERVISOR)
        if SUPERVISOR not in known:
            everything = tuple(q.rules.name for q in QUEUES)
            await do_change_person(session, "system", replace(supervisor, supervises=everything))
        if await session.get(m.Number, ECHO_NUMBER) is None:
            await do_create_number(session, "system", ECHO_NUMBER, "echo", "")
        house = await load_house(session)
        if not house.head_number:
            house = replace(
                house,
                head_number=HEAD_NUMBER,
                main_extension=MAIN_EXTENSION,
                outside_prefix="0",
                country_code="49",
                area_code="221",
            )
            await do_change_house(session, "system", house)
        trunk = await session.get(m.Trunk, TRUNK)
        # The port follows the demonstration's port base, which may change from run to run.
        if trunk is None or trunk.port != trunk_port:
            await do_put_trunk(
                session,
                "system",
                m.Trunk(
                    name=TRUNK,
                    kind="address",
                    host="127.0.0.1",
                    port=trunk_port,
                    transport="udp",
                    allowed=["127.0.0.1"],
                    domain=domain,
                    user="",
                    password="",
                    main_number=HEAD_NUMBER + "0",
                    position=1,
                ),
            )
