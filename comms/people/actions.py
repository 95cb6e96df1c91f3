"""What changes people, devices, numbers, queues, trunks and settings of the house.

Every `do_*` checks the rules, changes rows of the session's transaction and writes the audit; the
caller commits and then publishes (`comms.store.directory.publish_changes`).

All raise `Invalid` for a broken rule, `Conflict` where an id or number is taken or still needed,
and `NotFound` where there is nothing to change.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from comms.auth.passwords import digest_hashes
from comms.bus import acd
from comms.directory import MenuKey
from comms.people import checks
from comms.problems import Conflict, FieldProblem, Invalid, NotFound
from comms.store import models as m
from comms.store.engine import violated
from comms.store.house import House, load_house, save_house


@dataclass(frozen=True, slots=True)
class PersonSpec:
    """A person as they shall be. `password_hash` None leaves the one there is."""

    id: str
    name: str
    extension: str | None = None
    roles: tuple[str, ...] = ("staff",)
    language: str = "de"
    email: str | None = None
    password_hash: str | None = None
    skills: dict[str, int] = field(default_factory=dict)
    #: queues the person supervises
    supervises: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """A SIP account as it shall be. `password` None leaves the one there is."""

    user: str
    person: str | None = None
    password: str | None = None
    behind_nat: bool = False
    site_number: str | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """An agent's place in a queue."""

    person: str
    tier: int = 1
    position: int = 1
    weight: int = 1


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """A queue as it shall be: number, rules, what callers hear, and its agents."""

    number: str
    rules: acd.QueueConfig
    language: str = "de"
    greeting: str = "greeting"
    menu_prompt: str | None = None
    menu: tuple[MenuKey, ...] = ()
    announce_position: bool = True
    announce_every: float = 45.0
    members: tuple[Member, ...] = ()


def audit(
    session: AsyncSession, actor: str, action: str, subject: str = "", **details: Any
) -> None:
    """Note who did what. Details must not hold numbers, names or texts."""
    session.add(
        m.Audit(at=time.time(), actor=actor, action=action, subject=subject, details=details)
    )


async def _flush(session: AsyncSession, taken: FieldProblem) -> None:
    """Send the changes; a violated constraint becomes a `Conflict` that says what is taken.

    The checks before have found what they could; here two requests at the same moment meet.
    """
    try:
        await session.flush()
    except IntegrityError as error:
        name = violated(error)
        if "numbers" in name or "extension" in name:
            raise Conflict(
                FieldProblem(taken.field, "number-taken", "this number is taken")
            ) from None
        raise Conflict(taken) from None


async def _claim_number(
    session: AsyncSession, number: str, kind: str, target: str, field_: str
) -> None:
    house = await load_house(session)
    checks.check_number(number, house.outside_prefix, field_)
    holder = await session.get(m.Number, number)
    if holder is not None:
        raise Conflict(
            FieldProblem(
                field_,
                "number-taken",
                f"{number} already stands for {holder.kind} {holder.target}".rstrip(),
            )
        )
    session.add(m.Number(number=number, kind=kind, target=target))


async def _release_number(session: AsyncSession, number: str) -> None:
    await session.execute(delete(m.Number).where(m.Number.number == number))


async def _check_people(session: AsyncSession, ids: Iterable[str], field_: str) -> None:
    wanted = set(ids)
    known = set(await session.scalars(select(m.Person.id).where(m.Person.id.in_(wanted))))
    if unknown := sorted(wanted - known):
        raise Invalid(FieldProblem(field_, "unknown-person", f"{unknown[0]!r} is nobody here"))


async def _check_queues(session: AsyncSession, names: Iterable[str], field_: str) -> None:
    wanted = set(names)
    known = set(await session.scalars(select(m.Queue.name).where(m.Queue.name.in_(wanted))))
    if unknown := sorted(wanted - known):
        raise Invalid(FieldProblem(field_, "unknown-queue", f"{unknown[0]!r} is no queue"))


# --- people -----------------------------------------------------------------------------------


