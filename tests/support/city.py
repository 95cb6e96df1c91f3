"""Musterstadt for end-to-end tests: real phones, citizens and agents of a running system.

`City` hands out pjsua2 phones and agents' sessions and puts everything back at its end: calls
are hung up, registrations taken back, agents offline.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from pathlib import Path
from typing import Any, Literal, Protocol

from redis.asyncio import Redis

from comms.bus.streams import Keys
from comms.seed import DOMAIN, login_password, sip_password
from sip.probe.phone import Phone, PhoneCall, PhoneError, Registration
from sip.simphone.api import Api, ApiError

CITIZEN = "+493023125001"
HEAD = "+492214710"
_POLL = 0.02


class System(Protocol):
    """What a running system must tell of itself."""

    host: str
    #: UDP and TCP
    sip_port: int
    tls_port: int
    web_url: str
    #: UDP port on `host` that the trunk's outgoing calls go to
    trunk_port: int
    redis_url: str
    run_dir: Path


class Agent:
    """An agent's session at the API."""

    def __init__(self, system: System, person: str, extension: str) -> None:
        self.person = person
        self.extension = extension
        self.api = Api(system.web_url)

    async def log_in(self) -> None:
        """Log in with the demonstration's password."""
        await self.api.log_in(self.person, login_password(self.extension))

    async def view(self) -> dict[str, Any]:
        """Return the agent as the live views show it, {} before the queue role knows it."""
        view: dict[str, Any] = (await self.api.request("GET", "/api/v1/me")).get("agent") or {}
        return view

    async def until(self, activity: str, within: float = 5.0) -> None:
        """Wait until the live views show this activity."""
        deadline = time.monotonic() + within
        while True:
            view = await self.view()
            if view.get("activity") == activity:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.person} is not {activity} but {view}")
            await asyncio.sleep(_POLL)

    async def available(self) -> None:
        """Become available and wait until the queue role has it so, with a reachable phone.

        Work that waits is offered at once, so that "offered" is as good.
        """
        deadline = time.monotonic() + 5.0
        while True:
            await self.api.set_state("available")
            view = await self.view()
            ready = view.get("activity") in ("available", "offered")
            if ready and view.get("chosen") == "available" and view.get("reachable"):
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.person} does not become available: {view}")
            await asyncio.sleep(_POLL)


class Citizen:
    """Somebody outside: a phone at the trunk's far end."""

    def __init__(self, system: System, phone: Phone) -> None:
        self._system = system
        self.phone = phone

    async def call(self, extension: str) -> PhoneCall:
        """Call the city's direct number of an extension."""
        number = HEAD + extension
        uri = f"sip:{number}@{self._system.host}:{self._system.sip_port}"
        return await self.phone.call(uri)


