"""Whoever hangs up in whatever moment: nothing stays behind, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from support.city import CITIZEN, HEAD, Agent, City
from support.sipp import sipp
from support.system import RunningSystem, run

from comms.bus.acd import AgentView
from comms.bus.streams import Keys
from comms.seed import DOMAIN, sip_password
from comms.store import models as m
from comms.store.engine import writing
from sip.simphone import city as musterstadt
from sip.simphone.endpoint import Endpoint
from sip.simphone.people import Manners, Meetings, SimCitizen, SimPhone, Span, Temper

pytestmark = pytest.mark.e2e
STAFF = ("242", "243")


class Hasty(RunningSystem):
    """Queues without pauses, so that many calls go through few agents in seconds."""

    async def furnish(self, engine: AsyncEngine) -> None:
        hasty = {"wrap_up": 0.05, "refusal_pause": 0.05, "offer_timeout": 2.0}
        async with writing(engine) as session:
            for queue in await session.scalars(select(m.Queue)):
                queue.rules = queue.rules | hasty | {"missed_offers_limit": 1000}

    def records(self) -> Counter[str]:
        """Return how many calls are on record, by cause."""
        with contextlib.closing(sqlite3.connect(self.folder / "comms.db")) as database:
            return Counter(
                dict(database.execute("select cause, count(*) from call_records group by 1"))
            )


@pytest.fixture(scope="module")
def hasty(prompts: Path) -> Iterator[RunningSystem]:
    yield from run(Hasty(prompts))


@pytest.fixture
async def city(hasty: RunningSystem) -> AsyncIterator[City]:
    async with City(hasty) as one:
        yield one
    async with City(hasty) as after:
        await after.quiet()


@pytest.mark.parametrize("seed", [1, 2])
async def test_calls_ended_at_random_moments_leave_nothing_behind(hasty: Hasty, seed: int) -> None:
    chance = random.Random(seed)
    server = (hasty.host, hasty.sip_port)
    manners = Manners(ring=Span(0.0, 0.05, 0.4), talk=Span(0.0, 0.1, 0.6), decline=0.2, miss=0.02)
    temper = Temper(patience=Span(0.0, 0.6, 2.5), talk=Span(0.0, 0.1, 0.6), fickle=0.0)
    before = sum(hasty.records().values())
    async with contextlib.AsyncExitStack() as stack:
        inside = await Endpoint.open(server, domain=DOMAIN)
        stack.push_async_callback(inside.close)
        outside = await Endpoint.open(server)
        stack.push_async_callback(outside.close)
        meetings = Meetings()
        devices = [agent.device for agent in musterstadt.agents()] + list(STAFF)
        for device in devices:
            phone = SimPhone(
                inside,
                device,
                sip_password(device),
                manners=manners,
                chance=random.Random(f"{seed} {device}"),
                meetings=meetings,
            )
            await phone.start()
            stack.push_async_callback(phone.stop)
        agents = [Agent(hasty, agent.user, agent.device) for agent in musterstadt.agents()]
        for agent in agents:
            await agent.log_in()
            await agent.api.set_state("available")

        async def one(number: int) -> str:
            own = random.Random(f"{seed} citizen {number}")
            await asyncio.sleep(own.uniform(0.0, 6.0))
            citizen = SimCitizen(
                outside,
                f"+493023125{number:03d}",
                temper=temper,
                chance=own,
                meetings=meetings,
                keys=own.choice(("", "", "2")),
            )
            to = chance.choice(("150", "160", "170", "170", "180", *STAFF))
            return await citizen.call(HEAD + to)

        count = 60
        outcomes = Counter(await asyncio.gather(*(one(number) for number in range(count))))
        assert outcomes["failed"] == 0, outcomes
        assert outcomes["talked"] > 0, outcomes

        await _nothing_left(hasty)
        for agent in agents:
            await agent.api.set_state("offline")
    await _until(lambda: sum(hasty.records().values()) == before + count, "a record for each call")
    unexpected = {"failed", "media-lost", "phone-lost", "overload"}
    assert not unexpected & set(hasty.records()), hasty.records()


async def _nothing_left(system: RunningSystem) -> None:
    """Wait until no call, no work and no agent's engagement is left."""
    keys = Keys()
    redis: Redis = Redis.from_url(system.redis_url)
    deadline = time.monotonic() + 10
    while True:
        calls = await redis.hlen(keys.sip_calls_view)
        works = await redis.hlen(keys.acd_works)
        rows = await redis.hvals(keys.acd_agents)
        views = [msgspec.json.decode(row, type=AgentView) for row in rows]
        stuck = [v for v in views if v.activity in ("offered", "busy") or v.engaged or v.work]
        if not (calls or works or stuck):
            break
        assert time.monotonic() < deadline, f"{calls} calls, {works} works, stuck agents: {stuck}"
        await asyncio.sleep(0.05)
    await redis.aclose()


