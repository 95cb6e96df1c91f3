"""Calls with an end of their own, a full house, and a trunk that registers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from support.city import CITIZEN, City
from support.phones import both_hear, talk
from support.provider import ADDRESS, PASSWORD, REALM, USER, Provider
from support.sipp import free_port
from support.system import RunningSystem, run

from comms.people.actions import do_change_house, do_put_trunk
from comms.store import models as m
from comms.store.engine import writing
from comms.store.house import load_house
from sip.simphone.audio import tone_frames

pytestmark = pytest.mark.e2e
A, B = 700.0, 1100.0


class Limited(RunningSystem):
    """Rings 3 s, talks at most 5 s, holds 3 calls; its first trunk registers at a provider."""

    def __init__(self, prompts: Path) -> None:
        self.provider_port = free_port()
        self.line_registered = False
        super().__init__(prompts, SIP__RING_SECONDS="3", SIP__MAX_CALLS="3")

    async def furnish(self, engine: AsyncEngine) -> None:
        async with writing(engine) as session:
            house = replace(await load_house(session), max_call_seconds=5.0)
            await do_change_house(session, "test", house)
            city = await session.get(m.Trunk, "city")
            assert city is not None
            city.position = 2
            line = m.Trunk(
                name="line",
                kind="register",
                host=ADDRESS,
                port=self.provider_port,
                transport="udp",
                allowed=[],
                domain=REALM,
                user=USER,
                password=PASSWORD,
                main_number="+492214710",
                position=1,
            )
            await do_put_trunk(session, "test", line)


@pytest.fixture(scope="module")
def limited(prompts: Path) -> Iterator[RunningSystem]:
    yield from run(Limited(prompts))


@pytest.fixture
async def city(limited: RunningSystem) -> AsyncIterator[City]:
    async with City(limited) as one:
        yield one
    async with City(limited) as after:
        await after.quiet()


@pytest.fixture
async def provider(limited: Limited) -> AsyncIterator[Provider]:
    one = await Provider.open(limited.provider_port, (limited.host, limited.sip_port))
    if not limited.line_registered:
        await asyncio.wait_for(one.registered.wait(), 20)
        limited.line_registered = True
    yield one
    await one.close()


async def test_nobody_answers(city: City) -> None:
    one = await city.phone("242")
    two = await city.phone("243")
    call = await one.call("243")
    rung = await two.incoming()
    await rung.answer(180)
    ended = await call.until("DISCONNECTED", within=6)
    assert ended.code == 480
    assert 2.5 < ended.at - call.started < 5
    await rung.until("DISCONNECTED", within=1)
    await city.record(to_number="243", cause="no-answer")


async def test_call_ends_at_its_longest(city: City) -> None:
    one = await city.phone("242", tone=A)
    two = await city.phone("243", tone=B)
    call, answered = await talk(one, "243", two)
    await both_hear(call, A, answered, B)
    ends = await asyncio.gather(
        call.until("DISCONNECTED", within=8), answered.until("DISCONNECTED", within=8)
    )
    assert all(end.code == 200 for end in ends)
    await city.record(to_number="243", cause="max-duration", ended_by="system")


async def test_full_house_refuses_early_but_never_an_emergency(city: City) -> None:
    phones = [await city.phone(user) for user in ("242", "244", "246", "248")]
    calls = [await phone.call("199") for phone in phones[:3]]
    for call in calls:
        await call.until("CONFIRMED")
    refused = await phones[3].call("199")
    assert (await refused.until("DISCONNECTED")).code == 503
    outside = await city.provider(tone=B)
    emergency = await phones[3].call("112")
    rung = await outside.incoming()
    await rung.answer(200)
    await emergency.until("CONFIRMED")
    await emergency.hears(B)
    await asyncio.gather(*(call.hangup() for call in [*calls, emergency]))
    await rung.until("DISCONNECTED")


async def test_registered_trunk_takes_calls_both_ways(city: City, provider: Provider) -> None:
    staff = await city.phone("242", tone=A)

    outgoing = await staff.call("003023125001")
    taken = await asyncio.wait_for(provider.calls.get(), 5)
    assert taken.caller == "+492214710242"
    taken.ring()
    await outgoing.until("EARLY")
    assert await taken.answer(tone_frames(B))
    await outgoing.until("CONFIRMED")
    heard, _ = await asyncio.gather(taken.audio.hears(A, 4), outgoing.hears(B))
    assert heard
    await outgoing.hangup()
    assert await taken.until_ended(5)

    incoming = await provider.call("+492214710242", CITIZEN)
    rung = await staff.incoming()
    assert CITIZEN in rung.remote
    await rung.answer(200)
    assert await incoming.until_answered(5)
    incoming.say(tone_frames(B))
    heard, _ = await asyncio.gather(incoming.audio.hears(A, 4), rung.hears(B))
    assert heard
    await rung.hangup()
    assert await incoming.until_ended(5)


async def test_second_trunk_is_tried_when_the_first_fails(city: City, provider: Provider) -> None:
    provider.refuses = 503
    other = await city.provider(tone=B)
    staff = await city.phone("242", tone=A)
    call = await staff.call("003023125001")
    rung = await other.incoming()
    await rung.answer(200)
    await call.until("CONFIRMED")
    await both_hear(call, A, rung, B)
    await call.hangup()
    await rung.until("DISCONNECTED")
