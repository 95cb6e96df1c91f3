"""What is killed is replaced: people keep talking, and afterwards everything still works."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.city import CITIZEN, City, SipLog
from support.phones import both_hear, talk
from support.sipp import sipp
from support.system import RunningSystem

pytestmark = pytest.mark.e2e
A, B = 700.0, 1100.0


@pytest.fixture
async def city(own_system: RunningSystem) -> AsyncIterator[City]:
    async with City(own_system) as one:
        yield one
    async with City(own_system) as after:
        await after.quiet()


async def replaced(system: RunningSystem, name: str, old: int, within: float = 20.0) -> None:
    """Wait until another process serves under this name."""
    deadline = time.monotonic() + within
    while True:
        new = system.children().get(name, old)
        if new != old and any(
            f'"pid": {new},' in line and "child serves" in line for line in system.log.splitlines()
        ):
            return
        assert time.monotonic() < deadline, f"{name} was not replaced"
        await asyncio.sleep(0.02)


def kill(system: RunningSystem, name: str) -> int:
    pid = system.pid(name)
    os.kill(pid, signal.SIGKILL)
    return pid


def engine_at(system: RunningSystem, port: int) -> str:
    """Return the name of the media engine whose process holds a UDP port."""
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    inodes = {line.split()[9] for line in lines if line.split()[1].endswith(f":{port:04X}")}
    for name, pid in system.children().items():
        if not name.startswith("media-"):
            continue
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                link = os.readlink(descriptor)
                if link.startswith("socket:[") and link[8:-1] in inodes:
                    return name
    raise AssertionError(f"no media engine holds port {port}")


async def test_killed_sip_worker_leaves_both_talking_and_is_replaced(
    city: City, own_system: RunningSystem
) -> None:
    one = await city.phone("242", tone=A)
    two = await city.phone("243", tone=B)
    call, answered = await talk(one, "243", two)
    await both_hear(call, A, answered, B)

    old = kill(own_system, "sip-1")
    await both_hear(call, A, answered, B, within=2)
    await replaced(own_system, "sip-1", old)
    await both_hear(call, A, answered, B)

    await call.hold()
    await asyncio.gather(call.until_media("local-hold"), answered.hears_sound(0.3))
    await call.resume()
    await call.until_media("active")
    await both_hear(call, A, answered, B)
    await answered.update()
    await both_hear(call, A, answered, B)
    await answered.hangup()
    await call.until("DISCONNECTED")
    await city.record(to_number="243", cause="completed", ended_by="callee")


async def test_call_whose_worker_was_killed_ends_by_the_caller_too(
    city: City, own_system: RunningSystem
) -> None:
    one = await city.phone("242", tone=A)
    two = await city.phone("243", tone=B)
    call, answered = await talk(one, "243", two)
    old = kill(own_system, "sip-1")
    # at once, while the successor starts: the phone repeats its BYE
    await call.hangup()
    await answered.until("DISCONNECTED", within=10)
    await call.until("DISCONNECTED", within=10)
    await replaced(own_system, "sip-1", old)


async def test_citizen_keeps_waiting_when_the_sip_worker_is_killed(
    city: City, own_system: RunningSystem
) -> None:
    phone = await city.phone("201", tone=B)
    anna = await city.agent("anna.schmidt", "201", available=False)
    citizen = await city.citizen(tone=A)
    call = await citizen.call("160")
    await call.until("CONFIRMED")
    before = await city.until_waiting("zentrale", 1)
    old = kill(own_system, "sip-1")
    await replaced(own_system, "sip-1", old)
    await call.hears_sound(0.5, within=8)
    assert await city.until_waiting("zentrale", 1) == before
    await anna.available()
    rung = await phone.incoming(within=10)
    await rung.answer(200)
    await both_hear(call, A, rung, B)
    await call.hangup()
    await rung.until("DISCONNECTED")


async def test_calls_of_a_killed_engine_are_anchored_anew(
    city: City, own_system: RunningSystem, tmp_path: Path
) -> None:
    log = tmp_path / "phone.log"
    one = await city.phone("242", tone=A, log=str(log))
    two = await city.phone("243", tone=B)
    call, answered = await talk(one, "243", two)
    await both_hear(call, A, answered, B)
    invited = [m for m in SipLog(log).messages(r"SIP/2\.0 200") if "m=audio" in m]
    name = engine_at(own_system, SipLog(log).audio_of(invited[-1])[1])
    old = kill(own_system, name)
    await both_hear(call, A, answered, B, within=8)
    await replaced(own_system, name, old)
    await call.hangup()
    await answered.until("DISCONNECTED")
    await city.record(to_number="243", cause="completed", ended_by="caller")


async def test_glare_while_a_call_is_anchored_anew(
    city: City, own_system: RunningSystem, tmp_path: Path
) -> None:
    """RFC 3261 §14.1: the far end's own change meets ours, both get 491, ours comes again."""
    log = tmp_path / "phone.log"
    staff = await city.phone("242", tone=A, log=str(log))
    async with sipp("callee_glare", port=own_system.trunk_port, echo=True) as callee:
        call = await staff.call("003023125001")
        await call.until("CONFIRMED")
        await call.hears(A)
        answers = [m for m in SipLog(log).received(r"SIP/2\.0 200") if "m=audio" in m]
        name = engine_at(own_system, SipLog(log).audio_of(answers[-1])[1])
        old = kill(own_system, name)
        await callee.until("SIP/2.0 491", within=10)
        await callee.until("CSeq: 3 INVITE", within=10)
        await call.hears(A)
        await call.hangup()
        await callee.done()
    await replaced(own_system, name, old)


async def test_waiting_citizen_hears_music_again_after_the_engine_was_killed(
    city: City, own_system: RunningSystem
) -> None:
    citizen = await city.citizen(tone=A)
    call = await citizen.call("160")
    await call.until("CONFIRMED")
    await call.hears_sound(0.5)
    before = await city.until_waiting("zentrale", 1)
    for name in [n for n in own_system.children() if n.startswith("media-")]:
        old = kill(own_system, name)
        await replaced(own_system, name, old)
    mark = call.heard
    deadline = time.monotonic() + 10
    while call.heard < mark + 16000 * 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    await call.hears_sound(0.5, within=5)
    assert await city.until_waiting("zentrale", 1) == before
    await call.hangup()
    await city.until_waiting("zentrale", 0)


async def test_waiting_citizens_keep_their_order_when_the_queue_role_is_killed(
    city: City, own_system: RunningSystem
) -> None:
    phone = await city.phone("201", tone=B)
    anna = await city.agent("anna.schmidt", "201", available=False)
    one, two = await city.citizen(tone=A), await city.citizen("+493023125002")
    first = await one.call("160")
    await first.until("CONFIRMED")
    await city.until_waiting("zentrale", 1)
    second = await two.call("160")
    await second.until("CONFIRMED")
    order = await city.until_waiting("zentrale", 2)
    old = kill(own_system, "queue-1")
    await first.hears_sound(0.5)
    await replaced(own_system, "queue-1", old)
    assert await city.until_waiting("zentrale", 2) == order
    await anna.available()
    rung = await phone.incoming(within=10)
    await rung.answer(200)
    await both_hear(first, A, rung, B)
    await first.hangup()
    await second.hangup()
    await rung.until("DISCONNECTED")
    await city.record(from_number=CITIZEN, queue="zentrale", cause="completed")
