"""One structure for all timers: a hashed wheel whose slots are kept in a small heap.

Starting and cancelling cost O(1); taking due timers costs O(1) each. Deadlines are exact: the
slots only group them.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

#: slots per second
_RESOLUTION = 16


class Timer:
    """A running timer; `payload` is None once it is cancelled or has fired."""

    __slots__ = ("payload", "queued", "when")

    def __init__(self, when: float, payload: Any) -> None:
        #: the deadline in the seconds of the caller's clock
        self.when = when
        self.payload = payload
        #: whether it stands in the wheel; False while it is being handed out
        self.queued = True


class TimerWheel:
    """Timers by deadline. Time is whatever the caller says it is."""

    __slots__ = ("_bound", "_dead", "_live", "_next", "_order", "_slots")

    def __init__(self) -> None:
        self._slots: dict[int, list[Timer]] = {}
        self._order: list[int] = []
        self._live = 0
        self._dead = 0
        #: the earliest deadline, or None when it must be looked for
        self._next: float | None = None
        #: no timer is due before; None when that must be looked for
        self._bound: float | None = None

    def __len__(self) -> int:
        """How many timers run."""
        return self._live

    def start(self, when: float, payload: Any) -> Timer:
        """Start a timer that is due at `when` and gives `payload` (not None)."""
        timer = Timer(when, payload)
        slot = int(when * _RESOLUTION)
        bucket = self._slots.get(slot)
        if bucket is None:
            self._slots[slot] = [timer]
            heappush(self._order, slot)
        else:
            bucket.append(timer)
        self._live += 1
        earliest = self._next
        if earliest is not None and when < earliest:
            self._next = when
        bound = self._bound
        if bound is not None and when < bound:
            self._bound = when
        return timer

    def cancel(self, timer: Timer | None) -> None:
        """Stop a timer. Nothing happens when it is None, was cancelled or has fired."""
        if timer is None or timer.payload is None:
            return
        timer.payload = None
        if not timer.queued:
            return
        self._live -= 1
        self._dead += 1
        if timer.when == self._next:
            self._next = None
        if self._dead > 1024 and self._dead > self._live:
            self._sweep()

    def next(self) -> float | None:
        """The earliest deadline, None when no timer runs."""
        if self._next is not None:
            return self._next
        while self._order:
            slot = self._order[0]
            bucket = self._slots[slot]
            live = [timer for timer in bucket if timer.payload is not None]
            if live:
                if len(live) != len(bucket):
                    self._dead -= len(bucket) - len(live)
                    self._slots[slot] = live
                self._next = min(timer.when for timer in live)
                return self._next
            self._dead -= len(bucket)
            del self._slots[slot]
            heappop(self._order)
        return None

    def bound(self) -> float:
        """A time before which no timer is due, at most the earliest deadline; infinity: none runs.

        It costs less than `next`, as cancelling leaves it as it is. `pop_due` at that time puts it
        right, whether something is due or not.
        """
        if self._bound is None:
            earliest = self.next()
            self._bound = inf if earliest is None else earliest
        return self._bound

    def pop_due(self, now: float) -> Iterator[Any]:
        """Take the payloads of all timers due at `now`, in the order of their deadlines.

        A timer that is cancelled while earlier ones are being handled does not come.
        """
        self._bound = None
        earliest = self.next()
        if earliest is None or earliest > now:
            return
        due: list[Timer] = []
        last = int(now * _RESOLUTION)
        while self._order and self._order[0] <= last:
            slot = self._order[0]
            bucket = self._slots[slot]
            later: list[Timer] = []
            for timer in bucket:
                if timer.payload is None:
                    self._dead -= 1
                elif timer.when <= now:
                    timer.queued = False
                    due.append(timer)
                else:
                    later.append(timer)
            if later:
                self._slots[slot] = later
                break
            del self._slots[slot]
            heappop(self._order)
        self._next = None
        self._live -= len(due)
        due.sort(key=_deadline)
        for timer in due:
            payload = timer.payload
            if payload is not None:
                timer.payload = None
                yield payload

    def _sweep(self) -> None:
        """Drop cancelled timers, so that memory follows the timers that run."""
        slots: dict[int, list[Timer]] = {}
        for slot, bucket in self._slots.items():
            live = [timer for timer in bucket if timer.payload is not None]
            if live:
                slots[slot] = live
        self._slots = slots
        self._order = list(slots)
        heapify(self._order)
        self._dead = 0


def _deadline(timer: Timer) -> float:
    return timer.when
