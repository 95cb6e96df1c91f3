"""Administration of people, devices, numbers, queues and the house. For administrators only."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.api import schemas as s
from comms.api.deps import Asker, Deps, Services
from comms.bus import acd
from comms.directory import MenuKey
from comms.people import actions, checks
from comms.people.access import Viewer, access_administration
from comms.problems import NotFound
from comms.store import models as m
from comms.store.directory import call_queue, publish_changes, rules_of
from comms.store.engine import reading, writing
from comms.store.house import House, load_house


def _administrator(asker: Asker) -> Viewer:
    access_administration(asker)
    return asker


Admin = Annotated[Viewer, Depends(_administrator)]
Limit = Annotated[int, Query(ge=1, le=500)]
After = Annotated[str | None, Query(max_length=128, description="`next` of a page")]
Key = Annotated[str, Path(max_length=128)]

router = APIRouter(prefix="/admin", tags=["administration"])


async def _changed(deps: Services) -> None:
    """Tell all roles, after the commit."""
    await publish_changes(deps.redis, deps.keys, deps.engine)


def _page(rows: list[Any], limit: int, key: str) -> tuple[list[Any], str | None]:
    """Return the rows of a page, of which one more was read, and where the next one begins."""
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], str(getattr(rows[limit - 1], key))


# --- people -----------------------------------------------------------------------------------


@router.get("/people", response_model=s.PersonPage, summary="People")
async def list_people(
    admin: Admin, deps: Deps, limit: Limit = 100, cursor: After = None
) -> s.PersonPage:
    """Return people by id."""
    query = select(m.Person).order_by(m.Person.id).limit(limit + 1)
    if cursor is not None:
        query = query.where(m.Person.id > cursor)
    async with reading(deps.engine) as session:
        rows, following = _page(list(await session.scalars(query)), limit, "id")
        return s.PersonPage(items=tuple(await _people(session, rows)), next=following)


@router.post("/people", status_code=201, response_model=s.PersonItem, summary="Add a person")
async def add_person(given: s.PersonNew, admin: Admin, deps: Deps) -> s.PersonItem:
    """Add a person. Without a password they cannot log in."""
    spec = await _person_spec(deps, given.id, given)
    async with writing(deps.engine) as session:
        row = await actions.do_create_person(session, admin.id, spec)
        await session.flush()
        (item,) = await _people(session, [row])
    await _changed(deps)
    return item


@router.get("/people/{id}", response_model=s.PersonItem, summary="One person")
async def get_person(id: Key, admin: Admin, deps: Deps) -> s.PersonItem:
    """Return a person."""
    async with reading(deps.engine) as session:
        row = await session.get(m.Person, id)
        if row is None:
            raise NotFound(f"there is no person {id}")
        (item,) = await _people(session, [row])
        return item


@router.put("/people/{id}", response_model=s.PersonItem, summary="Change a person")
async def change_person(id: Key, given: s.PersonGiven, admin: Admin, deps: Deps) -> s.PersonItem:
    """Replace what is known of a person. A new password or fewer roles end their sessions."""
    spec = await _person_spec(deps, id, given)
    async with writing(deps.engine) as session:
        row = await actions.do_change_person(session, admin.id, spec)
        await session.flush()
        (item,) = await _people(session, [row])
    await _changed(deps)
    await deps.sessions.announce_closed(id)
    return item


@router.delete("/people/{id}", status_code=204, summary="Remove a person")
async def remove_person(id: Key, admin: Admin, deps: Deps) -> Response:
    """Remove a person; their devices become shared desks, their calls stay in the history."""
    async with writing(deps.engine) as session:
        await actions.do_delete_person(session, admin.id, id)
    await _changed(deps)
    await deps.sessions.announce_closed(id)
    return Response(status_code=204)


async def _person_spec(deps: Services, id_: str, given: s.PersonGiven) -> actions.PersonSpec:
    hash_ = None if given.password is None else await deps.passwords.hash(given.password)
    return actions.PersonSpec(
        id=id_,
        name=given.name,
        extension=given.extension,
        roles=tuple(given.roles),
        language=given.language,
        email=given.email,
        password_hash=hash_,
        skills=given.skills,
        supervises=tuple(given.supervises),
    )


async def _people(session: AsyncSession, rows: list[m.Person]) -> list[s.PersonItem]:
    ids = [row.id for row in rows]
    supervises: dict[str, list[str]] = {}
    pairs = await session.execute(
        select(m.Supervision.person, m.Supervision.queue)
        .where(m.Supervision.person.in_(ids))
        .order_by(m.Supervision.queue)
    )
    for person, queue in pairs:
        supervises.setdefault(person, []).append(queue)
    devices: dict[str, list[str]] = {}
    owned = await session.execute(
        select(m.Device.person, m.Device.user)
        .where(m.Device.person.in_(ids))
        .order_by(m.Device.user)
    )
    for owner, user in owned:
        devices.setdefault(str(owner), []).append(user)
    return [
        s.PersonItem.model_validate(
            {
                "id": row.id,
                "name": row.name,
                "extension": row.extension,
                "roles": tuple(row.roles),
                "language": row.language,
                "email": row.email,
                "has_password": row.password_hash is not None,
                "skills": row.skills,
                "supervises": tuple(supervises.get(row.id, ())),
                "devices": tuple(devices.get(row.id, ())),
            }
        )
        for row in rows
    ]


# --- devices ----------------------------------------------------------------------------------


@router.get("/devices", response_model=s.DevicePage, summary="Devices")
async def list_devices(
    admin: Admin, deps: Deps, limit: Limit = 100, cursor: After = None
) -> s.DevicePage:
    """Return SIP accounts by user name."""
    query = select(m.Device).order_by(m.Device.user).limit(limit + 1)
    if cursor is not None:
        query = query.where(m.Device.user > cursor)
    async with reading(deps.engine) as session:
        rows, following = _page(list(await session.scalars(query)), limit, "user")
    return s.DevicePage(items=tuple(await _devices(deps, rows)), next=following)


@router.post("/devices", status_code=201, response_model=s.DeviceCreated, summary="Add a device")
async def add_device(given: s.DeviceNew, admin: Admin, deps: Deps) -> s.DeviceCreated:
    """Add a SIP account. Its password is shown in this answer only; without one, one is made."""
    password = given.password or secrets.token_urlsafe(18)
    spec = actions.DeviceSpec(
        user=given.user,
        person=given.person,
        password=password,
        behind_nat=given.behind_nat,
        site_number=given.site_number,
    )
    async with writing(deps.engine) as session:
        row = await actions.do_create_device(session, admin.id, spec)
    await _changed(deps)
    (item,) = await _devices(deps, [row])
    return s.DeviceCreated(**dict(item), password=password)


@router.get("/devices/{user}", response_model=s.DeviceItem, summary="One device")
async def get_device(user: Key, admin: Admin, deps: Deps) -> s.DeviceItem:
    """Return a SIP account."""
    async with reading(deps.engine) as session:
        row = await session.get(m.Device, user)
    if row is None:
        raise NotFound(f"there is no device {user}")
    (item,) = await _devices(deps, [row])
    return item


@router.put("/devices/{user}", response_model=s.DeviceItem, summary="Change a device")
async def change_device(user: Key, given: s.DeviceGiven, admin: Admin, deps: Deps) -> s.DeviceItem:
    """Replace what is known of a SIP account; without a password the old one stays."""
    spec = actions.DeviceSpec(
        user=user,
        person=given.person,
        password=given.password,
        behind_nat=given.behind_nat,
        site_number=given.site_number,
    )
    async with writing(deps.engine) as session:
        row = await actions.do_change_device(session, admin.id, spec)
    await _changed(deps)
    (item,) = await _devices(deps, [row])
    return item


@router.delete("/devices/{user}", status_code=204, summary="Remove a device")
async def remove_device(user: Key, admin: Admin, deps: Deps) -> Response:
    """Remove a SIP account."""
    async with writing(deps.engine) as session:
        await actions.do_delete_device(session, admin.id, user)
    await _changed(deps)
    return Response(status_code=204)


async def _devices(deps: Services, rows: list[m.Device]) -> list[s.DeviceItem]:
    """Return devices with how many contacts telephony has registered for each."""
    async with deps.redis.pipeline(transaction=False) as pipe:
        for row in rows:
            pipe.hlen(deps.keys.bindings(row.user))
        registered: list[int] = await pipe.execute()
    return [
        s.DeviceItem(
            user=row.user,
            person=row.person,
            behind_nat=row.behind_nat,
            site_number=row.site_number,
            registered=count,
        )
        for row, count in zip(rows, registered, strict=True)
    ]


# --- numbers ----------------------------------------------------------------------------------


@router.get("/numbers", response_model=s.NumberPage, summary="Internal numbers")
async def list_numbers(
    admin: Admin, deps: Deps, limit: Limit = 100, cursor: After = None
) -> s.NumberPage:
    """Return all internal numbers, also those of people and queues."""
    query = select(m.Number).order_by(m.Number.number).limit(limit + 1)
    if cursor is not None:
        query = query.where(m.Number.number > cursor)
    async with reading(deps.engine) as session:
        rows, following = _page(list(await session.scalars(query)), limit, "number")
    return s.NumberPage(items=tuple(_number(row) for row in rows), next=following)


@router.post("/numbers", status_code=201, response_model=s.NumberItem, summary="Add a number")
async def add_number(given: s.NumberNew, admin: Admin, deps: Deps) -> s.NumberItem:
    """Add a service number, or a further number of a person or queue."""
    async with writing(deps.engine) as session:
        row = await actions.do_create_number(
            session, admin.id, given.number, given.kind, given.target
        )
    await _changed(deps)
    return _number(row)


@router.put("/numbers/{number}", response_model=s.NumberItem, summary="Change a number")
async def change_number(
    number: Key, given: s.NumberGiven, admin: Admin, deps: Deps
) -> s.NumberItem:
    """Let a number stand for something else."""
    async with writing(deps.engine) as session:
        row = await actions.do_change_number(session, admin.id, number, given.kind, given.target)
    await _changed(deps)
    return _number(row)


@router.delete("/numbers/{number}", status_code=204, summary="Remove a number")
async def remove_number(number: Key, admin: Admin, deps: Deps) -> Response:
    """Remove a number that is no person's extension and no queue's own."""
    async with writing(deps.engine) as session:
        await actions.do_delete_number(session, admin.id, number)
    await _changed(deps)
    return Response(status_code=204)


def _number(row: m.Number) -> s.NumberItem:
    return s.NumberItem.model_validate(
        {"number": row.number, "kind": row.kind, "target": row.target}
    )


# --- queues -----------------------------------------------------------------------------------


@router.get("/queues", response_model=s.QueueConfigPage, summary="Configured queues")
async def list_queue_configs(
    admin: Admin, deps: Deps, limit: Limit = 100, cursor: After = None
) -> s.QueueConfigPage:
    """Return the queues' rules and agents, by name."""
    query = select(m.Queue).order_by(m.Queue.name).limit(limit + 1)
    if cursor is not None:
        query = query.where(m.Queue.name > cursor)
    async with reading(deps.engine) as session:
        rows, following = _page(list(await session.scalars(query)), limit, "name")
        items = [await _queue(session, row) for row in rows]
    return s.QueueConfigPage(items=tuple(items), next=following)


