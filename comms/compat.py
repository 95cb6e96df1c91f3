"""Mends what Python 3.11 does wrong and later versions do right. Importing it is enough."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def wait_for(awaitable: Awaitable[T], timeout: float | None) -> T:
    """`asyncio.wait_for` as Python 3.12 has it (python/cpython issue 86296).

    That of 3.11 forgets a cancellation which arrives at the moment the awaited task is done, so
    that a loop of Redis commands now and then runs on although it was told to end. It also makes
    a task of its own for each call, and redis-py calls it for each command.

    Raises:
        TimeoutError: the time is over.
    """
    if timeout is not None and timeout <= 0:
        task = asyncio.ensure_future(awaitable)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait([task])
        try:
            return task.result()
        except asyncio.CancelledError:
            raise TimeoutError from None
    async with asyncio.timeout(timeout):
        return await awaitable


if sys.version_info < (3, 12):
    asyncio.wait_for = asyncio.tasks.wait_for = wait_for  # type: ignore[assignment]
