"""Brings the database into the state that the roles expect to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comms.errors import OperatorError

if TYPE_CHECKING:
    from comms.settings import Settings


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

    from comms.store.engine import open_engine, reading
    from comms.store.house import load_house
    from comms.store.migrate import SchemaTooNew
    from comms.store.prepare import prepare_store

    engine = open_engine(settings.sql_url, pool_size=1)
    try:
        await prepare_store(settings.sql_url, settings.general.domain)
        async with reading(engine) as session:
            domain = (await load_house(session)).domain
    except (DBAPIError, SchemaTooNew, OSError) as error:
        raise StoreError(f"the database cannot be used: {first_line(error)} (sql.url)") from None
    finally:
        await engine.dispose()
    if domain != settings.general.domain:
        # digest passwords are kept for one domain (RFC 7616 section 3.4.2)
        raise StoreError(
            f"general.domain is {settings.general.domain}, but the phones' passwords in the "
            f"database were stored for {domain}; allowed: {domain}"
        )
