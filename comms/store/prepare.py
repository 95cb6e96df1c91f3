"""What every role that reads the database does first when it starts."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import select

from comms.store import models as m
from comms.store.engine import open_engine, writing
from comms.store.house import load_house, save_house
from comms.store.migrate import migrate


async def prepare_store(url: str, domain: str) -> None:
    """Bring the schema up to date and note the SIP domain, unless devices fix another one.

    Safe to be called by several roles at once.

    Raises:
        SchemaTooNew: the database has a revision this program does not know.
        sqlalchemy.exc.DBAPIError: the database cannot be opened or written.
    """
    await migrate(url)
    engine = open_engine(url, pool_size=1)
    try:
        async with writing(engine) as session:
            house = await load_house(session)
            if house.domain != domain and not await session.scalar(select(m.Device.user).limit(1)):
                await save_house(session, replace(house, domain=domain))
    finally:
        await engine.dispose()
