"""What `UserAgent` takes and tells: configuration, orders and events.

A *leg* is one call between us and one peer, named by a string that is unique in the system. A
*txn* is an opaque name of a transaction. `now` is in seconds of one clock that all workers share
(epoch time), because a leg may go on in another process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from sip.core import message
from sip.core.flow import Flow

#: Opaque name of a transaction.
Txn = tuple[str, ...]

Headers = tuple[tuple[str, str], ...]

#: Who or what ended an established leg: `remote` (BYE), `local` (our `bye`), `timeout` (session
#: timer, RFC 4028), `lost` (481 or 408 to a request of ours), `transport` (the connection of an
#: unanswered incoming leg broke).
EndedBy = Literal["remote", "local", "timeout", "lost", "transport"]


@dataclass(frozen=True, slots=True)
class UaConfig:
    """How a user agent presents itself and which limits it keeps."""

    #: User-Agent and Server header
    user_agent: str = "comms"
    #: our Contact URI by transport; a missing one is made of the flow's own address
    contacts: Mapping[str, str] = field(default_factory=dict)
    #: host:port for Via by transport; a missing one is made of the flow's own address
    sent_by: Mapping[str, str] = field(default_factory=dict)
    #: wished Session-Expires in seconds; 0 does not ask for a session timer
    session_expires: int = 1800
    #: smallest session interval accepted, in seconds (RFC 4028 §5: at least 90)
    min_se: int = 90
    #: methods served; others are answered 405 or 501. What stands here is what Allow says, so a
    #: method belongs here once somebody answers its events.
    allow: tuple[str, ...] = (
        "INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "PRACK", "UPDATE", "INFO",
    )  # fmt: skip
    #: option tags, for Supported and for what a peer may Require
    supported: tuple[str, ...] = ("100rel", "timer")
    #: further option tags that a REGISTER may Require
    register_options: tuple[str, ...] = ("outbound", "path")
    #: RFC 3261 §17.1.1.1, in seconds
    t1: float = 0.5
    t2: float = 4.0
    t4: float = 5.0
    #: an in-dialog request must come from the host the dialog was made with
    strict_source: bool = True
    #: most transactions at a time; more are answered 503
    max_transactions: int = 200_000
    #: Retry-After of a 503 for lack of room, in seconds
    retry_after: int = 5


@dataclass(frozen=True, slots=True)
class OutgoingInvite:
    """An INVITE to send."""

    request_uri: str
    #: To and From as header values, without tags: `"Name" <sip:…>`
    to: str
    from_: str
    #: where to send it; the core resolves nothing
    flow: Flow
    #: the offer; None asks the peer for one, which `ack` must answer
    sdp: bytes | None = None
    #: Route header values, first hop first (a contact's Path, a trunk's outbound proxy)
    route: tuple[str, ...] = ()
    #: further headers, as P-Asserted-Identity
    headers: Headers = ()
    #: user and password for a 401 or 407
    credentials: tuple[str, str] | None = None
    #: Call-ID; None makes a new one
    call_id: str | None = None
    max_forwards: int = 70
    #: hosts that may send requests in this dialog, None: any; () is the host of `flow`
    trusted_hosts: tuple[str, ...] | None = ()


class Event(msgspec.Struct, frozen=True):
    """The root of all events."""


# Out of dialog


class Request(Event, frozen=True):
    """A request that belongs to no leg. Answer it with `respond`."""

    txn: Txn
    request: message.Request
    flow: Flow


class Answer(Event, frozen=True):
    """A response, provisional ones included, to a request sent by `request` or `send`."""

    txn: Txn
    response: message.Response


class Failed(Event, frozen=True):
    """No final response came to a request sent by `request` or `send`."""

    txn: Txn
    why: Literal["timeout", "transport"]


# A leg comes up


class LegInvited(Event, frozen=True):
    """An INVITE made a new leg. Answer it with `provisional`, `accept` or `reject`."""

    leg: str
    request: message.Request
    flow: Flow
    #: the offer, None when the caller wants ours
    sdp: bytes | None


class LegCancelled(Event, frozen=True):
    """The caller gave up before the answer; the leg is gone (487 was sent)."""

    leg: str
    #: value of the CANCEL's Reason header (RFC 3326)
    reason: str | None = None


class LegConfirmed(Event, frozen=True):
    """The ACK to our 200 arrived."""

    leg: str
    #: the answer to our offer, when the INVITE had none
    sdp: bytes | None


class LegPracked(Event, frozen=True):
    """A reliable provisional response of ours was acknowledged (RFC 3262)."""

    leg: str
    sdp: bytes | None


class LegProvisional(Event, frozen=True):
    """A provisional response above 100 to our INVITE."""

    leg: str
    status: int
    sdp: bytes | None
    response: message.Response


class LegAnswered(Event, frozen=True):
    """Our INVITE was answered; with our offer in the INVITE it is acknowledged already."""

    leg: str
    #: the answer (already given in a reliable provisional response: None is possible), or the
    #: peer's offer when the INVITE had none: then call `ack` with the answer
    sdp: bytes | None
    response: message.Response


class LegFailed(Event, frozen=True):
    """The leg did not come up and is gone.

    Outgoing: the final status of the peer, 408 when it never answered, 503 when it could not be
    reached, 487 after `cancel`. Incoming: 408 when no ACK followed our 200.
    """

    leg: str
    status: int
    reason: str
    #: the peer's response; its contacts tell where a 3xx wants the call to go
    response: message.Response | None = None


# A leg stands


class LegReinvited(Event, frozen=True):
    """The peer changes the session by re-INVITE or UPDATE.

    Answer with `accept_offer` or `reject_offer`.
    """

    leg: str
    #: the peer's offer; None asks for ours
    sdp: bytes | None
    txn: Txn
    request: message.Request


class LegOfferAnswered(Event, frozen=True):
    """An offer was answered: ours by the peer's 200, or the one we gave in a 200 by its ACK.

    It also comes unasked when a session refresh of the core brought another answer than before.
    """

    leg: str
    sdp: bytes | None
    #: `reinvite` was called without an offer: `sdp` is the peer's, and `ack` must answer it
    needs_ack: bool = False


class LegOfferFailed(Event, frozen=True):
    """The peer refused our re-INVITE or UPDATE; the session goes on as it was."""

    leg: str
    status: int


class LegOfferCancelled(Event, frozen=True):
    """The peer cancelled the re-INVITE of the last `LegReinvited`, or a BYE overtook it."""

    leg: str


class LegRequest(Event, frozen=True):
    """A request in the dialog (INFO, MESSAGE, REFER, NOTIFY, …). Answer it with `respond`."""

    leg: str
    txn: Txn
    request: message.Request


class LegEnded(Event, frozen=True):
    """An established leg ended and is gone."""

    leg: str
    by: EndedBy
    #: final status that ended it, None when a BYE did
    status: int | None = None
    #: value of the BYE's Reason header (RFC 3326)
    reason: str | None = None


UaEvent = (
    Request | Answer | Failed | LegInvited | LegCancelled | LegConfirmed | LegPracked
    | LegProvisional | LegAnswered | LegFailed | LegReinvited | LegOfferAnswered | LegOfferFailed
    | LegOfferCancelled | LegRequest | LegEnded
)  # fmt: skip
