"""What the roles say to telephony, and what it tells.

Times are UTC epoch seconds as float; durations are seconds. Numbers are E.164 or extensions and
must never be logged.
"""

from __future__ import annotations

from typing import Literal

import msgspec

CallState = Literal["ringing", "queued", "talking", "held", "ended"]
Direction = Literal["internal", "inbound", "outbound"]


class Originate(msgspec.Struct, frozen=True, tag="originate"):
    """Ring the person's own devices, then call `to` for them."""

    call: str
    person: str
    to: str
    #: epoch seconds after which the command is stale and must not dial any more
    expires: float


class HangUp(msgspec.Struct, frozen=True, tag="hang-up"):
    """End a call on somebody's behalf."""

    call: str
    by: str


Command = Originate | HangUp


class CallView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A live call as history and live views show it."""

    call: str
    direction: Direction
    state: CallState
    since: float
    from_number: str | None = None
    to_number: str | None = None
    queue: str | None = None
    from_person: str | None = None
    to_person: str | None = None
    #: why it ended, see CallRecord.cause
    cause: str | None = None


class CallChanged(msgspec.Struct, frozen=True, tag="call"):
    """The call's new state."""

    view: CallView


class DevicesChanged(msgspec.Struct, frozen=True, tag="devices"):
    """How many devices of a person are registered now."""

    person: str
    registered: int


Event = CallChanged | DevicesChanged
