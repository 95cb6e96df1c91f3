"""The interface of a media engine: where a call's audio is anchored.

A session has two sides. Side `a` is the caller, side `b` whoever the caller talks to. Each side
has the address its packets come from and go to (`remote`) and the engine's own port that the
side sends to (`local`). Side `b` may be absent: then side `a` hears what the engine plays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Side = Literal["a", "b"]


class MediaError(Exception):
    """The engine refused or did not answer. `code` is a stable id."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


class EngineLost(MediaError):
    """The engine's process is gone, and its sessions with it."""


@dataclass(frozen=True, slots=True)
class Remote:
    """Where a side's phone is, from its SDP."""

    #: 0.0.0.0 says that nothing is to be sent to it
    host: str
    port: int
    #: payload type numbers the side may send, in SDP order; the first one is played to it
    payloads: tuple[int, ...]
    #: payload type of telephone-event (RFC 4733), if offered
    dtmf_payload: int | None = None
    #: accept packets from `host` and `port` only; False latches to the first source (NAT)
    strict: bool = True
    #: with `strict`: the device sends from another port than it listens at, accept any of `host`
    any_port: bool = False


@dataclass(frozen=True, slots=True)
class Local:
    """The engine's address for a side, to be put into the SDP that side's phone gets."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class SideQuality:
    """What the engine received from one side."""

    packets: int
    lost: int
    jitter_ms: float | None


@dataclass(frozen=True, slots=True)
class Quality:
    """Both sides' counts."""

    a: SideQuality
    b: SideQuality


@dataclass(frozen=True, slots=True)
class DtmfEvent:
    """A key pressed on side `side` of session `session`."""

    session: str
    side: Side
    digit: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class MediaTimeout:
    """No packets for the time-out; the session is about to be dropped."""

    session: str


EngineEvent = DtmfEvent | MediaTimeout


class MediaEngine(Protocol):
    """One engine process, spoken to without blocking.

    All methods raise `EngineLost` when the process is gone and `MediaError` when it refuses.
    """

    name: str

    @property
    def alive(self) -> bool:
        """Whether the control connection stands."""

    @property
    def sessions(self) -> int:
        """How many sessions this client has opened here and not deleted."""

    async def open(self, session: str, a: Remote, b: Remote | None = None) -> tuple[Local, Local]:
        """Make a session and return the engine's ports for the phones of sides `a` and `b`.

        Without `b`, that side is known without an address: nothing is sent to it yet. Both ports
        stay the same while the session lives.
        """

    async def set_remote(self, session: str, side: Side, remote: Remote | None) -> None:
        """Change where a side's phone is; `None` sends nothing to it (its hold) until set again."""

    async def play(self, session: str, side: Side, prompt: str, times: int | None = 1) -> None:
        """Play a prompt (its path without payload suffix) to a side; `None` loops for ever."""

    async def stop(self, session: str, side: Side) -> None:
        """Stop what is played to a side; packets of the other side pass again."""

    async def delete(self, session: str) -> Quality | None:
        """End the session and return what was counted, None if the engine no longer knew it."""
