"""Phone to phone: every way a call between two people of the house can go."""

from __future__ import annotations

import asyncio

import pytest
from support.city import City
from support.phones import PhoneTimeout, both_hear, deaf, talk

pytestmark = pytest.mark.e2e
A, B, C = 700.0, 1100.0, 1500.0


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_two_people_talk_and_the_call_is_on_record(city: City, transport: str) -> None:
    one = await city.phone("242", tone=A, transport=transport)
    two = await city.phone("243", tone=B, transport=transport)
    call, answered = await talk(one, "243", two)
    await both_hear(call, A, answered, B)
    await call.hangup()
    await answered.until("DISCONNECTED")

    record = await city.record(to_number="243", cause="completed", ended_by="caller")
    assert record["direction"] == "internal"
    assert record["from_person"]["id"] == "markus.lehmann"
    assert record["to_person"]["id"] == "fatma.kaya"
    assert record["talking"] > 0
    legs = {leg["device"]: leg for leg in record["legs"]}
    assert set(legs) == {"242", "243"}
    for leg in legs.values():
        assert leg["packets"] > 20
        assert leg["lost"] == 0


async def test_udp_and_tls_phones_hear_each_other(city: City) -> None:
    one = await city.phone("242", tone=A, transport="udp")
    two = await city.phone("243", tone=B, transport="tls")
    call, answered = await talk(one, "243", two)
    await both_hear(call, A, answered, B)
    await answered.hangup()
    await call.until("DISCONNECTED")
    await city.record(to_number="243", cause="completed", ended_by="callee")


async def test_all_devices_of_a_person_ring_until_one_answers(city: City) -> None:
    caller = await city.phone("242", tone=A)
    desk = await city.phone("243", tone=B)
    mobile = await city.phone("243", tone=C)
    call = await caller.call("243")
    at_desk, on_mobile = await asyncio.gather(desk.incoming(), mobile.incoming())
    await asyncio.gather(at_desk.answer(180), on_mobile.answer(180))
    await call.until("EARLY")
    await on_mobile.answer(200)
    await call.until("CONFIRMED")
    ended = await at_desk.until("DISCONNECTED", within=2)
    assert ended.code in (200, 487)
    await both_hear(call, A, on_mobile, C)
    assert await deaf(call, B, 0.3)
    await call.hangup()
    await on_mobile.until("DISCONNECTED")


async def test_one_busy_device_does_not_end_the_others_ringing(city: City) -> None:
    caller = await city.phone("242", tone=A)
    busy = await city.phone("243", tone=B)
    free = await city.phone("243", tone=C)
    call = await caller.call("243")
    at_busy, at_free = await asyncio.gather(busy.incoming(), free.incoming())
    await at_busy.hangup(486)
    await at_free.answer(200)
    await call.until("CONFIRMED")
    await both_hear(call, A, at_free, C)
    await call.hangup()
    await at_free.until("DISCONNECTED")


@pytest.mark.parametrize(("code", "cause"), [(486, "busy"), (603, "declined")])
async def test_refusal_reaches_the_caller(city: City, code: int, cause: str) -> None:
    one = await city.phone("242")
    two = await city.phone("243")
    call = await one.call("243")
    rung = await two.incoming()
    await rung.answer(180)
    await rung.hangup(code)
    assert (await call.until("DISCONNECTED")).code == code
    await city.record(to_number="243", cause=cause)


async def test_person_without_a_phone_is_unreachable(city: City) -> None:
    one = await city.phone("242")
    call = await one.call("244")
    assert (await call.until("DISCONNECTED")).code == 480
    await city.record(to_number="244", cause="unreachable")


async def test_unknown_number_is_explained_and_refused(city: City) -> None:
    one = await city.phone("242", tone=A)
    call = await one.call("999")
    await call.until("EARLY")
    await call.hears_sound(0.8)
    assert (await call.until("DISCONNECTED", within=15)).code == 404
    await city.record(to_number="999", cause="unknown-number")


async def test_hold_plays_music_to_who_is_held_and_resume_brings_both_back(city: City) -> None:
    one = await city.phone("242", tone=A)
    two = await city.phone("243", tone=B)
    call, answered = await talk(one, "243", two)
    await both_hear(call, A, answered, B)
    for holder, held, held_hears, holder_hears in (
        (call, answered, A, B),
        (answered, call, B, A),
    ):
        await holder.hold()
        await holder.until_media("local-hold")
        await asyncio.sleep(0.3)  # what was on its way and in the jitter buffers
        quiet, _ = await asyncio.gather(
            deaf(held, held_hears, 0.8), held.hears_sound(0.4, within=2)
        )
        assert quiet
        assert await deaf(holder, holder_hears, 0.3)
        await holder.resume()
        await holder.until_media("active")
        await asyncio.gather(held.hears(held_hears), holder.hears(holder_hears))
    await call.hangup()
    await answered.until("DISCONNECTED")


