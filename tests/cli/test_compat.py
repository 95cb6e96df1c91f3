"""What is mended of Python 3.11."""

from __future__ import annotations

import asyncio

import pytest

import comms.bus.streams  # noqa: F401  (whoever speaks to Redis imports it)


async def test_a_cancellation_is_not_lost_at_the_moment_of_the_result() -> None:
    result: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    ran_on = False

    async def waits() -> None:
        nonlocal ran_on
        await asyncio.wait_for(result, 5)
        ran_on = True
        await asyncio.sleep(0)

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    result.set_result("done")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ran_on


async def test_it_waits_no_longer_than_it_may() -> None:
    never = asyncio.Event()
    for seconds in (0.01, 0, -1):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(never.wait(), seconds)


async def test_what_is_done_already_is_returned_even_without_time() -> None:
    done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    done.set_result("done")
    for seconds in (None, 1, 0):
        assert await asyncio.wait_for(done, seconds) == "done"
