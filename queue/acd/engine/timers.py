"""The engine's timers: a heap in an order that depends on nothing but the state."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Literal, NamedTuple

Kind = Literal["offer", "overflow", "relax", "rest", "wrap-up"]


class Timer(NamedTuple):
    """Something falls due; `subject` is an offer, work or agent, `queue` where it matters."""

    due: float
    kind: Kind
    subject: str
    queue: str


class Timers:
    """Timers that are never cancelled: `valid` tells whether one still means anything."""

    def __init__(self, valid: Callable[[Timer], bool]) -> None:
        # Plain tuples: unlike named ones, the garbage collector soon forgets them.
        self._heap: list[tuple[float, Kind, str, str]] = []
        self._valid = valid

    def add(self, due: float, kind: Kind, subject: str, queue: str = "") -> None:
        """Arm one."""
        heapq.heappush(self._heap, (due, kind, subject, queue))

    def next(self) -> float | None:
        """Return when the first valid timer falls due."""
        while self._heap and not self._valid(Timer(*self._heap[0])):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[Timer]:
        """Remove and return what has fallen due, earliest first; equal times by kind and name."""
        found = []
        while self._heap and self._heap[0][0] <= now:
            found.append(Timer(*heapq.heappop(self._heap)))
        return found
