"""Loads what telephony and the queue role need to know, and tells them when it changed."""

from __future__ import annotations

from typing import Any

import msgspec
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from comms.bus import acd
from comms.bus.streams import Codec, Keys
from comms.directory import CallQueue, Device, Directory, MenuKey, Number, NumberKind, Trunk
from comms.directory import Person as DirectoryPerson
from comms.store import models as m
from comms.store.engine import reading
from comms.store.house import load_house

_journal: Codec[acd.Command] = Codec(acd.Command)


async def load_directory(engine: AsyncEngine) -> Directory:
    """Return everything telephony needs, as of one moment.

    Reads plain columns instead of mapped objects: 10,000 devices take a fraction of a second.
    """
    async with reading(engine) as session:
        house = await load_house(session)
        agents = set(await session.scalars(select(m.Membership.person).distinct()))
        devices: dict[str, Device] = {}
        owned: dict[str, list[str]] = {}
        rows: Any = await session.execute(
            select(
                m.Device.user,
                m.Device.person,
                m.Device.ha1_md5,
                m.Device.ha1_sha256,
                m.Device.behind_nat,
                m.Device.site_number,
            ).order_by(m.Device.user)
        )
        for row in rows:
            devices[row[0]] = Device(*row)
            if row[1] is not None:
                owned.setdefault(row[1], []).append(row[0])
        rows = await session.execute(
            select(m.Person.id, m.Person.name, m.Person.extension, m.Person.language)
        )
        people = {
            id_: DirectoryPerson(
                id=id_,
                name=name,
                extension=extension or "",
                devices=tuple(owned.get(id_, ())),
                language=language,
                agent=id_ in agents,
            )
            for id_, name, extension, language in rows
        }
        rows = await session.execute(select(m.Number.number, m.Number.kind, m.Number.target))
        numbers = {
            number: Number(number, msgspec.convert(kind, NumberKind), target)
            for number, kind, target in rows
        }
        queues = {row.name: call_queue(row) for row in await session.scalars(select(m.Queue))}
        trunks = tuple(
            Trunk(
                name=row.name,
                kind=msgspec.convert(row.kind, m.TrunkKind),
                host=row.host,
                port=row.port,
                transport=msgspec.convert(row.transport, m.TrunkTransport),
                allowed=tuple(row.allowed),
                domain=row.domain,
                user=row.user,
                password=row.password,
                main_number=row.main_number,
                order=row.position,
            )
            for row in await session.scalars(
                select(m.Trunk).order_by(m.Trunk.position, m.Trunk.name)
            )
        )
    return Directory(
        domain=house.domain,
        devices=devices,
        people=people,
        numbers=numbers,
        queues=queues,
        trunks=trunks,
        head_number=house.head_number,
        main_extension=house.main_extension,
        outside_prefix=house.outside_prefix,
        country_code=house.country_code,
        area_code=house.area_code,
        max_call_seconds=house.max_call_seconds,
    )


def call_queue(row: m.Queue) -> CallQueue:
    """Return the telephony side of a queue's row."""
    calls = row.calls
    rules = rules_of(row)
    return CallQueue(
        name=row.name,
        number=row.number,
        title=rules.title.get(row.language) or row.name,
        greeting=calls.get("greeting", "greeting"),
        menu_prompt=calls.get("menu_prompt"),
        menu=tuple(MenuKey(**key) for key in calls.get("menu", ())),
        announce_position=calls.get("announce_position", True),
        announce_every=calls.get("announce_every", 45.0),
        language=row.language,
    )


def rules_of(row: m.Queue) -> acd.QueueConfig:
    """Return the rules of a queue's row as the decision engine takes them."""
    return msgspec.convert(row.rules, acd.QueueConfig)


async def load_acd_configuration(engine: AsyncEngine) -> acd.Configure:
    """Return the whole configuration of queues and agents, in a stable order."""
    async with reading(engine) as session:
        queues = tuple(
            rules_of(row) for row in await session.scalars(select(m.Queue).order_by(m.Queue.name))
        )
        places: dict[str, list[acd.Membership]] = {}
        rows: Any = await session.execute(
            select(
                m.Membership.person,
                m.Membership.queue,
                m.Membership.tier,
                m.Membership.position,
                m.Membership.weight,
            ).order_by(m.Membership.person, m.Membership.queue)
        )
        for person, queue, tier, position, weight in rows:
            places.setdefault(person, []).append(
                acd.Membership(queue=queue, tier=tier, position=position, weight=weight)
            )
        rows = await session.execute(
            select(m.Person.id, m.Person.name, m.Person.extension, m.Person.skills)
            .where(m.Person.id.in_(select(m.Membership.person)))
            .order_by(m.Person.id)
        )
        agents = tuple(
            acd.AgentConfig(
                agent=id_,
                name=name,
                extension=extension or "",
                queues=tuple(places[id_]),
                skills=dict(skills),
            )
            for id_, name, extension, skills in rows
        )
    return acd.Configure(queues=queues, agents=agents)


async def publish_changes(redis: Redis, keys: Keys, engine: AsyncEngine) -> None:
    """Tell all roles that people, devices, numbers, trunks or queues changed.

    To be called after the commit. Telephony is told on the channel `Keys.directory` and loads the
    directory itself; the queue role gets its configuration through the journal.

    Raises:
        redis.exceptions.RedisError: the live store did not take it; `publish_changes` at the next
            start of the web role makes up for it.
    """
    configuration = await load_acd_configuration(engine)
    await redis.xadd(keys.acd_journal, _journal.fields(configuration))  # type: ignore[arg-type]
    await redis.publish(keys.directory, b"changed")