@router.post("/queues", status_code=201, response_model=s.QueueConfigItem, summary="Add a queue")
async def add_queue(given: s.QueueNew, admin: Admin, deps: Deps) -> s.QueueConfigItem:
    """Add a queue with its number and agents."""
    spec = _queue_spec(given.name, given)
    async with writing(deps.engine) as session:
        row = await actions.do_create_queue(session, admin.id, spec)
        item = await _queue(session, row)
    await _changed(deps)
    return item


@router.get("/queues/{name}", response_model=s.QueueConfigItem, summary="One configured queue")
async def get_queue_config(name: Key, admin: Admin, deps: Deps) -> s.QueueConfigItem:
    """Return a queue's rules and agents."""
    async with reading(deps.engine) as session:
        row = await session.get(m.Queue, name)
        if row is None:
            raise NotFound(f"there is no queue {name}")
        return await _queue(session, row)


@router.put("/queues/{name}", response_model=s.QueueConfigItem, summary="Change a queue")
async def change_queue(
    name: Key, given: s.QueueGiven, admin: Admin, deps: Deps
) -> s.QueueConfigItem:
    """Replace a queue's rules and agents. Who waits keeps waiting."""
    spec = _queue_spec(name, given)
    async with writing(deps.engine) as session:
        row = await actions.do_change_queue(session, admin.id, spec)
        item = await _queue(session, row)
    await _changed(deps)
    return item


