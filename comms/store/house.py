"""Settings of the house that are kept in the database and changed while it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from comms.store.engine import insert_of
from comms.store.models import Setting


@dataclass(frozen=True, slots=True)
class House:
    """What holds for the whole house. The dial plan's fields mean what they do in
    `comms.directory.Directory`."""

    #: SIP domain and realm of the devices' digest passwords
    domain: str = "comms.example"
    head_number: str = ""
    main_extension: str = ""
    outside_prefix: str = "0"
    country_code: str = "49"
    area_code: str = ""
    max_call_seconds: float = 4 * 3600.0
    #: call records are deleted so many days after the call; None: as the settings file says
    retention_days: int | None = None
    #: outside numbers in records lose their last three digits after so many days; None keeps them
    shorten_numbers_after_days: int | None = None


_NAMES = frozenset(f.name for f in fields(House))


async def load_house(session: AsyncSession) -> House:
    """Return the settings; what was never set has its default."""
    rows = await session.execute(select(Setting.name, Setting.value))
    return House(**{name: value for name, value in rows if name in _NAMES})


async def save_house(session: AsyncSession, house: House) -> None:
    """Write all settings. Two roles that start may do so at once."""
    rows = [{"name": name, "value": value} for name, value in asdict(house).items()]
    statement: Any = insert_of(session)(Setting).values(rows)
    replaced = {"value": statement.excluded.value}
    await session.execute(
        statement.on_conflict_do_update(index_elements=[Setting.name], set_=replaced)
    )
