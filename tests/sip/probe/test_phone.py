"""Two real phones call each other directly: the tool that the other proofs stand on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from sip.probe.phone import Phone, PhoneCall, PhoneError, PhoneTimeout

pytestmark = pytest.mark.e2e
LOW, HIGH = 700.0, 1100.0


@pytest.fixture
async def phones() -> AsyncIterator[tuple[Phone, Phone]]:
    one, two = await asyncio.gather(Phone.start("anna", tone=LOW), Phone.start("mehmet", tone=HIGH))
    async with one, two:
        yield one, two


async def connect(one: Phone, two: Phone) -> tuple[PhoneCall, PhoneCall]:
    call = await one.call(f"sip:mehmet@{two.local}")
    answered = await two.incoming()
    await answered.answer(180)
    await call.until("EARLY")
    await answered.answer(200)
    await asyncio.gather(call.until("CONFIRMED"), answered.until("CONFIRMED"))
    return call, answered


async def test_both_hear_each_other_then_hold_keys_and_goodbye(phones: tuple[Phone, Phone]) -> None:
    call, answered = await connect(*phones)
    await asyncio.gather(call.hears(HIGH), answered.hears(LOW))
    with pytest.raises(PhoneTimeout):
        await call.hears(LOW, within=0.5)

    await call.hold()
    await asyncio.gather(call.until_media("local-hold"), answered.until_media("remote-hold"))
    with pytest.raises(PhoneTimeout):
        await call.hears(HIGH, within=0.6)
    await call.resume()
    await asyncio.gather(call.until_media("active"), answered.until_media("active"))
    await asyncio.gather(call.hears(HIGH), answered.hears(LOW))

    await call.dtmf("159#")
    await answered.until_digits("159#")

    statistics = await call.statistics()
    assert statistics.received > 20
    assert statistics.lost == 0

    await answered.hangup()
    ended = await call.until("DISCONNECTED")
    assert ended.code == 200
    assert not phones[0].troubles
    assert not phones[1].troubles


async def test_refusal_carries_its_status(phones: tuple[Phone, Phone]) -> None:
    call = await phones[0].call(f"sip:mehmet@{phones[1].local}")
    incoming = await phones[1].incoming()
    assert incoming.header("User-Agent") == "comms-probe"
    await incoming.hangup(486)
    assert (await call.until("DISCONNECTED")).code == 486


async def test_tone_onset_is_timed(phones: tuple[Phone, Phone]) -> None:
    call, answered = await connect(*phones)
    confirmed = call.passages[-1].at
    began = await call.hears(HIGH, since=0)
    assert -0.3 < began - confirmed < 0.5
    await phones[1].send_tone(1500)
    await call.hears(1500)
    await answered.hangup()


async def test_stopped_phone_leaves_no_process_and_refuses_orders() -> None:
    phone = await Phone.start("anna")
    await phone.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(phone.pid, 0)
    with pytest.raises(PhoneError):
        await phone.call("sip:x@127.0.0.1")


async def test_killed_phone_is_noticed(phones: tuple[Phone, Phone]) -> None:
    phones[0].kill()
    with pytest.raises(PhoneError, match="process"):
        await phones[0].incoming(within=3)