async def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        if condition():
            return
        assert time.monotonic() < deadline, f"{what}: not within 10 s"
        await asyncio.sleep(0.05)


async def test_citizen_hangs_up_in_the_instant_the_agent_answers(city: City) -> None:
    phone = await city.phone("201")
    anna = await city.agent("anna.schmidt", "201")
    citizen = await city.citizen()
    call = await citizen.call("160")
    rung = await phone.incoming()
    # whichever comes first: an answer to a call that is cancelled already is refused by the phone
    await asyncio.gather(rung.answer(200), call.hangup(), return_exceptions=True)
    await asyncio.gather(call.until("DISCONNECTED"), rung.until("DISCONNECTED"))
    await anna.until("available")
    assert await city.waiting("zentrale") == []


@pytest.mark.parametrize("first", ["answer", "hang-up"])
@pytest.mark.parametrize("number", ["160", "242"])
async def test_answer_and_hang_up_reach_the_server_in_one_turn(
    city: City, hasty: RunningSystem, first: str, number: str
) -> None:
    """The server is stopped for a moment: it reads the 200 and the BYE or CANCEL at once."""
    phone = await city.phone("201" if number == "160" else number)
    anna = await city.agent("anna.schmidt", "201", available=number == "160")
    citizen = await city.citizen()
    call = await citizen.call(number)
    rung = await phone.incoming()
    await rung.answer(180)
    await call.until("EARLY" if number == "242" else "CONFIRMED")
    worker = hasty.pid("sip-1")
    os.kill(worker, signal.SIGSTOP)
    try:
        for step in (first, "hang-up" if first == "answer" else "answer"):
            await (rung.answer(200) if step == "answer" else call.hangup())
    finally:
        os.kill(worker, signal.SIGCONT)
    await asyncio.gather(call.until("DISCONNECTED"), rung.until("DISCONNECTED"))
    if number == "160":
        await anna.until("available")


async def test_agent_hangs_up_in_the_instant_of_answering(city: City) -> None:
    phone = await city.phone("201")
    anna = await city.agent("anna.schmidt", "201")
    citizen = await city.citizen()
    call = await citizen.call("160")
    rung = await phone.incoming()
    await rung.answer(200)
    await rung.hangup()
    await asyncio.gather(call.until("DISCONNECTED"), rung.until("DISCONNECTED"))
    await anna.until("available")


async def test_citizen_hangs_up_during_the_greeting(city: City) -> None:
    citizen = await city.citizen()
    call = await citizen.call("150")
    await call.until("CONFIRMED")
    await call.hears_sound(0.2)
    await call.hangup()
    await city.until_waiting("buergertelefon", 0)
    await city.record(queue="buergertelefon", cause="abandoned", from_number=CITIZEN)


async def test_cancel_before_anything_rings(city: City) -> None:
    """SIPp cancels as soon as it may: after the first provisional answer."""
    server = (city.system.host, city.system.sip_port)
    phone = await city.phone("242", auto_answer=180)
    async with sipp(
        "caller_cancels", server, number=HEAD + "242", keys={"caller": CITIZEN}, pause_ms=1
    ) as caller:
        await caller.done()
    rung = await phone.incoming()
    await rung.until("DISCONNECTED")


async def test_phone_without_power_rings_out_and_the_caller_can_leave(city: City) -> None:
    """A phone that dies while it rings answers nothing any more."""
    one = await city.phone("242")
    two = await city.phone("243")
    call = await one.call("243")
    rung = await two.incoming()
    await rung.answer(180)
    await call.until("EARLY")
    two.kill()
    await call.hangup()
    await call.until("DISCONNECTED")