async def test_both_hold_at_the_same_moment_and_both_resume(city: City) -> None:
    """Glare (RFC 3261 §14.1): the changes cross, none is lost."""
    one = await city.phone("242", tone=A)
    two = await city.phone("243", tone=B)
    call, answered = await talk(one, "243", two)
    await both_hear(call, A, answered, B)
    await asyncio.gather(call.hold(), answered.hold())
    await asyncio.gather(call.until_media("local-hold"), answered.until_media("local-hold"))
    await asyncio.gather(call.resume(), answered.resume())
    await both_hear(call, A, answered, B, within=8)
    await call.hangup()
    await answered.until("DISCONNECTED")


async def test_early_media_is_heard_before_the_answer(city: City) -> None:
    one = await city.phone("242", tone=A)
    two = await city.phone("243", tone=B)
    call = await one.call("243")
    rung = await two.incoming()
    await rung.answer(183)
    await call.until("EARLY")
    await call.hears(B)
    assert call.reached("CONFIRMED") is None
    await rung.answer(200)
    await call.until("CONFIRMED")
    await both_hear(call, A, rung, B)
    await call.hangup()
    await rung.until("DISCONNECTED")


async def test_keys_arrive_in_both_directions(city: City) -> None:
    one = await city.phone("242", tone=A)
    two = await city.phone("243", tone=B)
    call, answered = await talk(one, "243", two)
    await call.dtmf("1590#")
    await answered.until_digits("1590#")
    await answered.dtmf("*27")
    await call.until_digits("*27")
    await call.hangup()
    await answered.until("DISCONNECTED")


@pytest.mark.parametrize("who", ["caller", "callee"])
async def test_hang_up_right_after_the_answer(city: City, who: str) -> None:
    one = await city.phone("242")
    two = await city.phone("243")
    call = await one.call("243")
    rung = await two.incoming()
    await rung.answer(200)
    if who == "caller":
        await call.until("CONFIRMED")
        await call.hangup()
    else:
        await rung.hangup()
    await asyncio.gather(call.until("DISCONNECTED"), rung.until("DISCONNECTED"))
    await city.quiet()


async def test_caller_gives_up_while_it_rings(city: City) -> None:
    one = await city.phone("242")
    two = await city.phone("243")
    call = await one.call("243")
    rung = await two.incoming()
    await rung.answer(180)
    await call.until("EARLY")
    await call.hangup()
    await asyncio.gather(call.until("DISCONNECTED"), rung.until("DISCONNECTED"))
    await city.record(to_number="243", cause="cancelled", ended_by="caller")


async def test_caller_gives_up_at_once(city: City) -> None:
    one = await city.phone("242")
    await city.phone("243")
    call = await one.call("243")
    await call.hangup()
    await call.until("DISCONNECTED")
    await city.quiet()


async def test_echo_returns_what_is_said(city: City) -> None:
    one = await city.phone("242", tone=C)
    call = await one.call("199")
    await call.until("CONFIRMED")
    await call.hears(C)
    await call.hangup()
    await call.until("DISCONNECTED")


async def test_g722_passes_where_both_have_it(city: City) -> None:
    one = await city.phone("242", tone=A, codecs=("G722", "PCMA"))
    two = await city.phone("243", tone=B, codecs=("G722", "PCMA"))
    call, answered = await talk(one, "243", two)
    await both_hear(call, A, answered, B)
    await call.hangup()
    await answered.until("DISCONNECTED")


async def test_phones_without_a_common_codec_are_told_so(city: City) -> None:
    one = await city.phone("242", codecs=("GSM",))
    two = await city.phone("243", codecs=("PCMU",))
    call = await one.call("243")
    with pytest.raises(PhoneTimeout):
        await two.incoming(within=1)
    assert (await call.until("DISCONNECTED")).code == 488


async def test_update_refreshes_the_session(city: City) -> None:
    one = await city.phone("242", tone=A, session_timer=90)
    two = await city.phone("243", tone=B)
    call, answered = await talk(one, "243", two)
    await call.update()
    await both_hear(call, A, answered, B)
    await call.hangup()
    await answered.until("DISCONNECTED")


async def test_wrong_password_and_unknown_account_look_the_same(city: City) -> None:
    _, wrong = await city.stranger("245", "not-the-password")
    _, unknown = await city.stranger("888", "not-the-password")
    assert (wrong.code, wrong.reason) == (unknown.code, unknown.reason)
    assert wrong.code in (401, 403)