@router.delete("/queues/{name}", status_code=204, summary="Remove a queue")
async def remove_queue(name: Key, admin: Admin, deps: Deps) -> Response:
    """Remove a queue that no other queue sends calls to."""
    async with writing(deps.engine) as session:
        await actions.do_delete_queue(session, admin.id, name)
    await _changed(deps)
    return Response(status_code=204)


def _queue_spec(name: str, given: s.QueueGiven) -> actions.QueueSpec:
    rules = acd.QueueConfig(
        name=name,
        title={str(language): title for language, title in given.title.items()},
        strategy=given.strategy,
        offer_timeout=given.offer_timeout,
        wrap_up=given.wrap_up,
        priority=given.priority,
        skills=given.skills,
        max_waiting=given.max_waiting,
        missed_offers_limit=given.missed_offers_limit,
        hours=checks.parse_hours(given.hours),
        overflow=checks.parse_overflow(given.overflow),
        service_level_seconds=given.service_level_seconds,
        refusal_pause=given.refusal_pause,
        relax=tuple(acd.Relax(r.skill, r.after, r.level) for r in given.relax),
    )
    return actions.QueueSpec(
        number=given.number,
        rules=rules,
        language=given.language,
        greeting=given.greeting,
        menu_prompt=given.menu_prompt,
        menu=tuple(MenuKey(k.key, k.queue, k.prompt) for k in given.menu),
        announce_position=given.announce_position,
        announce_every=given.announce_every,
        members=tuple(
            actions.Member(p.person, p.tier, p.position, p.weight) for p in given.members
        ),
    )


