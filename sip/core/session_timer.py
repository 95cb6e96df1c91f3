"""Session timers (RFC 4028) as calculation: who refreshes, when, and when to give up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sip.core.message import Request, Response

Refresher = Literal["uac", "uas"]

#: RFC 4028 §5: no interval may be smaller.
SMALLEST = 90


@dataclass(frozen=True, slots=True)
class Session:
    """An agreed session interval."""

    #: seconds
    interval: int
    #: who refreshes, in the roles of the transaction that agreed on it
    refresher: Refresher


def requested(message: Request | Response) -> tuple[int, Refresher | None] | None:
    """Session-Expires and its refresher; None when absent. Raises ParseError."""
    interval = message.get_int("Session-Expires")
    if interval is None:
        return None
    value = message.get("Session-Expires") or ""
    for part in value.split(";")[1:]:
        name, _, who = part.partition("=")
        if name.strip().lower() == "refresher":
            who = who.strip().lower()
            if who == "uac":
                return interval, "uac"
            if who == "uas":
                return interval, "uas"
    return interval, None


def too_small(request: Request, min_se: int) -> bool:
    """Whether a request must be refused 422 (RFC 4028 §9); its sender must know session timers.

    Raises ParseError.
    """
    asked = requested(request)
    return asked is not None and asked[0] < min_se and "timer" in request.options("Supported")


def as_server(request: Request, wish: int, min_se: int) -> Session | None:
    """What a 2xx answers to a request (RFC 4028 §9, table 2); None: no session timer.

    `wish` is our own interval in seconds, 0 for none. Raises ParseError.
    """
    asked = requested(request)
    knows = "timer" in request.options("Supported")
    if asked is None:
        if not wish:
            return None
        least = max(min_se, request.get_int("Min-SE") or 0)
        return Session(max(wish, least), "uac" if knows else "uas")
    interval, refresher = asked
    if wish and wish < interval:
        # An interval may be lowered, but not below the Min-SE of the request.
        interval = max(wish, min_se, request.get_int("Min-SE") or 0)
    interval = max(interval, min_se)
    if not knows:
        return Session(interval, "uas")
    return Session(interval, refresher or "uac")


def as_client(response: Response, wish: int) -> Session | None:
    """What a 2xx to our request agreed on (RFC 4028 §7.2); None: no session timer.

    A peer without session timers sends none; then we refresh alone, every `wish` seconds (0:
    not at all), so that a peer that is gone is noticed. Raises ParseError.
    """
    given = requested(response)
    if given is None:
        return Session(wish, "uac") if wish else None
    interval, refresher = given
    return Session(max(interval, SMALLEST), refresher or "uac")


def refresh_after(interval: int) -> float:
    """Seconds after the last refresh at which the refresher refreshes (RFC 4028 §10)."""
    return interval / 2


def expires_after(interval: int) -> float:
    """Seconds after the last refresh at which the other side sends BYE (RFC 4028 §10)."""
    return interval - min(32.0, interval / 3)


def header(session: Session) -> str:
    """The value of Session-Expires."""
    return f"{session.interval};refresher={session.refresher}"
