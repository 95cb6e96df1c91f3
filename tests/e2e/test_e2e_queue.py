"""The queue's story: a citizen calls, an agent's phone rings, they talk."""

from __future__ import annotations

import asyncio
import time

import pytest
from support.city import CITIZEN, City
from support.phones import Phone, both_hear

pytestmark = pytest.mark.e2e
CITIZEN_HZ, ANNA, MEHMET = 700.0, 1100.0, 1500.0
OTHER = "+493023125002"


async def test_citizen_hears_the_greeting_and_reaches_an_agent(city: City) -> None:
    phone = await city.phone("201", tone=ANNA)
    anna = await city.agent("anna.schmidt", "201", available=False)
    await anna.api.set_state("offline")
    citizen = await city.citizen(tone=CITIZEN_HZ)
    call = await citizen.call("150")
    await call.until("CONFIRMED")
    await call.hears_sound(1.0)  # the greeting
    await city.until_waiting("buergertelefon", 1)
    await anna.available()

    rung = await phone.incoming()
    assert CITIZEN in rung.remote
    await rung.answer(180)
    await anna.until("offered")
    await rung.answer(200)
    taken = await rung.until("CONFIRMED")
    heard = await call.hears(ANNA)
    assert heard - taken.at < 0.3, f"the switch to the agent took {heard - taken.at:.3f} s"
    await both_hear(call, CITIZEN_HZ, rung, ANNA)
    await anna.until("busy")

    await call.hangup()
    await rung.until("DISCONNECTED")
    await anna.until("wrap-up")
    record = await city.record(queue="buergertelefon", cause="completed", from_number=CITIZEN)
    assert record["agent"]["id"] == "anna.schmidt"
    assert record["ended_by"] == "caller"
    assert record["waiting"] > 0
    assert record["talking"] > 0
    assert record["ringing"] is not None


async def test_refused_offer_goes_to_the_other_agent(city: City) -> None:
    phones = {
        "201": await city.phone("201", tone=ANNA),
        "202": await city.phone("202", tone=MEHMET),
    }
    tones = {"201": ANNA, "202": MEHMET}
    await city.agent("anna.schmidt", "201")
    await city.agent("mehmet.yilmaz", "202")
    citizen = await city.citizen(tone=CITIZEN_HZ)
    call = await citizen.call("150")
    first = await _first_ring(phones, within=5)
    rung = await phones[first].incoming()
    await rung.answer(180)
    await rung.hangup(603)
    second = "202" if first == "201" else "201"
    taken = await phones[second].incoming()
    await taken.answer(200)
    await both_hear(call, CITIZEN_HZ, taken, tones[second])
    await call.hangup()
    await taken.until("DISCONNECTED")


async def test_unanswered_offer_goes_back_to_the_same_place(city: City) -> None:
    annas = await city.phone("201", tone=ANNA)
    mehmets = await city.phone("202", tone=MEHMET)
    anna = await city.agent("anna.schmidt", "201", available=False)
    mehmet = await city.agent("mehmet.yilmaz", "202", available=False)
    one, two = await city.citizen(tone=CITIZEN_HZ), await city.citizen(OTHER)
    first = await one.call("150")
    await first.until("CONFIRMED")
    before = await city.until_waiting("buergertelefon", 1)
    second = await two.call("150")
    await second.until("CONFIRMED")
    order = await city.until_waiting("buergertelefon", 2)
    assert order[0] == before[0]

    await anna.available()
    rung = await annas.incoming()
    await rung.answer(180)
    # the offer times out after the queue's 15 s
    await rung.until("DISCONNECTED", within=20)
    assert (await city.until_waiting("buergertelefon", 2)) == order
    # the next agent is asked for the first, who kept the place in front of the second
    await mehmet.available()
    again = await mehmets.incoming()
    assert CITIZEN in again.remote
    await again.answer(200)
    await both_hear(first, CITIZEN_HZ, again, MEHMET)
    await first.hangup()
    await second.hangup()
    await again.until("DISCONNECTED")