async def _queue(session: AsyncSession, row: m.Queue) -> s.QueueConfigItem:
    rules, calls = rules_of(row), call_queue(row)
    members = await session.scalars(
        select(m.Membership)
        .where(m.Membership.queue == row.name)
        .order_by(m.Membership.tier, m.Membership.position, m.Membership.person)
    )
    stored = row.rules
    return s.QueueConfigItem.model_validate(
        {
            "name": row.name,
            "title": rules.title,
            "number": row.number,
            "language": row.language,
            "strategy": rules.strategy,
            "offer_timeout": rules.offer_timeout,
            "wrap_up": rules.wrap_up,
            "priority": rules.priority,
            "skills": rules.skills,
            "max_waiting": rules.max_waiting,
            "missed_offers_limit": rules.missed_offers_limit,
            "service_level_seconds": rules.service_level_seconds,
            "hours": stored.get("hours"),
            "overflow": tuple(stored.get("overflow", ())),
            "refusal_pause": rules.refusal_pause,
            "relax": tuple(
                {"skill": r.skill, "after": r.after, "level": r.level} for r in rules.relax
            ),
            "greeting": calls.greeting,
            "menu_prompt": calls.menu_prompt,
            "menu": tuple(asdict(key) for key in calls.menu),
            "announce_position": calls.announce_position,
            "announce_every": calls.announce_every,
            "members": tuple(
                {
                    "person": p.person,
                    "tier": p.tier,
                    "position": p.position,
                    "weight": p.weight,
                }
                for p in members
            ),
        }
    )


# --- the house --------------------------------------------------------------------------------


@router.get("/house", response_model=s.HouseSettings, summary="Settings of the house")
async def get_house(admin: Admin, deps: Deps) -> s.HouseSettings:
    """Return dial plan and retention."""
    async with reading(deps.engine) as session:
        return s.HouseSettings.model_validate(asdict(await load_house(session)))


@router.put("/house", response_model=s.HouseSettings, summary="Change the settings of the house")
async def change_house(given: s.HouseSettings, admin: Admin, deps: Deps) -> s.HouseSettings:
    """Replace dial plan and retention."""
    async with writing(deps.engine) as session:
        await actions.do_change_house(session, admin.id, House(**given.model_dump()))
    await _changed(deps)
    return given
