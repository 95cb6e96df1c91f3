"""Opens the database and runs transactions on it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

#: how long a SQLite writer waits for another process's transaction, in milliseconds
BUSY_TIMEOUT_MS = 5000
_SQLITE_TEMPORARY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
    }
)


def open_engine(url: str, *, pool_size: int = 5) -> AsyncEngine:
    """Return an engine for `sqlite+aiosqlite:///path` or `postgresql+asyncpg://…`.

    The short forms `sqlite:///path` and `postgresql://…` are taken as these. SQLite runs in WAL
    mode with foreign keys; writers start with BEGIN IMMEDIATE, so that two of them queue up
    instead of failing half-way with SQLITE_BUSY.

    Raises:
        ValueError: the URL names another database.
    """
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend == "postgresql":
        return create_async_engine(
            parsed.set(drivername="postgresql+asyncpg"),
            pool_size=pool_size,
            pool_pre_ping=True,
            hide_parameters=True,
        )
    if backend != "sqlite":
        raise ValueError(f"database {backend!r} is not supported; allowed: sqlite, postgresql")
    engine = create_async_engine(
        parsed.set(drivername="sqlite+aiosqlite"),
        pool_size=pool_size,
        max_overflow=5,
        # Errors get into logs, and the values may be names and numbers.
        hide_parameters=True,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # The driver must not open transactions by itself: it would begin them deferred.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        mode = connection.get_execution_options().get("sqlite_begin", "")
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """A session that sees one consistent state and changes nothing.

    Raises:
        DBAPIError: the database cannot be reached; `is_temporary` holds.
    """
    async with AsyncSession(engine, expire_on_commit=False) as session:
        await _connect(session)
        yield session


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """A transaction: committed at the end of the block, rolled back on an exception.

    Raises:
        DBAPIError: the database cannot be reached or written; `is_temporary` tells whether a later
            attempt may succeed.
    """
    immediate = engine.execution_options(sqlite_begin="IMMEDIATE")
    async with (
        AsyncSession(immediate, expire_on_commit=False) as session,
        session.begin(),
    ):
        await _connect(session)
        yield session


async def _connect(session: AsyncSession) -> None:
    """Get the connection now, and tell a failure as all others: drivers raise errors of their own
    while they connect."""
    try:
        await session.connection()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise OperationalError(None, None, error, connection_invalidated=True) from error


def insert_of(session: AsyncSession) -> Any:
    """Return the database's own `insert`, which knows ON CONFLICT (no common one does)."""
    if session.get_bind().dialect.name == "postgresql":
        return postgresql.insert
    return sqlite.insert


def violated(error: IntegrityError) -> str:
    """Return the name of the violated constraint, or `table.column` as SQLite tells it."""
    cause: Any = error.orig
    name = getattr(getattr(cause, "__cause__", None), "constraint_name", None)
    if name:
        return str(name)
    text = str(cause)
    return text.rpartition("failed: ")[2] if "failed: " in text else text


def is_temporary(error: DBAPIError) -> bool:
    """Whether a later attempt may succeed: locked, full, unreachable or restarting database."""
    if error.connection_invalidated:
        return True
    cause: BaseException | None = error.orig
    while cause is not None:
        if isinstance(cause, sqlite3.OperationalError):
            # The extended codes carry the primary one in their low byte.
            return cause.sqlite_errorcode & 0xFF in _SQLITE_TEMPORARY
        state = getattr(cause, "sqlstate", None)
        if isinstance(state, str):
            # Classes 08 connection, 40 rollback, 53 insufficient resources, 55 lock not
            # available, 57 operator intervention, 58 system error.
            return state[:2] in {"08", "40", "53", "55", "57", "58"}
        if isinstance(cause, OSError):
            return True
        cause = cause.__cause__
    return False
