"""Simulated phones behave like phones: towards each other, a registrar and a real phone."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator
from typing import cast

import pytest

from sip.core.digest import Credentials, ha1, verify
from sip.core.message import Request, parse_message, response_for
from sip.probe.phone import Phone
from sip.simphone import city
from sip.simphone.audio import babble_frames, frames, tone_frames
from sip.simphone.endpoint import Endpoint, SimCall, SimError
from sip.simphone.people import Manners, Meetings, SimCitizen, SimPhone, Span, Temper
from sip.simphone.rtp import Pacer, RtpPort

LOW, HIGH = 700.0, 1100.0
SHORT = Span(0.05, 0.05, 0.06)


class Registrar(asyncio.DatagramProtocol):
    """Challenges every REGISTER once and believes the password "right"."""

    def __init__(self) -> None:
        self.registered: dict[str, str] = {}
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = parse_message(data)
        assert isinstance(request, Request)
        assert self.transport is not None
        challenge = [
            ("WWW-Authenticate", 'Digest realm="x", nonce="n1", algorithm=MD5, qop="auth"')
        ]
        given = request.get("Authorization")
        status, headers = 401, challenge
        if given is not None:
            credentials = Credentials.parse(given)
            assert credentials is not None
            secret = ha1(credentials.username, "x", "right", "MD5")
            if verify(credentials, "REGISTER", request.uri, secret):
                contact = request.contacts[0]
                self.registered[credentials.username] = request.get("Expires") or ""
                status, headers = 200, [("Contact", f"{contact};expires=60")]
            else:
                status, headers = 403, []
        answer = response_for(request, status, to_tag="r", headers=headers)
        self.transport.sendto(answer.serialize(), addr)


@pytest.fixture
async def registrar() -> AsyncIterator[tuple[Registrar, tuple[str, int]]]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        Registrar, local_addr=("127.0.0.1", 0)
    )
    yield protocol, transport.get_extra_info("sockname")
    transport.close()


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Endpoint, Endpoint]]:
    inside = await Endpoint.open(("127.0.0.1", 9))
    outside = await Endpoint.open(inside.address)
    yield inside, outside
    await outside.close()
    await inside.close()


async def test_registers_with_digest_and_takes_it_back(
    registrar: tuple[Registrar, tuple[str, int]],
) -> None:
    server, address = registrar
    endpoint = await Endpoint.open(address, domain="x")
    account = endpoint.account("201", "right", lambda call: None)
    await account.register()
    assert account.registered
    assert server.registered["201"] == "300"
    await account.unregister()
    assert server.registered["201"] == "0"
    await endpoint.close()


async def test_refused_registration_is_told(
    registrar: tuple[Registrar, tuple[str, int]],
) -> None:
    endpoint = await Endpoint.open(registrar[1], domain="x")
    with pytest.raises(SimError) as refused:
        await endpoint.account("201", "wrong", lambda call: None).register()
    assert refused.value.status in (401, 403)
    await endpoint.close()


async def test_two_simulated_phones_hear_each_other(pair: tuple[Endpoint, Endpoint]) -> None:
    inside, outside = pair
    rung: asyncio.Queue[SimCall] = asyncio.Queue()
    inside.account("201", "", rung.put_nowait)
    call = await outside.call("201", "+493023125001")
    taken = await asyncio.wait_for(rung.get(), 2)
    assert taken.caller == "+493023125001"
    taken.ring()
    await asyncio.wait_for(call.ringing.wait(), 2)
    assert await taken.answer(tone_frames(LOW))
    assert await call.until_answered(2)
    call.say(tone_frames(HIGH))
    heard = await asyncio.gather(call.audio.hears(LOW, 2), taken.audio.hears(HIGH, 2))
    assert heard == [True, True]
    assert not await call.audio.hears(HIGH, 0.3)
    taken.hang_up()
    assert await call.until_ended(2)
    assert taken.ended.is_set()
    assert set(call.times) == {"began", "rang", "answered", "ended"}


async def test_cancelled_and_refused_calls_end_on_both_sides(
    pair: tuple[Endpoint, Endpoint],
) -> None:
    inside, outside = pair
    rung: asyncio.Queue[SimCall] = asyncio.Queue()
    inside.account("201", "", rung.put_nowait)
    call = await outside.call("201", "+493023125001")
    taken = await asyncio.wait_for(rung.get(), 2)
    taken.ring()
    await asyncio.wait_for(call.ringing.wait(), 2)
    call.hang_up()
    assert await taken.until_ended(2)
    assert await call.until_ended(2)
    assert call.status == 487

    call = await outside.call("201", "+493023125001")
    (await asyncio.wait_for(rung.get(), 2)).refuse(486)
    assert await call.until_ended(2)
    assert call.status == 486
    unknown = await outside.call("999", "+493023125001")
    assert await unknown.until_ended(2)
    assert unknown.status == 404


async def test_real_phone_talks_holds_and_presses_keys_with_a_simulated_one(
    pair: tuple[Endpoint, Endpoint],
) -> None:
    inside, _ = pair
    rung: asyncio.Queue[SimCall] = asyncio.Queue()
    inside.account("201", "", rung.put_nowait)
    host, port = inside.address
    async with await Phone.start("anna", tone=HIGH) as phone:
        call = await phone.call(f"sip:201@{host}:{port}")
        taken = await asyncio.wait_for(rung.get(), 5)
        taken.ring()
        await call.until("EARLY")
        assert await taken.answer(tone_frames(LOW))
        await call.until("CONFIRMED")
        await call.hears(LOW)
        assert await taken.audio.hears(HIGH, 3)
        taken.press("42")
        await call.until_digits("42")
        await call.hold()
        await call.until_media("local-hold")
        await call.resume()
        await call.until_media("active")
        await call.hears(LOW)
        taken.hang_up()
        await call.until("DISCONNECTED")


async def test_simulated_people_meet_and_part(pair: tuple[Endpoint, Endpoint]) -> None:
    inside, outside = pair
    meetings = Meetings()
    manners = Manners(ring=SHORT, talk=Span(0.3, 0.3, 0.3), decline=0.0, miss=0.0)
    phone = SimPhone(inside, "201", "", manners=manners, chance=random.Random(1), meetings=meetings)
    temper = Temper(patience=Span(5, 5, 5), talk=Span(5, 5, 5), fickle=0.0)
    citizen = SimCitizen(outside, "+493023125001", temper=temper, meetings=meetings)
    assert await asyncio.wait_for(citizen.call("201"), 5) == "talked"
    assert phone.answered == 1


async def test_impatient_citizen_and_unwilling_agent(pair: tuple[Endpoint, Endpoint]) -> None:
    inside, outside = pair
    unwilling = Manners(ring=SHORT, decline=1.0, miss=0.0)
    agent = SimPhone(inside, "201", "", manners=unwilling)
    assert await SimCitizen(outside, "+493023125001").call("201") == "refused"
    assert agent.declined == 1
    absent = Manners(ring=SHORT, decline=0.0, miss=1.0)
    SimPhone(inside, "202", "", manners=absent)
    impatient = Temper(patience=Span(0.1, 0.1, 0.2), fickle=0.0)
    assert await SimCitizen(outside, "+493023125001", temper=impatient).call("202") == "gave-up"


async def test_loss_is_counted_and_rubbish_ignored() -> None:
    pacer = Pacer()
    port = await RtpPort.open(pacer, 1)
    for sequence in (10, 11, 13):
        header = bytes((0x80, 8)) + sequence.to_bytes(2) + bytes(8)
        port.datagram_received(header + tone_frames(LOW)[0], ("127.0.0.1", 1))
    for rubbish in (b"", b"x" * 11, bytes(200), bytes((0x80, 13)) + bytes(170)):
        port.datagram_received(rubbish, ("127.0.0.1", 1))
    assert (port.received, port.lost) == (3, 1)
    port.close()
    pacer.close()


def test_babble_is_the_same_for_a_seed_and_never_silent_for_long() -> None:
    one = babble_frames(3)
    assert one == babble_frames(3)
    assert one != babble_frames(4)
    assert all(len(frame) == 160 for frame in one)
    assert len(set(one)) > len(one) / 2


def test_frames_are_filled_up() -> None:
    import numpy as np

    assert [len(frame) for frame in frames(np.zeros(161, np.int16))] == [160, 160]


def test_city_draws_its_people_and_numbers() -> None:
    assert [agent.device for agent in city.agents()] == ["201", "202", "211", "212", "213"]
    chance = random.Random(1)
    drawn = [city.draw_queue(chance, 6, {}) for _ in range(200)]
    assert {wish[0][-3:] for wish in drawn if wish} == {"150", "160", "170", "180"}
    busy = {f"+492214710{extension}": 9 for extension in ("150", "160", "180")}
    assert {city.draw_queue(chance, 6, busy) for _ in range(9)} == {("+492214710170", "")}
    assert city.draw_queue(chance, 6, busy | {"+492214710170": 3}) is None
    for _ in range(200):
        assert re.fullmatch(
            r"\+49(3023125|6990009|4066969)\d{3}|\+4917139200\d{2}", city.draw_number(chance)
        )
    assert all(0.5 <= city.liveliness(hour * 3600.0) <= 1.0 for hour in range(168))
