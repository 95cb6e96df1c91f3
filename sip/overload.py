"""Who is served when more arrives than can be done. Pure: time is an argument.

Datagrams wait in three lines, served in this order: what belongs to a call in progress (answers,
ACK, BYE, CANCEL, anything with a To tag) and emergency calls; new work that brings credentials, so
that a challenge once answered is not wasted; other new work (INVITE, REGISTER, OPTIONS …). New work
that has waited longer than `delay` is refused with 503 and Retry-After at a small fraction of
the cost of doing it. RFC 5390 has the requirements.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_NEW_WORK = (b"INVITE ", b"REGISTER ", b"SUBSCRIBE ", b"OPTIONS ", b"MESSAGE ", b"PUBLISH ")
_EMERGENCY = (b"sip:110@", b"sip:112@", b"sip:0110@", b"sip:0112@", b"urn:service:sos")


def is_new_work(data: bytes) -> bool:
    """Whether a datagram may be refused under load, judged by its first bytes and its To tag.

    >>> is_new_work(b"BYE sip:a@b SIP/2.0\\r\\n")
    False
    """
    if not data.startswith(_NEW_WORK):
        return False
    uri = data[: data.find(b"\r\n")].partition(b" ")[2]
    if uri.startswith(_EMERGENCY):
        return False
    at = data.find(b"\r\nTo:")
    if at < 0:
        at = data.find(b"\r\nt:")
    return at < 0 or b";tag=" not in data[at : data.find(b"\r\n", at + 2)]


def has_credentials(data: bytes) -> bool:
    """Whether a datagram brings the answer to a challenge."""
    return b"\r\nAuthorization:" in data or b"\r\nProxy-Authorization:" in data


@dataclass(slots=True)
class OverloadStats:
    """Counters for the metrics."""

    served: int = 0
    refused: int = 0
    dropped: int = 0


class WorkLines(Generic[T]):
    """The lines. Items are opaque; `delay` is in seconds."""

    def __init__(self, delay: float, limit: int = 20_000) -> None:
        self.delay = delay
        self.limit = limit
        self.stats = OverloadStats()
        self._first: deque[T] = deque()
        self._continued: deque[tuple[float, T]] = deque()
        self._new: deque[tuple[float, T]] = deque()

    def __len__(self) -> int:
        return len(self._first) + len(self._continued) + len(self._new)

    def put(self, item: T, data: bytes, now: float) -> None:
        """Append an item; beyond `limit` new work is dropped, its sender will repeat it."""
        if not is_new_work(data):
            self._first.append(item)
            return
        line = self._continued if has_credentials(data) else self._new
        if len(line) < self.limit:
            line.append((now, item))
        else:
            self.stats.dropped += 1

    def take(self, now: float) -> tuple[T, bool] | None:
        """Return the next item and whether to serve it or refuse it, None when all is done."""
        if self._first:
            self.stats.served += 1
            return self._first.popleft(), True
        line = self._continued or self._new
        if not line:
            return None
        since, item = line.popleft()
        if now - since > self.delay:
            self.stats.refused += 1
            return item, False
        self.stats.served += 1
        return item, True
