"""A running web role for the tests of `comms`."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from support.roles import FakeQueueRole
from support.servers import ValkeyInstance
from support.web import Web, running

from comms.auth.throttle import ThrottleRules
from comms.seed import seed_musterstadt
from comms.store.engine import open_engine
from comms.store.migrate import migrate
from comms.web import WebConfig


@pytest.fixture
def web_config(sqlite_url: str, valkey: ValkeyInstance, tmp_path: Path) -> WebConfig:
    """A web role on SQLite and any free port, whose log-in lets many attempts through."""
    return WebConfig(
        sql_url=sqlite_url,
        redis_url=valkey.url,
        domain="musterstadt.example",
        port=0,
        static=tmp_path / "static",
        throttle=ThrottleRules(free_attempts=100, silence_after=1000),
    )


@pytest.fixture
async def musterstadt(web_config: WebConfig, seeded_database: Path) -> WebConfig:
    """The configuration of a web role whose database holds Musterstadt."""
    target = web_config.sql_url.removeprefix("sqlite+aiosqlite:///")
    shutil.copyfile(seeded_database, target)
    return web_config


@pytest.fixture(scope="session")
def seeded_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with Musterstadt; seeding hashes passwords, which takes a second."""
    path = tmp_path_factory.mktemp("seed") / "comms.db"

    async def seed() -> None:
        url = f"sqlite+aiosqlite:///{path}"
        await migrate(url)
        engine = open_engine(url)
        await seed_musterstadt(engine)
        async with engine.connect() as connection:
            # Everything into the one file that tests copy.
            await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        await engine.dispose()

    asyncio.run(seed())
    return path


@pytest.fixture
async def queue_role(redis: Redis) -> FakeQueueRole:
    """Publishes queue events and views as the queue role does."""
    return FakeQueueRole(redis)


@pytest.fixture
async def web(musterstadt: WebConfig) -> AsyncIterator[Web]:
    """A running web role with Musterstadt."""
    async with running(musterstadt) as role:
        yield role
