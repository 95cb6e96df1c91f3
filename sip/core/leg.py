"""A leg: one INVITE usage, as the user agent keeps it and as another process takes it over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from sip.core.dialog import Dialog
from sip.core.flow import Flow
from sip.core.message import Request
from sip.core.timers import Timer
from sip.core.transaction import Key

Role = Literal["uac", "uas"]

#: invited: an INVITE came and has no final answer; inviting: ours has none; answered: our 200
#: waits for its ACK; unacknowledged: the peer's 200 waits for our answer in the ACK; closing: ended
#: for the user, our BYE waits for the ACK; gone: no more.
Phase = Literal[
    "invited", "inviting", "answered", "unacknowledged", "established", "closing", "gone"
]


class AnswerState(msgspec.Struct):
    """A 200 of ours to an INVITE that is repeated until its ACK comes (RFC 3261 §13.3.1.4)."""

    data: bytes
    cseq: int
    #: it carried our offer, so the ACK must carry the answer
    offered: bool
    #: when to give up
    until: float
    interval: float


class SessionState(msgspec.Struct):
    """The session timer of a leg (RFC 4028)."""

    interval: int
    #: whether we refresh
    local: bool
    #: when it ends unless refreshed
    expires: float
    #: when we refresh or, if the peer does, when we give up
    due: float


class LegState(msgspec.Struct, omit_defaults=True):
    """Everything needed to go on with a leg in another process.

    Times are of the clock that all workers share.
    """

    leg: str
    role: Role
    phase: Phase
    call_id: str
    local_tag: str
    flow: Flow
    contact: str
    hosts: list[str] | None
    dialog: Dialog | None = None
    #: early dialogs of an outgoing leg by the peer's tag
    early: dict[str, Dialog] = {}
    #: the INVITE without a final answer, with all its Via
    invite: bytes | None = None
    invite_key: list[str] | None = None
    #: our INVITE or re-INVITE had a provisional response
    proceeding: bool = False
    offer_sent: bool = False
    cancelled: bool = False
    local_sdp: bytes | None = None
    remote_sdp: bytes | None = None
    session: SessionState | None = None
    peer_updates: bool = False
    answer: AnswerState | None = None
    #: an unanswered re-INVITE or UPDATE of the peer
    remote_request: bytes | None = None
    remote_key: list[str] | None = None
    reply_flow: Flow | None = None


@dataclass(slots=True, eq=False)
class Reliable:
    """A reliable provisional response that waits for its PRACK (RFC 3262 §3)."""

    rseq: int
    data: bytes
    has_sdp: bool
    until: float
    interval: float


@dataclass(slots=True, eq=False)
class Wish:
    """A re-INVITE or UPDATE to send, now or when the session is free for it."""

    method: Literal["INVITE", "UPDATE"]
    sdp: bytes | None
    #: refresh: sent by the session timer, its outcome is not told
    refresh: bool = False
    #: how often it met a 491
    glares: int = 0


@dataclass(slots=True, eq=False)
class Use:
    """What a request of ours is for."""

    kind: Literal["request", "invite", "offer", "bye", "prack"]
    request: Request
    flow: Flow
    leg: Leg | None = None
    credentials: tuple[str, str] | None = None
    #: header and nonce of the challenges already answered, to notice a refused password
    tried: set[str] = field(default_factory=set)
    #: the transaction it runs in now
    key: Key = ()
    #: the name the user knows the request by
    public: Key = ()
    wish: Wish | None = None
    #: ACKs of the 2xx received, by the peer's tag; None: still to be sent
    acks: dict[str, bytes | None] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Leg:
    """A leg. See `LegState` for what lasts."""

    id: str
    role: Role
    phase: Phase
    call_id: str
    local_tag: str
    flow: Flow
    contact: str
    #: hosts that may send requests in the dialog, None: any
    hosts: frozenset[str] | None
    dialog: Dialog | None = None
    early: dict[str, Dialog] = field(default_factory=dict)
    #: last RSeq taken, by the peer's tag
    rseqs: dict[str, int] = field(default_factory=dict)
    invite: Request | None = None
    invite_key: Key | None = None
    proceeding: bool = False
    offer_sent: bool = False
    cancelled: bool = False
    credentials: tuple[str, str] | None = None
    local_sdp: bytes | None = None
    remote_sdp: bytes | None = None
    session: SessionState | None = None
    session_timer: Timer | None = None
    peer_updates: bool = False
    answer: AnswerState | None = None
    answer_timer: Timer | None = None
    reliable: Reliable | None = None
    reliable_timer: Timer | None = None
    reliable_queue: list[tuple[int, bytes | None, tuple[tuple[str, str], ...]]] = field(
        default_factory=list
    )
    #: a 200 that waits for the PRACK of a response with SDP (RFC 3262 §3)
    accept_later: tuple[bytes | None, tuple[tuple[str, str], ...]] | None = None
    last_rseq: int = 0
    #: our re-INVITE or UPDATE on its way
    pending: Use | None = None
    #: until when it may take
    pending_timer: Timer | None = None
    #: the next one, and the timer of §14.1 that holds it back
    wish: Wish | None = None
    glare_timer: Timer | None = None
    remote_request: Request | None = None
    remote_key: Key | None = None
    reply_flow: Flow | None = None
    bye_headers: tuple[tuple[str, str], ...] = ()

    def state(self) -> LegState:
        """The leg as plain data."""
        return LegState(
            leg=self.id,
            role=self.role,
            phase=self.phase,
            call_id=self.call_id,
            local_tag=self.local_tag,
            flow=self.flow,
            contact=self.contact,
            hosts=None if self.hosts is None else sorted(self.hosts),
            dialog=None if self.dialog is None else msgspec.structs.replace(self.dialog),
            early={tag: msgspec.structs.replace(dialog) for tag, dialog in self.early.items()},
            invite=None if self.invite is None else self.invite.serialize(),
            invite_key=None if self.invite_key is None else list(self.invite_key),
            proceeding=self.proceeding,
            offer_sent=self.offer_sent,
            cancelled=self.cancelled,
            local_sdp=self.local_sdp,
            remote_sdp=self.remote_sdp,
            session=None if self.session is None else msgspec.structs.replace(self.session),
            peer_updates=self.peer_updates,
            answer=None if self.answer is None else msgspec.structs.replace(self.answer),
            remote_request=None if self.remote_request is None else self.remote_request.serialize(),
            remote_key=None if self.remote_key is None else list(self.remote_key),
            reply_flow=self.reply_flow,
        )
