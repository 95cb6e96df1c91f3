"""The live store dies, falls silent and comes back: people keep talking, then all works again."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest
from support.city import City
from support.phones import both_hear, talk
from support.servers import eventually

from .conftest import RunningSystem

pytestmark = pytest.mark.e2e
A, B = 700.0, 1100.0


@pytest.fixture
async def city(own_system: RunningSystem) -> AsyncIterator[City]:
    async with City(own_system) as one:
        yield one
    async with City(own_system) as after:
        await after.quiet()


async def test_killed_valkey_is_back_with_registrations_and_calls(
    city: City, own_system: RunningSystem
) -> None:
    one = await city.phone("242", tone=A)
    two = await city.phone("243", tone=B)
    call, answered = await talk(one, "243", two)
    await both_hear(call, A, answered, B)

    old = own_system.pid("valkey")
    os.kill(old, signal.SIGKILL)
    await both_hear(call, A, answered, B)
    await eventually(lambda: own_system.pid("valkey") != old, 10, "a new Valkey")
    await call.hold()
    await call.until_media("local-hold")
    await call.resume()
    await call.until_media("active")
    await both_hear(call, A, answered, B)
    await call.hangup()
    await answered.until("DISCONNECTED")

    # nobody registered anew, and the same phones reach each other
    again, taken = await talk(one, "243", two)
    await both_hear(again, A, taken, B)
    await again.hangup()
    await taken.until("DISCONNECTED")


async def test_silent_valkey_leaves_calls_alone_and_refuses_new_ones_at_once(
    city: City, own_system: RunningSystem
) -> None:
    one = await city.phone("242", tone=A)
    two = await city.phone("243", tone=B)
    third = await city.phone("244")
    call, answered = await talk(one, "243", two)
    await both_hear(call, A, answered, B)

    os.kill(own_system.pid("valkey"), signal.SIGSTOP)
    try:
        await both_hear(call, A, answered, B, within=5)

        async def refused() -> bool:
            started = time.monotonic()
            attempt = await third.call("245")
            ended = await attempt.until("DISCONNECTED", 10)
            return ended.code == 503 and time.monotonic() - started < 2

        await eventually(refused, 30, "a new call refused at once with 503")
        await both_hear(call, A, answered, B)
    finally:
        os.kill(own_system.pid("valkey"), signal.SIGCONT)

    async def accepted() -> bool:
        attempt = await third.call("199")
        passages = await asyncio.wait(
            [
                asyncio.create_task(attempt.until("CONFIRMED", 5)),
                asyncio.create_task(attempt.until("DISCONNECTED", 5)),
            ],
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in passages[1]:
            task.cancel()
        await asyncio.gather(*passages[0], *passages[1], return_exceptions=True)
        confirmed = attempt.state == "CONFIRMED"
        if confirmed:
            await attempt.hangup()
        return confirmed

    await eventually(accepted, 15, "a new call accepted")
    await call.hangup()
    await answered.until("DISCONNECTED")