async def test_offer_ends_within_200_ms_when_the_caller_hangs_up(city: City) -> None:
    phone = await city.phone("201", tone=ANNA)
    anna = await city.agent("anna.schmidt", "201")
    citizen = await city.citizen(tone=CITIZEN_HZ)
    call = await citizen.call("150")
    rung = await phone.incoming()
    await rung.answer(180)
    await anna.until("offered")
    began = time.monotonic()
    await call.hangup()
    ended = await rung.until("DISCONNECTED", within=2)
    assert ended.at - began < 0.2, f"the offer lasted {ended.at - began:.3f} s longer"
    await anna.until("available")
    await city.record(queue="buergertelefon", cause="abandoned", from_number=CITIZEN)


async def test_agent_ends_the_call(city: City) -> None:
    phone = await city.phone("201", tone=ANNA)
    anna = await city.agent("anna.schmidt", "201")
    citizen = await city.citizen(tone=CITIZEN_HZ)
    call = await citizen.call("160")
    rung = await phone.incoming()
    await rung.answer(200)
    await both_hear(call, CITIZEN_HZ, rung, ANNA)
    await rung.hangup()
    await call.until("DISCONNECTED")
    await anna.until("wrap-up")
    record = await city.record(queue="zentrale", from_number=CITIZEN, cause="completed")
    assert record["ended_by"] == "callee"


async def test_main_number_reaches_the_switchboard(city: City) -> None:
    citizen = await city.citizen()
    call = await citizen.call("0")
    await call.until("CONFIRMED")
    await city.until_waiting("zentrale", 1)
    await call.hangup()
    await city.until_waiting("zentrale", 0)


async def test_menu_leads_to_another_queue(city: City) -> None:
    citizen = await city.citizen(tone=CITIZEN_HZ)
    call = await citizen.call("150")
    await call.until("CONFIRMED")
    await city.until_waiting("buergertelefon", 1)
    await call.dtmf("2")
    await city.until_waiting("kfz", 1)
    assert await city.waiting("buergertelefon") == []
    await call.hears_sound(0.5)
    await call.hangup()
    await city.until_waiting("kfz", 0)


async def test_agent_whose_phone_is_gone_gets_no_offer(city: City) -> None:
    phone = await city.phone("201", tone=ANNA)
    await city.agent("anna.schmidt", "201")
    await phone.unregister()
    citizen = await city.citizen()
    call = await citizen.call("160")
    await call.until("CONFIRMED")
    work = await city.until_waiting("zentrale", 1)
    await phone.register()
    rung = await phone.incoming()
    assert (await city.waiting("zentrale")) in (work, [])
    await rung.answer(200)
    await rung.until("CONFIRMED")
    await call.hangup()
    await rung.until("DISCONNECTED")


async def test_agent_on_a_call_of_her_own_gets_no_offer_until_it_ends(city: City) -> None:
    phone = await city.phone("201", tone=ANNA)
    other = await city.phone("242", tone=MEHMET)
    await city.agent("anna.schmidt", "201")
    private = await other.call("201")
    own = await phone.incoming()
    await own.answer(200)
    await private.until("CONFIRMED")
    citizen = await city.citizen(tone=CITIZEN_HZ)
    call = await citizen.call("160")
    await call.until("CONFIRMED")
    await city.until_waiting("zentrale", 1)
    await private.hears(ANNA, seconds=0.5)
    assert not phone.rings
    await private.hangup()
    rung = await phone.incoming()
    await rung.answer(200)
    await both_hear(call, CITIZEN_HZ, rung, ANNA)
    await call.hangup()
    await rung.until("DISCONNECTED")


async def _first_ring(phones: dict[str, Phone], within: float) -> str:
    deadline = time.monotonic() + within
    while True:
        for user, phone in phones.items():
            if phone.rings:
                return user
        if time.monotonic() > deadline:
            raise AssertionError("nobody's phone rang")
        await asyncio.sleep(0.02)
