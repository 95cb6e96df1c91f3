"""Endpoints on a virtual clock, joined by a seeded network that loses, repeats and reorders.

`run` always does the earliest thing first: a delivery or an endpoint's timer. Everything that is
random comes from one seed, which stands in the message of every failure.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sip.core.events import Event, UaConfig
from sip.core.flow import Flow, Transport
from sip.core.message import parse_message
from sip.core.ua import UserAgent


@dataclass(slots=True)
class Link:
    """How the network treats datagrams; times in seconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.02
    #: additional delay, so that datagrams overtake each other
    jitter: float = 0.0


@dataclass(eq=False)
class Endpoint:
    """A user agent at an address."""

    net: Net
    host: str
    ua: UserAgent
    transport: Transport = "udp"
    #: everything that happened, with its time
    log: list[tuple[float, Event]] = field(default_factory=list)
    #: what the endpoint does when something happens
    react: Callable[[Event], None] | None = None
    port: int = 5060

    def flow_to(self, other: Endpoint) -> Flow:
        connection = 0 if self.transport == "udp" else 1
        return Flow(self.transport, (self.host, self.port), (other.host, other.port), connection)

    def seen(self, kind: type[Event]) -> list[Any]:
        return [event for _, event in self.log if isinstance(event, kind)]

    @property
    def names(self) -> list[str]:
        return [type(event).__name__ for _, event in self.log]


class Net:
    """The network and its clock."""

    def __init__(self, seed: int = 0, link: Link | None = None) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.link = link or Link()
        self.now = 1000.0
        self.endpoints: dict[tuple[str, int], Endpoint] = {}
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        #: every datagram sent: time, source host, bytes
        self.sent: list[tuple[float, str, bytes]] = []
        #: datagrams the test wants to disappear
        self.drop: Callable[[str, bytes], bool] | None = None
        #: a proxy on the way: the address a datagram really goes to
        self.route: Callable[[Flow, bytes], tuple[str, int]] | None = None

    def token(self) -> str:
        return f"{self.random.getrandbits(80):020x}"

    def endpoint(
        self, host: str, config: UaConfig | None = None, transport: Transport = "udp"
    ) -> Endpoint:
        endpoint = Endpoint(self, host, UserAgent(config or UaConfig(), self.token), transport)
        self.endpoints[endpoint.host, endpoint.port] = endpoint
        return endpoint

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Do something at a time."""
        heapq.heappush(self._queue, (when, next(self._order), action))

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self.at(self.now + delay, action)

    def flush(self) -> None:
        """Put what the endpoints want to send on the network; let them react to events."""
        busy = True
        while busy:
            busy = False
            for endpoint in list(self.endpoints.values()):
                for flow, data in endpoint.ua.datagrams():
                    busy = True
                    self._transmit(endpoint, flow, data)
                for event in endpoint.ua.events():
                    busy = True
                    endpoint.log.append((self.now, event))
                    if endpoint.react is not None:
                        endpoint.react(event)

    def _transmit(self, source: Endpoint, flow: Flow, data: bytes) -> None:
        self.sent.append((self.now, source.host, data))
        if self.drop is not None and self.drop(source.host, data):
            return
        link = self.link
        reliable = flow.reliable
        if not reliable and self.random.random() < link.loss:
            return
        copies = 2 if not reliable and self.random.random() < link.duplicate else 1
        back = Flow(flow.transport, flow.remote, flow.local, flow.connection)
        for _ in range(copies):
            jitter = 0.0 if reliable else self.random.random() * link.jitter
            self.after(link.delay + jitter, partial(self._deliver, back, data))

    def _deliver(self, flow: Flow, data: bytes) -> None:
        local = flow.local if self.route is None else self.route(flow, data)
        target = self.endpoints.get(local)
        if target is not None:
            target.ua.receive(parse_message(data), flow, self.now)

    def inject(self, target: Endpoint, data: bytes, source: tuple[str, int]) -> None:
        """Let a datagram arrive from any address."""
        flow = Flow("udp", (target.host, target.port), source)
        target.ua.receive_data(data, flow, self.now)
        self.flush()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        steps = 0
        self.flush()
        while True:
            due = [self._queue[0][0]] if self._queue else []
            for endpoint in self.endpoints.values():
                timer = endpoint.ua.next_timer()
                if timer is not None:
                    due.append(timer)
            moment = min(due, default=end)
            if moment >= end:
                break
            steps += 1
            assert steps < 200_000, f"no end in sight (seed {self.seed})"
            self.now = max(self.now, moment)
            while self._queue and self._queue[0][0] <= self.now:
                _, _, action = heapq.heappop(self._queue)
                action()
                self.flush()
            for endpoint in list(self.endpoints.values()):
                timer = endpoint.ua.next_timer()
                if timer is not None and timer <= self.now:
                    endpoint.ua.handle_timers(self.now)
                    self.flush()
        self.now = end

    def starts(self, prefix: str, host: str | None = None) -> list[tuple[float, bytes]]:
        """What was sent with a start line that begins so, and when."""
        wanted = prefix.encode()
        return [
            (when, data)
            for when, source, data in self.sent
            if data.startswith(wanted) and (host is None or source == host)
        ]

    def assert_idle(self, endpoints: Sequence[Endpoint]) -> None:
        """No transaction, leg or timer is left."""
        for endpoint in endpoints:
            ua = endpoint.ua
            assert not ua.legs, f"legs left at {endpoint.host} (seed {self.seed})"
            assert len(ua.layer) == 0, f"transactions left at {endpoint.host} (seed {self.seed})"
            assert not ua._uses, f"uses left at {endpoint.host} (seed {self.seed})"
            assert not ua._by_tag, f"tags left at {endpoint.host} (seed {self.seed})"
            assert not ua._by_invite, f"INVITEs left at {endpoint.host} (seed {self.seed})"
            assert not ua.layer._merges, f"merge keys left at {endpoint.host} (seed {self.seed})"
            assert len(ua.timers) == 0, f"timers left at {endpoint.host} (seed {self.seed})"
