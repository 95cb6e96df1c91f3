"""What all commands share: the settings, the stores, and the way results are printed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from sqlalchemy.ext.asyncio import AsyncEngine

    from comms.bus.streams import Keys
    from comms.settings import Settings

T = TypeVar("T")

#: the option of every command whose result a program may want to read
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]

#: seconds to wait for the live store, which may not run
_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Stores:
    """The open stores of one command."""

    engine: AsyncEngine
    redis: Redis
    keys: Keys

    async def publish(self) -> None:
        """Tell a running system that people, numbers or queues changed."""
        from redis.exceptions import RedisError

        from comms.store.directory import publish_changes

        try:
            await publish_changes(self.redis, self.keys, self.engine)
        except (RedisError, OSError):
            note("No system runs on these settings now; it will know at its next start.")


def settings_of(ctx: typer.Context) -> Settings:
    """Return the settings of the file the command line names, and of the environment.

    Raises:
        SettingsError: a setting is wrong.
    """
    from comms.settings import load_settings

    return load_settings(ctx.obj)


def with_stores(ctx: typer.Context, work: Callable[[Stores], Awaitable[T]]) -> T:
    """Open the stores, bring the database to the newest schema and run `work`.

    Raises:
        StoreError: the database cannot be opened.
    """
    settings = settings_of(ctx)

    async def run() -> T:
        async with _open(settings) as stores:
            return await work(stores)

    return asyncio.run(run())


@asynccontextmanager
async def _open(settings: Settings) -> AsyncIterator[Stores]:
    from redis.asyncio import Redis

    from comms.bus.streams import Keys
    from comms.database import prepare_database
    from comms.folders import prepare_folders
    from comms.store.engine import open_engine

    prepare_folders(settings)
    await prepare_database(settings)
    engine = open_engine(settings.sql_url, pool_size=settings.sql.pool_size)
    redis: Redis = Redis.from_url(
        settings.redis_url, socket_connect_timeout=_PATIENCE, socket_timeout=_PATIENCE
    )
    try:
        yield Stores(engine, redis, Keys(settings.general.tenant))
    finally:
        await redis.aclose()
        await engine.dispose()


def note(text: str) -> None:
    """Print a remark that is no result."""
    typer.secho(text, err=True, dim=True)


def print_json(value: Any) -> None:
    """Print a result for programs."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str = "") -> None:
    """Print a result for people."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title or None, title_justify="left")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    Console().print(table)
