"""Reads people for log-in, permissions and live views."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.live.schemas import Me, PersonBrief
from comms.people.access import Viewer
from comms.store import models as m


async def load_viewer(session: AsyncSession, person: str) -> Viewer | None:
    """Return a person with all that permissions depend on, None if there is nobody."""
    row = await session.get(m.Person, person)
    if row is None:
        return None
    member_of = await session.scalars(
        select(m.Membership.queue).where(m.Membership.person == person)
    )
    supervises = await session.scalars(
        select(m.Supervision.queue).where(m.Supervision.person == person)
    )
    return Viewer(
        id=row.id,
        name=row.name,
        extension=row.extension,
        language=row.language,
        roles=frozenset(row.roles),
        member_of=frozenset(member_of),
        supervises=frozenset(supervises),
    )


async def load_agent_queues(session: AsyncSession, person: str) -> tuple[str, ...] | None:
    """Return the queues a person serves, None if there is nobody with that id."""
    if await session.get(m.Person, person) is None:
        return None
    rows = await session.scalars(select(m.Membership.queue).where(m.Membership.person == person))
    return tuple(sorted(rows))


async def load_briefs(session: AsyncSession) -> dict[str, PersonBrief]:
    """Return everybody's name and extension by id."""
    rows = await session.execute(select(m.Person.id, m.Person.name, m.Person.extension))
    return {
        id_: PersonBrief(id=id_, name=name, extension=extension) for id_, name, extension in rows
    }


def me_of(viewer: Viewer) -> Me:
    """Return what a person is told of themselves."""
    return Me(
        id=viewer.id,
        name=viewer.name,
        extension=viewer.extension,
        language="en" if viewer.language == "en" else "de",
        roles=tuple(sorted(viewer.roles)),
        queues=tuple(sorted(viewer.own_queues)),
        supervises=tuple(sorted(viewer.supervised)),
    )
