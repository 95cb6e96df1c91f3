"""The web role: HTTP API, live views, the browser application, and the writer of call records."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import socketio
import structlog
import uvicorn
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp

from comms.api.app import create_app
from comms.api.deps import Services
from comms.api.metrics import Metrics
from comms.auth.login import Login
from comms.auth.passwords import Passwords
from comms.auth.sessions import Sessions
from comms.auth.throttle import Throttle, ThrottleRules
from comms.bus.streams import Keys
from comms.calls.originate import Originator
from comms.calls.retention import Retention
from comms.errors import OperatorError
from comms.live.hub import ChannelListener, LiveHub
from comms.live.socket import LiveServer
from comms.ports import Listener, PortError
from comms.ready import tell_ready
from comms.records import RecordWriter
from comms.store.directory import publish_changes
from comms.store.engine import open_engine
from comms.store.migrate import SchemaTooNew
from comms.store.prepare import prepare_store
from comms.tasks import end

if TYPE_CHECKING:
    from comms.settings import Settings

log = structlog.get_logger(__name__)

STATIC = Path(__file__).parent / "static"
#: how long requests at hand may take when the role ends
_GRACE_SECONDS = 5
_MAX_CONNECTIONS = 6000


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the web role needs to know; durations in seconds."""

    sql_url: str
    redis_url: str
    domain: str
    host: str = "127.0.0.1"
    #: 0: any free port
    port: int = 8000
    tenant: str = "city"
    trusted_proxies: str = "127.0.0.1"
    session_lifetime: float = 12 * 3600.0
    idempotency_lifetime: float = 86_400.0
    retention_days: int = 90
    sweep_every: float = 3600.0
    pool_size: int = 5
    throttle: ThrottleRules = field(default_factory=ThrottleRules)
    #: name of this process among the writers of call records
    instance: str = "web-1"
    static: Path = STATIC
    #: origins whose pages may open live views, besides pages of the host they connect to
    origins: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings, instance: str = "web-1") -> WebConfig:
        """Return the configuration that the settings make."""
        guard = settings.guard
        return cls(
            sql_url=settings.sql_url,
            redis_url=settings.redis_url,
            domain=settings.general.domain,
            host=settings.web.host,
            port=settings.web.port,
            tenant=settings.general.tenant,
            trusted_proxies=settings.web.trusted_proxies,
            session_lifetime=settings.web.session_hours * 3600,
            idempotency_lifetime=settings.web.idempotency_hours * 3600,
            retention_days=settings.records.retention_days,
            sweep_every=settings.records.sweep_minutes * 60,
            pool_size=settings.sql.pool_size,
            throttle=ThrottleRules(
                free_attempts=guard.free_attempts,
                delay_seconds=guard.delay_seconds,
                max_delay_seconds=guard.max_delay_seconds,
                window_seconds=guard.window_seconds,
                silence_after=guard.silence_after,
                silence_seconds=guard.silence_seconds,
            ),
            instance=instance,
            origins=(origin_of(settings.web.public_url),) if settings.web.public_url else (),
        )


