"""Ends background tasks."""

from __future__ import annotations

import asyncio
from typing import Any

#: a task that has not ended so long after it was cancelled is cancelled again
_AGAIN_SECONDS = 0.5


async def end(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel tasks and wait until they have ended; None is passed over.

    A library may take a cancellation for a time-out of its own at the moment that time-out would
    have come, and go on. Then the task is cancelled once more.
    """
    running = {task for task in tasks if task is not None and not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_AGAIN_SECONDS)
    await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
