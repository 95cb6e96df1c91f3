"""The exceptions of the SIP core.

    SipError
    ├── ParseError        bytes or a field that cannot be read
    │   └── TooLarge      a message beyond the limits
    ├── SdpError          a session description that cannot be read or answered
    └── StateError        a call of the API that does not fit the state

Every error has a stable `id` (dotted, lower case), which logs, metrics and tests may rely on. The
`detail` says what was wrong without quoting names, numbers or message texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sip.core.message import Message


class SipError(Exception):
    """Whatever the SIP core raises."""

    def __init__(self, id: str, detail: str) -> None:
        super().__init__(f"{id}: {detail}")
        self.id = id
        self.detail = detail


class ParseError(SipError):
    """What came from the network is not valid.

    `status` is the answer a request deserves: 400, 413, 414, 416 or 505. `message` holds as much
    of the message as was understood, `None` when not even that is possible; `error_response`
    makes the answer of it.
    """

    def __init__(
        self, id: str, detail: str, *, status: int = 400, message: Message | None = None
    ) -> None:
        super().__init__(id, detail)
        self.status = status
        self.message = message


class TooLarge(ParseError):
    """Head or body beyond the limits of the framer or the parser."""


class SdpError(SipError):
    """A session description cannot be read, or an offer cannot be answered (488)."""


class StateError(SipError):
    """The leg or transaction does not exist or is not in a state that allows the call."""
