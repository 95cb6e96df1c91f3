"""The web role and the queue role with Musterstadt, in a thread beside a test that is not async."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import redis as redis_sync
from redis.asyncio import Redis

from acd.role import RoleSettings
from acd.role import serve as serve_queue
from comms.auth.throttle import ThrottleRules
from comms.bus import acd, sip
from comms.bus.records import CallRecord
from comms.bus.streams import Codec, Keys
from comms.web import STATIC, WebConfig
from comms.web import serve as serve_web

T = TypeVar("T")

_commands: Codec[acd.Command] = Codec(acd.Command)
_events: Codec[acd.Event] = Codec(acd.Event)
_sip_commands: Codec[sip.Command] = Codec(sip.Command)
_sip_events: Codec[sip.Event] = Codec(sip.Event)
_records: Codec[CallRecord] = Codec(CallRecord)

_START_SECONDS = 20.0


def until(found: Callable[[], T | None], what: str, seconds: float = 10.0) -> T:
    """Return what `found` gives once that is not None.

    Raises:
        AssertionError: it did not come within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while (result := found()) is None:
        assert time.monotonic() < deadline, f"{what} did not come within {seconds} s"
        time.sleep(0.01)
    return result


class CityWeb:
    """The real roles `web` and `queue`; the test plays telephony by writing to the streams.

    Args:
        database: a SQLite file with Musterstadt.
        redis_url: an empty Valkey.
    """

    def __init__(self, database: Path, redis_url: str) -> None:
        self.keys = Keys()
        self.redis = redis_sync.Redis.from_url(redis_url)
        self._redis_url = redis_url
        self._config = WebConfig(
            sql_url=f"sqlite+aiosqlite:///{database}",
            redis_url=redis_url,
            domain="musterstadt.example",
            port=0,
            static=STATIC,
            throttle=ThrottleRules(free_attempts=100, silence_after=1000),
        )
        self._port: int | None = None
        self._failure: BaseException | None = None
        self._stop: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._main, daemon=True)

    @property
    def url(self) -> str:
        """Where the console is."""
        return f"http://127.0.0.1:{self._port}/console/"

    def start(self) -> None:
        """Return when the web role serves and the queue role has the configuration."""
        self._thread.start()

        def ready() -> bool | None:
            if self._failure is not None:
                raise self._failure
            configured = self.redis.hlen(self.keys.acd_agents)
            return True if self._port is not None and configured else None

        until(ready, "the web role", _START_SECONDS)

    def stop(self) -> None:
        """End both roles."""
        self._stop()
        self._thread.join(15)
        self.redis.close()

    # --- telephony's part -------------------------------------------------------------------

    def say(self, *commands: acd.Command) -> None:
        """Write to the queue's journal."""
        for command in commands:
            self.redis.xadd(self.keys.acd_journal, _commands.fields(command))  # type: ignore[arg-type]

    def offer(self, work: str) -> acd.OfferMade:
        """Return the newest offer of this work."""

        def found() -> acd.OfferMade | None:
            rows = self.redis.xrevrange(self.keys.acd_events)
            made = (e for _, e in _events.entries(rows))  # type: ignore[arg-type]
            return next((e for e in made if isinstance(e, acd.OfferMade) and e.work == work), None)

        return until(found, f"an offer of {work}")

    def call(self, view: sip.CallView) -> None:
        """Tell a call's state as telephony does."""
        pipe = self.redis.pipeline(transaction=True)
        pipe.xadd(self.keys.sip_events, _sip_events.fields(sip.CallChanged(view)))  # type: ignore[arg-type]
        if view.state == "ended":
            pipe.hdel(self.keys.sip_calls_view, view.call)
        else:
            pipe.hset(self.keys.sip_calls_view, view.call, msgspec.json.encode(view))
        pipe.execute()

    def record(self, *records: CallRecord) -> None:
        """Hand over call records and wait until they are written."""
        for record in records:
            self.redis.xadd(self.keys.records, _records.fields(record))  # type: ignore[arg-type]

    def dialled(self) -> list[sip.Originate]:
        """Return the calls that telephony was asked for."""
        rows = self.redis.xrange(self.keys.sip_commands)
        commands = (c for _, c in _sip_commands.entries(rows))  # type: ignore[arg-type]
        return [c for c in commands if isinstance(c, sip.Originate)]

    # --- the roles --------------------------------------------------------------------------

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[int] = loop.create_future()
        client: Redis = Redis.from_url(self._redis_url)
        tasks = [
            asyncio.create_task(serve_web(self._config, ready)),
            asyncio.create_task(serve_queue(RoleSettings(client, self.keys, "queue-1"))),
        ]

        def cancel() -> None:
            for task in tasks:
                task.cancel()

        self._stop = lambda: loop.call_soon_threadsafe(cancel)
        ready.add_done_callback(lambda done: setattr(self, "_port", done.result()))
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks)
        await client.aclose()
