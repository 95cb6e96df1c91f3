"""Call records: one for a call, one for each of its legs. Written by telephony, kept in SQL."""

from __future__ import annotations

from typing import Literal

import msgspec

Direction = Literal["internal", "inbound", "outbound"]
Ended = Literal["caller", "callee", "system", "queue"]
Cause = Literal[
    "completed",
    "abandoned",
    "cancelled",
    "busy",
    "declined",
    "no-answer",
    "unreachable",
    "unknown-number",
    "not-permitted",
    "closed",
    "queue-full",
    "media-lost",
    "phone-lost",
    "max-duration",
    "overload",
    "failed",
]


class Quality(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the media engine counted of the packets that came from one leg."""

    packets: int = 0
    lost: int = 0
    #: mean interarrival jitter in milliseconds (RFC 3550 section 6.4.1)
    jitter_ms: float | None = None


class LegRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One leg: one device that was called or that called."""

    leg: str
    role: Literal["caller", "callee"]
    person: str | None
    device: str | None
    number: str | None
    started: float
    answered: float | None
    ended: float
    #: SIP status that ended the leg before it was answered, or None
    status: int | None = None
    quality: Quality = Quality()


class CallRecord(msgspec.Struct, frozen=True, omit_defaults=True, tag="record"):
    """One call. Seconds are durations, the rest epoch seconds."""

    call: str
    direction: Direction
    from_number: str | None
    to_number: str | None
    from_person: str | None
    to_person: str | None
    started: float
    answered: float | None
    ended: float
    ended_by: Ended
    cause: Cause
    legs: tuple[LegRecord, ...]
    queue: str | None = None
    #: agent who took the call from the queue
    agent: str | None = None
    waiting: float | None = None
    ringing: float | None = None
    talking: float | None = None
