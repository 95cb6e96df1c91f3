"""The user agent: transactions, and the legs (INVITE usages) that call control works with.

Pure: messages and `now` go in; datagrams, events and one timer come out.

    agent = UserAgent(UaConfig(...), token)
    agent.receive(message, flow, now)          # or receive_data(datagram, flow, now)
    for event in agent.events(): ...
    for flow, data in agent.datagrams(): ...
    agent.next_timer()                         # call handle_timers(now) then
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sip.core.dialog import LegState
from sip.core.events import Headers, OutgoingInvite, Txn, UaConfig, UaEvent
from sip.core.flow import Flow
from sip.core.message import Request, Response

Pairs = Iterable[tuple[str, str]]


class UserAgent:
    """One user agent with any number of legs.

    `token` gives unguessable strings of letters and digits, at least 64 bits each. Methods that
    name a leg or transaction that does not exist, or that is in the wrong state, raise
    StateError; a caller must expect that for races (the peer hung up a moment ago).
    """

    def __init__(self, config: UaConfig, token: Callable[[], str]) -> None: ...

    # In and out

    def receive_data(self, data: bytes, flow: Flow, now: float) -> None:
        """Take one datagram or one message of a stream; answers what cannot be parsed."""

    def receive(self, message: Request | Response, flow: Flow, now: float) -> None:
        """Take a parsed message."""

    def flow_failed(self, flow: Flow, now: float) -> None:
        """The transport could not send on this flow, or its connection closed."""

    def next_timer(self) -> float | None:
        """When `handle_timers` must be called at the latest."""

    def handle_timers(self, now: float) -> None:
        """Do what is due."""

    def datagrams(self) -> list[tuple[Flow, bytes]]:
        """Take what is to be sent, in order."""

    def events(self) -> list[UaEvent]:
        """Take what happened, in order."""

    # Out of dialog

    def respond(
        self,
        txn: Txn,
        status: int,
        reason: str | None = None,
        *,
        now: float,
        headers: Pairs = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> None:
        """Answer a `Request` or `LegRequest`."""

    def request(
        self,
        request: Request,
        flow: Flow,
        *,
        now: float,
        credentials: tuple[str, str] | None = None,
    ) -> Txn:
        """Send a request out of dialog; `Answer` and `Failed` follow."""

    # An incoming leg

    def provisional(
        self,
        leg: str,
        status: int,
        *,
        now: float,
        sdp: bytes | None = None,
        reliable: bool | None = None,
        headers: Pairs = (),
    ) -> None:
        """Send 101 to 199. `reliable` None: reliably when the peer requires it (RFC 3262)."""

    def accept(self, leg: str, sdp: bytes | None, *, now: float, headers: Pairs = ()) -> None:
        """Answer 200; `LegConfirmed` or `LegFailed` follows."""

    def reject(
        self, leg: str, status: int, reason: str | None = None, *, now: float, headers: Pairs = ()
    ) -> None:
        """Answer 300 to 699; the leg is gone."""

    # An outgoing leg

    def invite(self, leg: str, order: OutgoingInvite, *, now: float) -> None:
        """Send an INVITE; `LegProvisional`, `LegAnswered` or `LegFailed` follow."""

    def ack(self, leg: str, *, now: float, sdp: bytes | None = None) -> None:
        """Acknowledge a 200 that carried the peer's offer, with our answer."""

    def cancel(self, leg: str, *, now: float, reason: str | None = None) -> None:
        """Give the INVITE up; `LegFailed` follows, with 487 even if a 200 crossed it."""

    # An established leg

    def reinvite(self, leg: str, sdp: bytes | None, *, now: float) -> None:
        """Change the session; `LegOfferAnswered` or `LegOfferFailed` follows. Glare is retried."""

    def update(self, leg: str, sdp: bytes | None, *, now: float) -> None:
        """The same by UPDATE (RFC 3311)."""

    def accept_offer(self, leg: str, sdp: bytes | None, *, now: float) -> None:
        """Answer `LegReinvited` with 200."""

    def reject_offer(self, leg: str, status: int, *, now: float) -> None:
        """Refuse `LegReinvited`; the session goes on as it was."""

    def bye(self, leg: str, *, now: float, reason: str | None = None, headers: Pairs = ()) -> None:
        """End the leg; `LegEnded(by="local")` follows at once."""

    def send(
        self,
        leg: str,
        method: str,
        *,
        now: float,
        headers: Pairs = (),
        body: bytes = b"",
        content_type: str | None = None,
    ) -> Txn:
        """Send another request in the dialog; `Answer` and `Failed` follow."""

    def set_flow(self, leg: str, flow: Flow) -> None:
        """Where the peer is reached from now on (it registered anew, another connection)."""

    # To another process

    def snapshot(self, leg: str) -> LegState:
        """Everything needed to go on with the leg elsewhere."""

    def restore(
        self, state: LegState, now: float, *, credentials: tuple[str, str] | None = None
    ) -> None:
        """Go on with a leg another process had."""
