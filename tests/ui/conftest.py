"""A browser, and the console on the real platform or on one that can be made to misbehave."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from support.city_web import CityWeb
from support.fake_platform import FakePlatform, Musterstadt
from support.servers import ValkeyInstance

from comms.seed import seed_musterstadt
from comms.store.engine import open_engine
from comms.store.migrate import migrate

ROOT = Path(__file__).parents[2]
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_TIMEOUT_MS = 10_000

OpenPage = Callable[..., Page]


@pytest.fixture(scope="session")
def built_console() -> Path:
    """The console as it is in this tree; built when it is not up to date."""
    sys.path.insert(0, str(ROOT))
    try:
        import hatch_build
    finally:
        sys.path.remove(str(ROOT))
    (ROOT / "comms" / "static").mkdir(exist_ok=True)
    # Test processes side by side must not build into the same folder at once.
    with (ROOT / "switchboard_ui" / "package.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        hatch_build.build(ROOT)
    return ROOT / "comms" / "static"


# Not wider: while Playwright runs, no other test of this process can run a loop of its own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages in contexts of their own; an error on any of them fails the test.

    Errors of the network are the tests' own doing and do not count.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def note(text: str) -> None:
        if "Failed to load resource" not in text and "WebSocket connection" not in text:
            errors.append(text)

    def open_(url: str, **options: object) -> Page:
        context = browser.new_context(
            **{"locale": "de-DE", "timezone_id": "Europe/Berlin", **options}  # type: ignore[arg-type]
        )
        contexts.append(context)
        context.set_default_timeout(_TIMEOUT_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: note(f"{error}"))
        page.on("console", lambda m: note(m.text) if m.type in ("error", "warning") else None)
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert errors == []


@pytest.fixture
def fake(built_console: Path) -> Iterator[FakePlatform]:
    """A platform that does what the test says, as Anna Schmidt sees it."""
    platform = FakePlatform(Musterstadt())
    platform.start()
    yield platform
    platform.stop()


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

    # In a thread: this one may have Playwright's loop.
    thread = threading.Thread(target=lambda: asyncio.run(seed()))
    thread.start()
    thread.join()
    return path


@pytest.fixture
def city(
    built_console: Path, seeded_database: Path, valkey: ValkeyInstance, tmp_path: Path
) -> Iterator[CityWeb]:
    """Musterstadt on the real web and queue roles."""
    database = tmp_path / "comms.db"
    shutil.copyfile(seeded_database, database)
    platform = CityWeb(database, valkey.url)
    platform.start()
    yield platform
    platform.stop()