def origin_of(url: str) -> str:
    """Return scheme and host of an address, as browsers send it in `Origin`.

    >>> origin_of("https://city.example/comms")
    'https://city.example'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True, slots=True)
class WebRole:
    """A running web role without its listener."""

    #: everything: API, live views, browser application
    app: ASGIApp
    services: Services
    live: LiveServer
    records: RecordWriter
    #: these end only by a mistake
    background: tuple[asyncio.Task[None], ...]


async def run_web(settings: Settings) -> None:
    """Run the web role until it is cancelled.

    Raises:
        OperatorError: the port is taken, or the database cannot be used.
    """
    await serve(WebConfig.of(settings))


async def serve(config: WebConfig, on_ready: asyncio.Future[int] | None = None) -> None:
    """Serve on the configured port until cancelled; `on_ready` gets the port.

    Raises:
        OperatorError: the port is taken, or the database cannot be used.
    """
    with _listen(config) as listener:
        async with web_role(config) as role:
            server = _Server(
                uvicorn.Config(
                    role.app,
                    lifespan="off",
                    log_config=None,
                    access_log=False,
                    server_header=False,
                    ws="websockets-sansio",
                    ws_max_size=64 * 1024,
                    proxy_headers=True,
                    forwarded_allow_ips=config.trusted_proxies,
                    limit_concurrency=_MAX_CONNECTIONS,
                    timeout_keep_alive=30,
                    timeout_graceful_shutdown=_GRACE_SECONDS,
                ),
                on_ready,
            )
            serving = asyncio.create_task(server.serve(sockets=[listener]), name="uvicorn")
            try:
                ended, _ = await asyncio.wait(
                    {serving, *role.background}, return_when=asyncio.FIRST_COMPLETED
                )
                for task in ended:
                    # A part that died silently would show old states for ever; the supervisor
                    # starts this role anew.
                    task.result()
            finally:
                # Cancelled: pages are told to connect again, requests at hand are finished.
                await role.live.stop()
                server.should_exit = True
                await serving


@asynccontextmanager
async def web_role(config: WebConfig) -> AsyncIterator[WebRole]:
    """Start everything but the listener; stop it at the end of the block.

    Raises:
        OperatorError: the database cannot be used.
    """
    await _prepare_store(config)
    engine = open_engine(config.sql_url, pool_size=config.pool_size)
    redis: Redis = Redis.from_url(config.redis_url, socket_connect_timeout=2, socket_timeout=5)
    passwords = Passwords()
    keys = Keys(config.tenant)
    sessions = Sessions(engine, redis, keys, config.session_lifetime)
    hub = LiveHub(redis, keys, engine)
    live = LiveServer(hub, sessions, config.origins)
    records = RecordWriter(redis, keys, engine, config.instance)
    retention = Retention(engine, config.retention_days, config.sweep_every)
    channels = ChannelListener(redis, keys, live.on_directory, live.on_session_over)
    services = Services(
        engine=engine,
        redis=redis,
        keys=keys,
        hub=hub,
        sessions=sessions,
        login=Login(engine, passwords, Throttle(redis, keys, config.throttle), sessions),
        passwords=passwords,
        originator=Originator(engine, redis, keys, config.idempotency_lifetime),
        metrics=_metrics(live, hub, records),
        records=records,
        static=config.static,
    )
    app = socketio.ASGIApp(live.server, create_app(services))
    announcing = asyncio.create_task(_announce(redis, keys, engine), name="announce")
    try:
        await hub.start()
        live.start()
        channels.start()
        records.start()
        retention.start()
        background = [t for part in (hub, live, channels, records, retention) for t in part.tasks()]
        yield WebRole(app, services, live, records, tuple(background))
    finally:
        await end(announcing)
        await live.stop()
        for part in (channels, retention, records, hub):
            await part.stop()
        passwords.close()
        await redis.aclose()
        await engine.dispose()


async def _prepare_store(config: WebConfig) -> None:
    try:
        await prepare_store(config.sql_url, config.domain)
    except SchemaTooNew as error:
        raise OperatorError(str(error)) from None
    except (DBAPIError, OSError) as error:
        cause = getattr(error, "orig", None) or error
        text = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
        raise OperatorError(f"the database cannot be used: {text}; see sql.url") from None


async def _announce(redis: Redis, keys: Keys, engine: AsyncEngine) -> None:
    """Give all roles the configuration, when this one starts and the live store can be reached."""
    while True:
        try:
            await publish_changes(redis, keys, engine)
        except (RedisError, DBAPIError, OSError):
            await asyncio.sleep(0.5)
        else:
            return


def _metrics(live: LiveServer, hub: LiveHub, records: RecordWriter) -> Metrics:
    metrics = Metrics()
    for name, text, read in (
        ("comms_live_connections", "Open live views", lambda: live.connections),
        ("comms_live_dropped", "Slow live views sent a snapshot", lambda: live.dropped),
        ("comms_live_unknown_events", "Events not understood", lambda: hub.unknown),
        ("comms_records_written", "Call records written", lambda: records.health.written),
        ("comms_records_refused", "Call records refused", lambda: records.health.refused),
        (
            "comms_records_failing",
            "1 while call records cannot be written",
            lambda: records.health.failing_since is not None,
        ),
    ):
        metrics.gauge(name, text, read)
    return metrics


def _listen(config: WebConfig) -> socket.socket:
    """Return the listening socket.

    Raises:
        OperatorError: the address cannot be had; the text says which and what to do.
    """
    wanted = Listener("web", "TCP", config.host, config.port, "web.port")
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM
        )[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(512)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise PortError(wanted.problem() or f"web.port: {os.strerror(error.errno or 0)}") from None
    return listener


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs this process, and tells when it serves."""

    def __init__(self, config: uvicorn.Config, on_ready: asyncio.Future[int] | None) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        """Install no handlers."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell the supervisor."""
        await super().startup(sockets)
        if sockets and self._on_ready is not None and not self._on_ready.done():
            self._on_ready.set_result(int(sockets[0].getsockname()[1]))
        tell_ready()
