"""Brings the database into the state that the roles expect to find."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from comms.errors import OperatorError

if TYPE_CHECKING:
    from comms.settings import Settings

#: who the audit says did it
_ACTOR = "system"


class StoreError(OperatorError):
    """A store cannot be reached or holds something else than the settings say."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or its type where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


async def prepare_database(settings: Settings) -> None:
    """Create or upgrade the schema, and give a new house its SIP domain.

    Raises:
        StoreError: the database cannot be opened or written, is newer than this program, or its
            phones belong to another SIP domain.
    """
    from sqlalchemy.exc import DBAPIError

    from comms.store.migrate import SchemaTooNew, migrate

    try:
        await migrate(settings.sql_url)
        await _hold_domain(settings)
    except (DBAPIError, SchemaTooNew, OSError) as error:
        raise StoreError(f"the database cannot be used: {first_line(error)} (sql.url)") from None


async def _hold_domain(settings: Settings) -> None:
    """Refuse another domain once phones have passwords: digests hold it (RFC 7616 3.4.2)."""
    from sqlalchemy import select

    from comms.people.actions import do_change_house
    from comms.store import models as m
    from comms.store.engine import open_engine, reading, writing
    from comms.store.house import load_house

    engine = open_engine(settings.sql_url, pool_size=1)
    try:
        async with reading(engine) as session:
            if (await load_house(session)).domain == settings.general.domain:
                return
        async with writing(engine) as session:
            house = await load_house(session)
            if await session.scalar(select(m.Device.user).limit(1)) is not None:
                raise StoreError(
                    f"general.domain is {settings.general.domain}, but the phones' passwords in "
                    f"the database were stored for {house.domain}; allowed: {house.domain}"
                )
            await do_change_house(session, _ACTOR, replace(house, domain=settings.general.domain))
    finally:
        await engine.dispose()
