"""The trunk: calls from and to the public network, with pjsua2 and SIPp at its far end."""

from __future__ import annotations

import asyncio

import pytest
from support.city import CITIZEN, City
from support.phones import both_hear
from support.sipp import sipp

pytestmark = pytest.mark.e2e
A, B = 700.0, 1100.0
KEYS = {"caller": CITIZEN}


def server(city: City) -> tuple[str, int]:
    return city.system.host, city.system.sip_port


async def test_citizen_dials_direct_and_talks(city: City) -> None:
    staff = await city.phone("242", tone=A)
    citizen = await city.citizen(tone=B)
    call = await citizen.call("242")
    rung = await staff.incoming()
    assert CITIZEN in rung.remote or CITIZEN.replace("+49", "0") in rung.remote
    await rung.answer(180)
    await call.until("EARLY")
    await rung.answer(200)
    await call.until("CONFIRMED")
    await both_hear(call, B, rung, A)
    await call.hangup()
    await rung.until("DISCONNECTED")
    record = await city.record(from_number=CITIZEN, cause="completed", direction="inbound")
    assert record["to_person"]["id"] == "markus.lehmann"


async def test_sipp_caller_is_put_through(city: City) -> None:
    staff = await city.phone("242", tone=A)
    async with sipp(
        "caller", server(city), number="+492214710242", keys=KEYS, echo=True, pause_ms=1500
    ) as caller:
        rung = await staff.incoming()
        await rung.answer(200)
        await rung.hears(A)  # SIPp sends back what it hears
        await caller.done()
        await rung.until("DISCONNECTED")


async def test_far_end_hangs_up(city: City) -> None:
    staff = await city.phone("242")
    async with sipp(
        "caller_waits_for_bye", server(city), number="+492214710242", keys=KEYS
    ) as caller:
        rung = await staff.incoming()
        await rung.answer(200)
        await rung.until("CONFIRMED")
        await rung.hangup()
        await caller.done()


async def test_citizen_gives_up_while_it_rings(city: City) -> None:
    staff = await city.phone("242")
    async with sipp(
        "caller_cancels", server(city), number="+492214710242", keys=KEYS, pause_ms=100
    ) as caller:
        rung = await staff.incoming()
        await rung.answer(180)
        await caller.done()
        await rung.until("DISCONNECTED")


@pytest.mark.parametrize("code", [486, 603])
async def test_citizen_is_refused(city: City, code: int) -> None:
    staff = await city.phone("242")
    async with sipp("caller_refused", server(city), number="+492214710242", keys=KEYS) as caller:
        rung = await staff.incoming()
        await rung.hangup(code)
        assert f"SIP/2.0 {code}" in (await caller.done()).messages


async def test_citizen_holds_and_resumes(city: City) -> None:
    staff = await city.phone("242", tone=A)
    async with sipp(
        "caller_holds", server(city), number="+492214710242", keys=KEYS, echo=True, pause_ms=700
    ) as caller:
        rung = await staff.incoming()
        await rung.answer(200)
        await rung.hears(A)
        await caller.done()
        await rung.until("DISCONNECTED")


async def test_unknown_direct_number_is_refused(city: City) -> None:
    async with sipp("caller_refused", server(city), number="+492214710999", keys=KEYS) as caller:
        assert "SIP/2.0 404" in (await caller.done()).messages


async def test_foreign_number_is_not_relayed(city: City) -> None:
    """The trunk must not become a way from outside to outside (toll fraud)."""
    async with sipp("caller_refused", server(city), number="+493023125002", keys=KEYS) as caller:
        messages = (await caller.done()).messages
        assert "SIP/2.0 404" in messages or "SIP/2.0 403" in messages


async def test_staff_calls_out_and_talks(city: City) -> None:
    provider = await city.provider(tone=B)
    staff = await city.phone("242", tone=A)
    call = await staff.call("003023125001")
    rung = await provider.incoming()
    assert rung.invite.startswith("INVITE sip:+493023125001@")
    assert "+492214710242" in (rung.header("P-Asserted-Identity") or "")
    assert "+492214710242" in (rung.header("From") or "")
    await rung.answer(180)
    await call.until("EARLY")
    await rung.answer(200)
    await call.until("CONFIRMED")
    await both_hear(call, A, rung, B)
    await rung.hangup()
    await call.until("DISCONNECTED")
    await city.record(to_number="+493023125001", direction="outbound", cause="completed")


@pytest.mark.parametrize(("code", "cause"), [(486, "busy"), (603, "declined")])
async def test_outside_refuses(city: City, code: int, cause: str) -> None:
    provider = await city.provider()
    staff = await city.phone("242")
    call = await staff.call("003023125001")
    rung = await provider.incoming()
    await rung.hangup(code)
    assert (await call.until("DISCONNECTED", within=10)).code == code
    await city.record(to_number="+493023125001", cause=cause)


async def test_outside_never_answers_and_the_caller_gives_up(city: City) -> None:
    staff = await city.phone("242")
    async with sipp("callee_silent", port=city.system.trunk_port) as callee:
        call = await staff.call("003023125001")
        await call.until("EARLY")
        await call.hangup()
        await callee.done()
        await call.until("DISCONNECTED")


async def test_early_media_of_the_network_is_heard(city: City) -> None:
    staff = await city.phone("242", tone=A)
    async with sipp(
        "callee_early_media", port=city.system.trunk_port, echo=True, pause_ms=1500
    ) as callee:
        call = await staff.call("003023125001")
        await call.until("EARLY")
        await call.hears(A, within=1.4)
        assert call.reached("CONFIRMED") is None
        await call.until("CONFIRMED")
        await call.hears(A)
        await call.hangup()
        await callee.done()


@pytest.mark.parametrize("number", ["112", "110"])
async def test_emergency_number_goes_to_the_trunk_at_once(city: City, number: str) -> None:
    provider = await city.provider(tone=B)
    staff = await city.phone("242", tone=A)
    call = await staff.call(number)
    rung = await provider.incoming(within=2)
    assert rung.invite.startswith((f"INVITE sip:{number}@", "INVITE urn:service:sos"))
    await rung.answer(200)
    await call.until("CONFIRMED")
    await both_hear(call, A, rung, B)
    await call.hangup()
    await asyncio.gather(call.until("DISCONNECTED"), rung.until("DISCONNECTED"))