async def do_create_person(session: AsyncSession, actor: str, spec: PersonSpec) -> m.Person:
    """Add a person with their extension and supervision."""
    checks.check_person_id(spec.id)
    checks.check_roles(spec.roles)
    if await session.get(m.Person, spec.id) is not None:
        raise Conflict(FieldProblem("id", "id-taken", f"{spec.id} exists already"))
    await _check_queues(session, spec.supervises, "supervises")
    if spec.extension is not None:
        await _claim_number(session, spec.extension, "person", spec.id, "extension")
    person = m.Person(
        id=spec.id,
        name=spec.name,
        extension=spec.extension,
        roles=sorted(set(spec.roles)),
        language=spec.language,
        email=spec.email,
        password_hash=spec.password_hash,
        skills=dict(spec.skills),
    )
    session.add(person)
    await _flush(session, FieldProblem("id", "id-taken", f"{spec.id} exists already"))
    session.add_all(m.Supervision(person=spec.id, queue=q) for q in sorted(set(spec.supervises)))
    audit(session, actor, "person.created", spec.id, roles=person.roles)
    return person


async def do_change_person(session: AsyncSession, actor: str, spec: PersonSpec) -> m.Person:
    """Replace what is known of a person. A new password or fewer roles end their sessions."""
    checks.check_roles(spec.roles)
    person = await session.get(m.Person, spec.id)
    if person is None:
        raise NotFound(f"there is no person {spec.id}")
    await _check_queues(session, spec.supervises, "supervises")
    if spec.extension != person.extension:
        if spec.extension is not None:
            await _claim_number(session, spec.extension, "person", spec.id, "extension")
        if person.extension is not None:
            await _release_number(session, person.extension)
    before = set(person.roles)
    person.name = spec.name
    person.extension = spec.extension
    person.roles = sorted(set(spec.roles))
    person.language = spec.language
    person.email = spec.email
    person.skills = dict(spec.skills)
    if spec.password_hash is not None:
        person.password_hash = spec.password_hash
    await _flush(session, FieldProblem("extension", "number-taken", "this number is taken"))
    await session.execute(delete(m.Supervision).where(m.Supervision.person == spec.id))
    session.add_all(m.Supervision(person=spec.id, queue=q) for q in sorted(set(spec.supervises)))
    if spec.password_hash is not None or before - set(person.roles):
        await session.execute(delete(m.Session).where(m.Session.person == spec.id))
    audit(session, actor, "person.changed", spec.id, roles=person.roles)
    return person


async def do_delete_person(session: AsyncSession, actor: str, id_: str) -> None:
    """Remove a person with extension, memberships and sessions; devices become shared desks."""
    person = await session.get(m.Person, id_)
    if person is None:
        raise NotFound(f"there is no person {id_}")
    await session.execute(delete(m.Number).where(m.Number.kind == "person", m.Number.target == id_))
    # Not left to the foreign key alone, so that the session's objects agree with the rows.
    await session.execute(update(m.Device).where(m.Device.person == id_).values(person=None))
    await session.delete(person)
    audit(session, actor, "person.deleted", id_)


# --- devices ----------------------------------------------------------------------------------


async def do_create_device(session: AsyncSession, actor: str, spec: DeviceSpec) -> m.Device:
    """Add a SIP account. The password is needed and kept as digest hashes only."""
    checks.check_sip_user(spec.user)
    if not spec.password:
        raise Invalid(FieldProblem("password", "missing", "a new device needs a password"))
    if await session.get(m.Device, spec.user) is not None:
        raise Conflict(FieldProblem("user", "user-taken", f"{spec.user} exists already"))
    if spec.person is not None:
        await _check_people(session, [spec.person], "person")
    house = await load_house(session)
    hashes = digest_hashes(spec.user, house.domain, spec.password)
    device = m.Device(
        user=spec.user,
        person=spec.person,
        ha1_md5=hashes.md5,
        ha1_sha256=hashes.sha256,
        behind_nat=spec.behind_nat,
        site_number=spec.site_number,
    )
    session.add(device)
    await _flush(session, FieldProblem("user", "user-taken", f"{spec.user} exists already"))
    audit(session, actor, "device.created", spec.user, person=spec.person)
    return device


async def do_change_device(session: AsyncSession, actor: str, spec: DeviceSpec) -> m.Device:
    """Replace what is known of a SIP account."""
    device = await session.get(m.Device, spec.user)
    if device is None:
        raise NotFound(f"there is no device {spec.user}")
    if spec.person is not None:
        await _check_people(session, [spec.person], "person")
    device.person = spec.person
    device.behind_nat = spec.behind_nat
    device.site_number = spec.site_number
    if spec.password is not None:
        house = await load_house(session)
        hashes = digest_hashes(spec.user, house.domain, spec.password)
        device.ha1_md5, device.ha1_sha256 = hashes.md5, hashes.sha256
    await session.flush()
    audit(session, actor, "device.changed", spec.user, person=spec.person)
    return device


