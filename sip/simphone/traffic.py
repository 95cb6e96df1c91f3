"""The demonstration's traffic: agents' phones that answer, citizens who call all the time.

Citizens come as a Poisson process whose rate follows the hour. Everything is seeded: the same
seed draws the same people, whims and times.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from sip.simphone import city
from sip.simphone.api import Api, ApiError
from sip.simphone.audio import babble_frames
from sip.simphone.endpoint import Endpoint, SimCall, SimError
from sip.simphone.people import Meetings, SimCitizen, SimPhone

log = structlog.get_logger(__name__)

#: a citizen spends about so many seconds on the line, waiting and talking
_LINE_SECONDS = 35.0
_PATIENCE = 30.0
_POLL = 0.5
#: share of an agent's looks at the clock that lead to a break, and what the break is for
_BREAKS = 0.04
_REASONS = ("Pause", "Besprechung")


@dataclass(frozen=True, slots=True)
class DemoTraffic:
    """What the demonstration's simulated people do."""

    #: SIP over UDP: host and port
    server: tuple[str, int]
    #: address of the web role, such as http://127.0.0.1:8000
    api: str
    domain: str = "musterstadt.example"
    #: citizens on the line at a time, about, in the busiest hour
    callers: int = 6
    #: port that the trunk's outgoing calls come to; None takes none
    trunk_port: int | None = 5070
    #: SIP users of agents who are left to visitors
    visitors: frozenset[str] = frozenset({"201"})
    seed: int = 1
    host: str = "127.0.0.1"


async def run_demo_traffic(
    config: DemoTraffic, *, on_ready: Callable[[], None] | None = None
) -> None:
    """Simulate until cancelled.

    Raises:
        SimError, ApiError: the system cannot be reached or refuses the demonstration's people.
        OSError: the trunk's port is in use.
    """
    chance = random.Random(config.seed)
    meetings = Meetings()
    async with contextlib.AsyncExitStack() as stack:
        inside = await Endpoint.open(config.server, domain=config.domain, host=config.host)
        stack.push_async_callback(inside.close)
        outside = await Endpoint.open(config.server, host=config.host, port=config.trunk_port or 0)
        stack.push_async_callback(outside.close)
        calls = _Outgoing(chance)
        if config.trunk_port is not None:
            outside.on_other_call = calls.take
            stack.push_async_callback(calls.stop)

        phones = []
        for agent in city.agents():
            if agent.device in config.visitors:
                continue
            phone = SimPhone(
                inside,
                agent.device,
                agent.sip_password,
                chance=random.Random(f"{config.seed} {agent.device}"),
                meetings=meetings,
            )
            await _patiently(phone.start)
            stack.push_async_callback(phone.stop)
            phones.append(agent)
        sessions = await asyncio.gather(*(_serve(config.api, agent) for agent in phones))
        log.info("simulation.ready", agents=len(phones), callers=config.callers)
        if on_ready is not None:
            on_ready()
        async with asyncio.TaskGroup() as group:
            for agent, api in zip(phones, sessions, strict=True):
                whims = random.Random(f"{config.seed} whims {agent.device}")
                group.create_task(_work(api, agent, whims))
            await _citizens(config, chance, outside, meetings)


async def _patiently(register: Callable[[], Awaitable[None]]) -> None:
    """Register, and try again while the system still starts."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            await register()
            return
        except SimError as error:
            if error.status in (401, 403, 404) or time.monotonic() > deadline:
                raise
        await asyncio.sleep(_POLL)


async def _serve(base: str, agent: city.Agent) -> Api:
    """Log in and become available, as the agent would in the morning; return the session."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            api = Api(base)
            await api.log_in(agent.user, agent.password)
            await api.set_state("available")
            return api
        except ApiError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(_POLL)


async def _work(api: Api, agent: city.Agent, chance: random.Random) -> None:
    """Look up now and then: take a break, come back from one (also from one for missed calls)."""
    while True:
        await asyncio.sleep(chance.uniform(20.0, 45.0))
        try:
            if chance.random() < _BREAKS:
                await api.set_state("break", chance.choice(_REASONS))
            else:
                await api.set_state("available")
        except ApiError:
            with contextlib.suppress(ApiError):
                await api.log_in(agent.user, agent.password)


async def _citizens(
    config: DemoTraffic, chance: random.Random, outside: Endpoint, meetings: Meetings
) -> None:
    if config.callers <= 0:
        await asyncio.Event().wait()
    busiest = config.callers / _LINE_SECONDS
    outcomes: Counter[str] = Counter()
    #: who is on the line, with the number they called
    calling: dict[str, str] = {}
    async with asyncio.TaskGroup() as group:
        # the first citizens come at once: whoever starts a demonstration is watching
        wait = 0.5
        while True:
            await asyncio.sleep(wait)
            wait = chance.expovariate(busiest * city.liveliness(time.time()))
            if sum(outcomes.values()) + len(calling) < config.callers // 2:
                wait = min(wait, 2.0)
            number = city.draw_number(chance)
            wish = city.draw_queue(chance, config.callers, Counter(calling.values()))
            own = random.Random(f"{config.seed} {chance.random()}")
            if wish is None or number in calling:
                continue
            calling[number], keys = wish
            citizen = SimCitizen(outside, number, chance=own, meetings=meetings, keys=keys)
            group.create_task(_one(citizen, calling, outcomes))


async def _one(citizen: SimCitizen, calling: dict[str, str], outcomes: Counter[str]) -> None:
    try:
        outcomes[await citizen.call(calling[citizen.number])] += 1
        if sum(outcomes.values()) % 20 == 0:
            log.info("simulation.calls", **{k.replace("-", "_"): n for k, n in outcomes.items()})
    finally:
        del calling[citizen.number]


class _Outgoing:
    """Citizens who are called: what the trunk's far end does with the city's outgoing calls."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, call: SimCall) -> None:
        task = asyncio.create_task(self._answer(call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: SimCall) -> None:
        call.ring()
        if await call.until_ended(self._chance.uniform(2.0, 6.0)):
            return
        if await call.answer(babble_frames(self._chance.randrange(12))):
            await call.until_ended(self._chance.uniform(60.0, 180.0))
            call.hang_up()

    async def stop(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
