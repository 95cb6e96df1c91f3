"""Counters of the web role and, beside them, those that the other roles keep in the live store."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from comms.bus.streams import Keys

# `name` or `name{label="value",…}`, as roles name the fields of their hashes; bounded, so that
# nothing unexpected gets into the answer. No part can match in two ways, so it is linear.
_FIELD = re.compile(
    r"[a-zA-Z_:][a-zA-Z0-9_:]{0,100}"
    r'(?:\{(?:[a-zA-Z_][a-zA-Z0-9_]{0,40}="[^"\\\n]{0,100}",?){0,10}\})?'
)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Metrics:
    """The web role's own metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "comms_http_requests",
            "HTTP requests",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "comms_http_request_seconds",
            "Time to answer HTTP requests",
            ["route"],
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=self.registry,
        )
        self.logins = Counter(
            "comms_logins", "Log-ins by outcome", ["outcome"], registry=self.registry
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Add a value that is read when it is asked for."""
        Gauge(name, text, registry=self.registry).set_function(read)

    def exposition(self) -> str:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry).decode()


async def other_roles(redis: Redis, keys: Keys) -> str:
    """Return the other roles' counters in Prometheus' text format, with label `instance_role`.

    Each role instance keeps a hash `Keys.metrics(role)` of `name{labels}` -> number.
    """
    prefix = keys.metrics("")
    lines: list[str] = []
    try:
        async for key in redis.scan_iter(match=prefix + "*", count=1000):
            role = key.decode().removeprefix(prefix)
            values: Any = await redis.hgetall(key)
            lines += [
                line
                for field, value in sorted(values.items())
                if (line := _line(role, field.decode("utf-8", "replace"), value)) is not None
            ]
    except RedisError:
        return "comms_live_store_up 0\n"
    return "\n".join(["comms_live_store_up 1", *lines]) + "\n"


def _line(role: str, field: str, value: bytes) -> str | None:
    if not _FIELD.fullmatch(field) or not re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", role):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    name, brace, labels = field.partition("{")
    labels = f'instance_role="{role}"' + ("," + labels.rstrip("}") if brace else "")
    return f"{name}{{{labels.rstrip(',')}}} {number:.17g}"