async def do_delete_device(session: AsyncSession, actor: str, user: str) -> None:
    """Remove a SIP account."""
    device = await session.get(m.Device, user)
    if device is None:
        raise NotFound(f"there is no device {user}")
    await session.delete(device)
    audit(session, actor, "device.deleted", user)


# --- numbers ----------------------------------------------------------------------------------


async def do_create_number(
    session: AsyncSession, actor: str, number: str, kind: str, target: str
) -> m.Number:
    """Add a service number or a further number of a person or queue."""
    await _check_target(session, kind, target)
    await _claim_number(session, number, kind, target, "number")
    await _flush(session, FieldProblem("number", "number-taken", "this number is taken"))
    audit(session, actor, "number.created", number, kind=kind)
    row = await session.get(m.Number, number)
    assert row is not None
    return row


async def do_change_number(
    session: AsyncSession, actor: str, number: str, kind: str, target: str
) -> m.Number:
    """Let a number stand for something else."""
    row = await session.get(m.Number, number)
    if row is None:
        raise NotFound(f"there is no number {number}")
    await _refuse_owned(session, number)
    await _check_target(session, kind, target)
    row.kind, row.target = kind, target
    await session.flush()
    audit(session, actor, "number.changed", number, kind=kind)
    return row


async def do_delete_number(session: AsyncSession, actor: str, number: str) -> None:
    """Remove a number that is no person's extension and no queue's own number."""
    row = await session.get(m.Number, number)
    if row is None:
        raise NotFound(f"there is no number {number}")
    await _refuse_owned(session, number)
    await session.delete(row)
    audit(session, actor, "number.deleted", number)


async def _check_target(session: AsyncSession, kind: str, target: str) -> None:
    match kind:
        case "person":
            await _check_people(session, [target], "target")
        case "queue":
            await _check_queues(session, [target], "target")
        case "announcement" if not target:
            raise Invalid(FieldProblem("target", "missing", "name the prompt to play"))
        case "echo" | "announcement":
            pass
        case _:
            raise Invalid(FieldProblem("kind", "unknown-kind", f"{kind!r} is unknown"))


async def _refuse_owned(session: AsyncSession, number: str) -> None:
    owner = await session.scalar(select(m.Person.id).where(m.Person.extension == number))
    owner = owner or await session.scalar(select(m.Queue.name).where(m.Queue.number == number))
    if owner is not None:
        raise Conflict(
            FieldProblem("number", "number-in-use", f"it is the own number of {owner}; change that")
        )


# --- queues -----------------------------------------------------------------------------------


async def do_create_queue(session: AsyncSession, actor: str, spec: QueueSpec) -> m.Queue:
    """Add a queue with its number and agents."""
    name = spec.rules.name
    checks.check_queue_name(name)
    if await session.get(m.Queue, name) is not None:
        raise Conflict(FieldProblem("name", "name-taken", f"{name} exists already"))
    await _check_queue_spec(session, spec)
    await _claim_number(session, spec.number, "queue", name, "number")
    queue = m.Queue(
        name=name,
        number=spec.number,
        language=spec.language,
        rules=msgspec.to_builtins(spec.rules),
        calls=_calls_of(spec),
    )
    session.add(queue)
    await _flush(session, FieldProblem("name", "name-taken", f"{name} exists already"))
    session.add_all(_memberships(spec))
    await session.flush()
    audit(session, actor, "queue.created", name, members=len(spec.members))
    return queue


async def do_change_queue(session: AsyncSession, actor: str, spec: QueueSpec) -> m.Queue:
    """Replace a queue's rules and agents. Work that waits keeps waiting."""
    name = spec.rules.name
    queue = await session.get(m.Queue, name)
    if queue is None:
        raise NotFound(f"there is no queue {name}")
    await _check_queue_spec(session, spec)
    if spec.number != queue.number:
        await _claim_number(session, spec.number, "queue", name, "number")
        await _release_number(session, queue.number)
        queue.number = spec.number
    queue.language = spec.language
    queue.rules = msgspec.to_builtins(spec.rules)
    queue.calls = _calls_of(spec)
    await _flush(session, FieldProblem("number", "number-taken", "this number is taken"))
    await session.execute(delete(m.Membership).where(m.Membership.queue == name))
    session.add_all(_memberships(spec))
    await session.flush()
    audit(session, actor, "queue.changed", name, members=len(spec.members))
    return queue