class City:
    """Phones and agents of one test. Use it as an asynchronous context manager."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._phones: list[tuple[Phone, bool]] = []
        self._agents: list[Agent] = []
        self._redis: Redis = Redis.from_url(system.redis_url)
        self._keys = Keys()

    async def phone(
        self,
        user: str,
        *,
        tone: float | None = None,
        transport: Literal["udp", "tcp", "tls"] = "udp",
        **options: Any,
    ) -> Phone:
        """Return a registered phone of a device account."""
        system = self.system
        phone = await Phone.start(
            user,
            sip_password(user),
            host=system.host,
            port=system.tls_port if transport == "tls" else system.sip_port,
            domain=DOMAIN,
            proxy=True,
            transport=transport,
            tone=tone,
            **options,
        )
        self._phones.append((phone, True))
        answer = await phone.register()
        assert answer.code == 200, f"registration of {user}: {answer.code} {answer.reason}"
        return phone

    async def stranger(self, user: str, password: str = "") -> tuple[Phone, Registration]:
        """Return a phone with these credentials and what the registrar said to them."""
        system = self.system
        phone = await Phone.start(
            user, password, host=system.host, port=system.sip_port, domain=DOMAIN, proxy=True
        )
        self._phones.append((phone, False))
        return phone, await phone.register()

    async def citizen(
        self, number: str = CITIZEN, *, tone: float | None = None, **options: Any
    ) -> Citizen:
        """Return a citizen with a phone in the public network."""
        phone = await Phone.start(number, tone=tone, **options)
        self._phones.append((phone, False))
        return Citizen(self.system, phone)

    async def provider(self, *, tone: float | None = None, **options: Any) -> Phone:
        """Return the phone at the trunk's far end that outgoing calls come to."""
        phone = await Phone.start(
            "provider", tone=tone, bind_port=self.system.trunk_port, **options
        )
        self._phones.append((phone, False))
        return phone

    async def agent(self, person: str, extension: str, *, available: bool = True) -> Agent:
        """Return a logged-in agent, available unless told otherwise."""
        agent = Agent(self.system, person, extension)
        await agent.log_in()
        self._agents.append(agent)
        if available:
            await agent.available()
        return agent

    # --- what the system says ---

    async def live_calls(self) -> int:
        """Return how many calls the system holds."""
        return int(await self._redis.hlen(self._keys.sip_calls_view))

    async def quiet(self, within: float = 5.0) -> None:
        """Wait until the system holds no call any more."""
        deadline = time.monotonic() + within
        while True:
            left = await self.live_calls()
            if left == 0:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{left} calls are left behind")
            await asyncio.sleep(_POLL)

    async def waiting(self, queue: str) -> list[str]:
        """Return the work that waits in a queue, next first."""
        rows = await self._redis.zrange(self._keys.acd_order(queue), 0, -1)
        return [row.decode() for row in rows if isinstance(row, bytes)]

    async def until_waiting(self, queue: str, count: int, within: float = 5.0) -> list[str]:
        """Wait until so many wait in a queue and return them, next first."""
        deadline = time.monotonic() + within
        while True:
            rows = await self.waiting(queue)
            if len(rows) == count:
                return rows
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(rows)} instead of {count} wait in {queue}")
            await asyncio.sleep(_POLL)

    async def record(
        self, within: float = 5.0, user: str = "katrin.vogel", extension: str = "241", **facts: Any
    ) -> dict[str, Any]:
        """Wait for the newest call record with these values and return it with its legs."""
        api = Api(self.system.web_url)
        await api.log_in(user, login_password(extension))
        deadline = time.monotonic() + within
        while True:
            items = await api.calls()
            for item in items:
                if all(item.get(key) == value for key, value in facts.items()):
                    return await api.request("GET", f"/api/v1/calls/{item['id']}")
            if time.monotonic() > deadline:
                raise AssertionError(f"no record with {facts}; the newest is {items[:1]}")
            await asyncio.sleep(_POLL)

    # --- the end ---

    async def __aenter__(self) -> City:
        return self

    async def __aexit__(self, *_: object) -> None:
        for agent in self._agents:
            with contextlib.suppress(ApiError):
                await agent.api.set_state("offline")
        await asyncio.gather(*(_put_away(phone, known) for phone, known in self._phones))
        await self._redis.aclose()


async def _put_away(phone: Phone, registered: bool) -> None:
    with contextlib.suppress(PhoneError, TimeoutError):
        for call in list(phone.calls.values()):
            if call.state not in ("NULL", "DISCONNECTED"):
                await call.hangup()
        if registered:
            await phone.unregister(within=2.0)
    await phone.stop()


class SipLog:
    """The messages of a phone that was started with `log=...`: dialogs and media addresses."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def text(self) -> str:
        """Everything logged so far."""
        return self._path.read_text("utf-8", "replace").replace("\r\n", "\n")

    def messages(self, start: str) -> list[str]:
        """Return the messages whose first line matches the regular expression `start`."""
        return re.findall(rf"(?ms)^((?:{start}).*?)^--end msg--", self.text)

    def received(self, start: str) -> list[str]:
        """Return those of the messages that came from the server."""
        pattern = rf"(?ms)\bRX \d+ bytes [^\n]*\n((?:{start}).*?)^--end msg--"
        return re.findall(pattern, self.text)

    def dialog(self, call_id: str | None = None) -> dict[str, str]:
        """Return Call-ID, tags and contact of the newest answered INVITE."""
        answers = [m for m in self.messages(r"SIP/2\.0 200") if re.search(r"CSeq: \d+ INVITE", m)]
        newest = answers[-1]
        return {
            "call_id": _field(newest, "Call-ID"),
            "from": _field(newest, "From"),
            "to": _field(newest, "To"),
            "contact": _field(newest, "Contact"),
            "cseq": _field(newest, "CSeq").split()[0],
        }

    def audio_of(self, message: str) -> tuple[str, int]:
        """Return the address in a message's session description."""
        host = re.search(r"(?m)^c=IN IP4 (\S+)", message)
        port = re.search(r"(?m)^m=audio (\d+)", message)
        assert host is not None
        assert port is not None
        return host[1], int(port[1])


def _field(message: str, name: str) -> str:
    found = re.search(rf"(?im)^{name}:\s*(.*)$", message)
    assert found is not None, f"no {name} in the message"
    return found[1].strip()
