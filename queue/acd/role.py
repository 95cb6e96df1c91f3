"""The queue role: a process that leads the journal or stands by to do so.

    python -m acd.role --redis unix:///run/comms/valkey.sock --tenant city --name queue-1

Any number of instances may run; one leads. Other roles talk to it only through the streams that
`comms.bus` names: they append commands to the journal and read the events.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from redis.asyncio import Redis

from comms.bus.streams import Keys
from comms.ready import tell_ready

from .journal import Journal, Rules, keep

if TYPE_CHECKING:
    from comms.settings import Settings

_log = structlog.get_logger("acd")


@dataclass(frozen=True, slots=True)
class RoleSettings:
    """What an instance needs.

    Attributes:
        client: where everything is; closed by whoever made it.
        keys: names of the tenant's keys.
        instance: this instance's name, e.g. "queue-1".
        rules: how the journal is kept.
    """

    client: Redis
    keys: Keys
    instance: str
    rules: Rules = field(default_factory=Rules)


async def serve(settings: RoleSettings) -> None:
    """Lead or stand by until cancelled; then give the lease back and return cancelled."""
    journal = Journal(settings.client, settings.keys, settings.instance, settings.rules)
    _log.info("queue-role-started", instance=settings.instance)
    tell_ready()
    try:
        await keep(journal)
    finally:
        _log.info("queue-role-stopped", instance=settings.instance)


async def run(settings: Settings, name: str) -> None:
    """Run one instance with the settings of the whole installation until cancelled."""
    rules = Rules(lease=settings.queue.lease_seconds, snapshot_every=settings.queue.snapshot_every)
    await _run(settings.redis_url, settings.general.tenant, name, rules)


async def _run(url: str, tenant: str, name: str, rules: Rules) -> None:
    async with contextlib.aclosing(Redis.from_url(url, socket_connect_timeout=2.0)) as client:
        await serve(RoleSettings(client, Keys(tenant), name, rules))


def main() -> None:
    """Run one instance from the command line until SIGTERM or SIGINT."""
    import uvloop

    parser = argparse.ArgumentParser(prog="acd.role", description="The queue role of comms.")
    parser.add_argument("--redis", required=True, help="redis://, rediss:// or unix:// address")
    parser.add_argument("--tenant", default="city")
    parser.add_argument("--name", default="queue-1")
    parser.add_argument("--lease", type=float, default=Rules().lease, help="seconds")
    given = parser.parse_args()

    async def until_signal() -> None:
        rules = Rules(lease=given.lease)
        task = asyncio.ensure_future(_run(given.redis, given.tenant, given.name, rules))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    uvloop.run(until_signal())


if __name__ == "__main__":
    main()
