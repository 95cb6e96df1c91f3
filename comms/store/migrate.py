"""Brings the database to the newest schema when the program starts."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import Connection

from comms.store.engine import open_engine

SCRIPTS = Path(__file__).parent / "migrations"
#: PostgreSQL advisory lock that keeps two starting roles apart; any number of our own
_LOCK = 0x636F6D6D73


class SchemaTooNew(Exception):
    """The database was written by a newer version of this program."""


def configuration(connection: Connection | None = None) -> Config:
    """Return Alembic's configuration, for this module and for writing new revisions."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    if connection is not None:
        config.attributes["connection"] = connection
    return config


async def migrate(url: str) -> None:
    """Create or upgrade the schema of the database at `url`; all or nothing.

    Safe to be called by several processes at once: the second waits and finds nothing to do.

    Raises:
        SchemaTooNew: the database has a revision this program does not know.
        sqlalchemy.exc.DBAPIError: the database cannot be opened or written.
    """
    engine = open_engine(url)
    try:
        # SQLite's write lock and PostgreSQL's advisory lock both end with the transaction.
        async with engine.execution_options(sqlite_begin="IMMEDIATE").begin() as connection:
            if engine.dialect.name == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK})
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = configuration(connection)
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in {r.revision for r in scripts.walk_revisions()}:
        raise SchemaTooNew(
            f"the database has schema {current}, which this version does not know; "
            "start the version that wrote it, or a newer one"
        )
    if current != scripts.get_current_head():
        command.upgrade(config, "head")