async def do_delete_queue(session: AsyncSession, actor: str, name: str) -> None:
    """Remove a queue that no other queue overflows or routes into."""
    queue = await session.get(m.Queue, name)
    if queue is None:
        raise NotFound(f"there is no queue {name}")
    for other in await session.scalars(select(m.Queue).where(m.Queue.name != name)):
        targets = {o["to"] for o in other.rules.get("overflow", ())}
        targets |= {key["queue"] for key in other.calls.get("menu", ())}
        if name in targets:
            raise Conflict(
                FieldProblem("name", "queue-in-use", f"queue {other.name} sends calls to it")
            )
    await session.execute(delete(m.Number).where(m.Number.kind == "queue", m.Number.target == name))
    await session.delete(queue)
    audit(session, actor, "queue.deleted", name)


async def _check_queue_spec(session: AsyncSession, spec: QueueSpec) -> None:
    name = spec.rules.name
    others = set(await session.scalars(select(m.Queue.name))) - {name}
    checks.check_rules(spec.rules, others)
    keys = [key.key for key in spec.menu]
    if len(set(keys)) != len(keys):
        raise Invalid(FieldProblem("menu", "key-twice", "a key stands in the menu twice"))
    for key in spec.menu:
        if key.queue not in others | {name}:
            raise Invalid(FieldProblem("menu", "unknown-queue", f"{key.queue!r} is no queue"))
    people = [member.person for member in spec.members]
    if len(set(people)) != len(people):
        raise Invalid(FieldProblem("members", "person-twice", "a person is a member twice"))
    await _check_people(session, people, "members")


def _calls_of(spec: QueueSpec) -> dict[str, Any]:
    return {
        "greeting": spec.greeting,
        "menu_prompt": spec.menu_prompt,
        "menu": [{"key": k.key, "queue": k.queue, "prompt": k.prompt} for k in spec.menu],
        "announce_position": spec.announce_position,
        "announce_every": spec.announce_every,
    }


def _memberships(spec: QueueSpec) -> list[m.Membership]:
    return [
        m.Membership(
            queue=spec.rules.name,
            person=p.person,
            tier=p.tier,
            position=p.position,
            weight=p.weight,
        )
        for p in spec.members
    ]


# --- the house --------------------------------------------------------------------------------


async def do_change_house(session: AsyncSession, actor: str, house: House) -> None:
    """Replace the settings of the house."""
    before = await load_house(session)
    if before.domain != house.domain and await session.scalar(select(m.Device.user).limit(1)):
        raise Conflict(
            FieldProblem(
                "domain",
                "domain-in-use",
                "the devices' passwords are kept as hashes with this domain in them; "
                "delete the devices first",
            )
        )
    if house.outside_prefix != before.outside_prefix:
        clash = await session.scalar(
            select(m.Number.number).where(m.Number.number.startswith(house.outside_prefix)).limit(1)
        )
        if clash is not None:
            raise Conflict(
                FieldProblem("outside_prefix", "number-taken", f"number {clash} starts with it")
            )
    if house.main_extension and await session.get(m.Number, house.main_extension) is None:
        raise Invalid(
            FieldProblem("main_extension", "unknown-number", "there is no such internal number")
        )
    await save_house(session, house)
    audit(session, actor, "house.changed")


async def do_put_trunk(session: AsyncSession, actor: str, trunk: m.Trunk) -> None:
    """Add or replace a trunk."""
    await session.merge(trunk)
    await session.flush()
    audit(session, actor, "trunk.changed", trunk.name, kind=trunk.kind)


async def do_delete_trunk(session: AsyncSession, actor: str, name: str) -> None:
    """Remove a trunk; calls on it go on."""
    trunk = await session.get(m.Trunk, name)
    if trunk is None:
        raise NotFound(f"there is no trunk {name}")
    await session.delete(trunk)
    audit(session, actor, "trunk.deleted", name)
