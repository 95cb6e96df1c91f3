"""The user agent: transactions, and the legs (INVITE usages) that call control works with.

Pure: messages and `now` go in; datagrams, events and one timer come out.

    agent = UserAgent(UaConfig(...), token)
    agent.receive_data(datagram, flow, now)    # or receive(message, flow, now)
    for event in agent.events(): ...
    for flow, data in agent.datagrams(): ...
    agent.next_timer()                         # call handle_timers(now) then
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sip.core.body import sdp_of
from sip.core.dialog import Dialog
from sip.core.errors import ParseError, StateError
from sip.core.events import (
    Answer,
    Failed,
    LegEnded,
    LegReinvited,
    Txn,
    UaConfig,
    UaEvent,
)
from sip.core.events import (
    Request as RequestEvent,
)
from sip.core.flow import Flow
from sip.core.leg import Leg, LegState, Use
from sip.core.message import (
    Request,
    Response,
    error_response,
    parse_message,
    response_for,
)
from sip.core.transaction import (
    AckReceived,
    CancelReceived,
    Key,
    LayerEvent,
    RequestReceived,
    ResponseReceived,
    StraySuccess,
    TransactionEnded,
    TransactionTimedOut,
    TransportFailed,
)
from sip.core.ua_base import Pairs
from sip.core.ua_session import Established
from sip.core.validate import check_purpose, check_repeated, validate


class UserAgent(Established):
    """One user agent with any number of legs.

    `token` gives unguessable strings of letters and digits, of at least 64 bits each. Methods
    that name a leg or transaction that does not exist, or that is in a state that does not allow
    the call, raise StateError; callers must expect that, as the peer may have hung up a moment
    ago. Methods that come later than the peer's last event never raise anything else.
    """

    def __init__(self, config: UaConfig, token: Callable[[], str]) -> None:
        super().__init__(config, token)

    def __contains__(self, leg: str) -> bool:
        """Whether a leg of that name exists."""
        return leg in self._legs

    @property
    def legs(self) -> list[str]:
        """The names of all legs."""
        return list(self._legs)

    # In and out

    def receive_data(self, data: bytes, flow: Flow, now: float, *, stream: bool = False) -> None:
        """Take one datagram or one message of a stream; answers what cannot be parsed."""
        try:
            message = parse_message(data, stream=stream)
        except ParseError as error:
            self.stats["malformed"] += 1
            request = error.message
            answer = error_response(error)
            if answer is not None and isinstance(request, Request):
                self.layer.respond_stateless(request, answer, flow)
            return
        self.receive(message, flow, now)

    def receive(self, message: Request | Response, flow: Flow, now: float) -> None:
        """Take a parsed message."""
        self.layer.receive(message, flow, now)
        self._work(now)

    def flow_failed(self, flow: Flow, now: float) -> None:
        """The transport could not send on this flow, or its connection closed.

        Our unanswered requests on it fail. Established legs stay: the peer may come back on
        another connection (`set_flow`), and the session timer ends them otherwise.
        """
        self.layer.flow_failed(flow, now)
        self._work(now)

    def next_timer(self) -> float | None:
        """When `handle_timers` must be called at the latest, None: not needed."""
        return self.timers.next()

    def handle_timers(self, now: float) -> None:
        """Do what is due."""
        for call, subject, detail in self.timers.pop_due(now):
            call(subject, detail, now)
        self._work(now)

    def datagrams(self) -> list[tuple[Flow, bytes]]:
        """Take what is to be sent, in order."""
        return self.layer.datagrams()

    def events(self) -> list[UaEvent]:
        """Take what happened, in order."""
        events, self._events = self._events, []
        return events

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
        """Answer a `Request` or `LegRequest`. StateError when it has a final answer already."""
        request = self.layer.request_of(txn)
        if request is None:
            raise StateError("sip.txn.gone", "no such transaction, or answered already")
        response = response_for(
            request,
            status,
            reason,
            to_tag=self._token() if request.to_tag is None else None,
            headers=headers,
            body=body,
            content_type=content_type,
        )
        self.layer.respond(txn, response, now)

    def respond_stateless(
        self, request: Request, flow: Flow, status: int, headers: Pairs = ()
    ) -> None:
        """Answer a request that was not given to `receive`, and keep nothing of it (RFC 3261
        §8.2.7).

        For answers that are the same whenever the request comes: the challenge to a REGISTER
        without credentials, the refusal of new work under overload. It costs half of the way
        through a transaction and no memory. A request that is too malformed to be answered is
        dropped.
        """
        if request.method == "ACK":
            return
        try:
            request.note_source(*flow.remote)
            _ = request.cseq
            response = response_for(request, status, to_tag=self._token(), headers=headers)
        except ParseError:
            self.stats["malformed"] += 1
            return
        self.layer.respond_stateless(request, response, flow)

    def is_register(self, request: Request) -> bool:
        """Whether a request is a REGISTER that `receive` would tell by a `Request` event.

        Only such a one may be answered by `respond_stateless` instead; what is malformed, or asks
        for more than we can, is answered by `receive`.
        """
        if request.method != "REGISTER":
            return False
        try:
            check_repeated(request)
            _ = request.via, request.to_tag
            return (
                bool(request.call_id)
                and request.cseq[1] == "REGISTER"
                and request.has("From")
                and request.has("To")
                and check_purpose(
                    request, supported=self._register_options, allow=self.config.allow
                )
                is None
            )
        except ParseError:
            return False

    def request(
        self,
        request: Request,
        flow: Flow,
        *,
        now: float,
        credentials: tuple[str, str] | None = None,
    ) -> Txn:
        """Send a request out of dialog; `Answer` and `Failed` follow.

        The core adds Via. With `credentials` (user, password) a 401 or 407 is answered by the
        core; the name of the transaction stays the same.
        """
        use = Use("request", request, flow, credentials=credentials)
        use.public = self._send_request(use, now)
        return use.public

    def set_flow(self, leg: str, flow: Flow) -> None:
        """Where the peer is reached from now on (it registered anew, another connection)."""
        subject = self._legs.get(leg)
        if subject is None:
            raise StateError("sip.leg.gone", "no such leg")
        self._move(subject, flow)
        if subject.hosts is not None:
            subject.hosts |= {flow.remote[0]}

    def trust_hosts(self, leg: str, hosts: tuple[str, ...] | None) -> None:
        """Set which hosts may send requests in the leg's dialog; None: any."""
        subject = self._legs.get(leg)
        if subject is None:
            raise StateError("sip.leg.gone", "no such leg")
        subject.hosts = None if hosts is None else frozenset(hosts)

    @staticmethod
    def _move(leg: Leg, flow: Flow) -> None:
        leg.flow = flow
        if leg.dialog is not None:
            leg.dialog.flow = flow
        for dialog in leg.early.values():
            dialog.flow = flow

    # To another process

    def snapshot(self, leg: str) -> LegState:
        """Everything needed to go on with the leg elsewhere. StateError when it is gone."""
        subject = self._legs.get(leg)
        if subject is None:
            raise StateError("sip.leg.gone", "no such leg")
        return subject.state()

    def restore(
        self, state: LegState, now: float, *, credentials: tuple[str, str] | None = None
    ) -> None:
        """Go on with a leg another process had.

        A re-INVITE of ours that was under way is forgotten (its 200 is acknowledged all the
        same); an unanswered one of the peer is told again by `LegReinvited`. Raises StateError
        when the leg exists here or the state cannot be read.
        """
        if state.leg in self._legs:
            raise StateError("sip.leg.exists", "a leg of that name exists")
        leg = Leg(
            id=state.leg,
            role=state.role,
            phase=state.phase,
            call_id=state.call_id,
            local_tag=state.local_tag,
            flow=state.flow,
            contact=state.contact,
            hosts=None if state.hosts is None else frozenset(state.hosts),
            dialog=state.dialog,
            early=dict(state.early),
            proceeding=state.proceeding,
            offer_sent=state.offer_sent,
            cancelled=state.cancelled,
            credentials=credentials,
            local_sdp=state.local_sdp,
            remote_sdp=state.remote_sdp,
            session=state.session,
            peer_updates=state.peer_updates,
            answer=state.answer,
            reply_flow=state.reply_flow,
        )
        try:
            if state.invite is not None and state.invite_key is not None:
                self._restore_invite(leg, state.invite, tuple(state.invite_key), now)
            if state.remote_request is not None and state.remote_key is not None:
                self._restore_reinvite(leg, state.remote_request, tuple(state.remote_key))
        except ParseError as error:
            raise StateError("sip.leg.unreadable", "the stored INVITE cannot be read") from error
        if leg.phase == "unacknowledged":
            # The 200 whose ACK was due is repeated by the peer, and acknowledged then.
            leg.phase = "established"
        self._legs[leg.id] = leg
        self._by_tag[leg.local_tag] = leg
        if leg.answer is not None:
            leg.answer_timer = self.timers.start(now, (self._repeat_answer, leg, leg.answer))
        self._start_session_timer(leg)

    def _restore_invite(self, leg: Leg, data: bytes, key: Key, now: float) -> None:
        request = parse_message(data)
        assert isinstance(request, Request)
        leg.invite, leg.invite_key = request, key
        if leg.role == "uas":
            self.layer.restore_server(key, request, leg.flow)
            self._by_invite[key] = leg
        else:
            self.layer.restore_client(request, leg.flow, now, waiting=not leg.proceeding)
            use = Use("invite", request, leg.flow, leg=leg, credentials=leg.credentials)
            self._uses[key] = use
            if leg.cancelled:
                self.layer.cancel(key, now)

    def _restore_reinvite(self, leg: Leg, data: bytes, key: Key) -> None:
        request = parse_message(data)
        assert isinstance(request, Request)
        leg.remote_request, leg.remote_key = request, key
        flow = leg.reply_flow or leg.flow
        self.layer.restore_server(key, request, flow)
        if request.method == "INVITE":
            self._by_invite[key] = leg
        self._events.append(LegReinvited(leg.id, sdp_of(request), key, request))

    # The transaction layer's events

    def _work(self, now: float) -> None:
        handlers = _HANDLERS
        for event in self.layer.events():
            handlers[type(event)](self, event, now)

    def _on_request(self, event: RequestReceived, now: float) -> None:
        try:
            self._request_received(event, now)
        except ParseError as error:
            self.stats["malformed"] += 1
            if self.layer.request_of(event.key) is not None:
                self._answer(event.key, event.request, error.status, now)

    def _on_response(self, event: ResponseReceived, now: float) -> None:
        use = self._uses.get(event.key)
        if use is not None:
            self._response_received(use, event, now)

    def _on_cancel(self, event: CancelReceived, now: float) -> None:
        self._cancelled(event.key, event.request, now)

    def _on_time_out(self, event: TransactionTimedOut, now: float) -> None:
        self._gave_up(event.key, 408, now)

    def _on_transport_failed(self, event: TransportFailed, now: float) -> None:
        self._gave_up(event.key, 503, now)

    def _on_ended(self, event: TransactionEnded, now: float) -> None:
        self._uses.pop(event.key, None)

    def _on_stray_success(self, event: StraySuccess, now: float) -> None:
        try:
            self._late_success(event.response, now)
        except ParseError:
            self.stats["malformed"] += 1

    def _request_received(self, event: RequestReceived, now: float) -> None:
        key, request, flow = event.key, event.request, event.flow
        method = request.method
        check_repeated(request)
        to_tag = request.to_tag if method != "REGISTER" else None
        if to_tag is not None:
            refusal = check_purpose(request, supported=self._supported_set, allow=self.config.allow)
            if refusal is None:
                self._in_dialog(to_tag, key, request, flow, now)
                return
        elif method == "REGISTER":
            # The registrar reads what it needs; a check of everything would cost as much again.
            refusal = check_purpose(
                request, supported=self._register_options, allow=self.config.allow
            )
        else:
            refusal = validate(request, supported=self._supported_set, allow=self.config.allow)
        if refusal is not None:
            self._answer(key, request, refusal.status, now, headers=refusal.headers)
            return
        if method == "INVITE":
            self._invited(key, request, flow, now)
        elif method in ("BYE", "PRACK", "UPDATE"):
            self._answer(key, request, 481, now)
        else:
            self._events.append(RequestEvent(key, request, flow))

    def _dialog_of(self, tag: str, request: Request, flow: Flow) -> tuple[Leg, Dialog] | None:
        """The leg and dialog a request belongs to, if it may: tags, Call-ID and source fit."""
        leg = self._by_tag.get(tag)
        if leg is None:
            return None
        remote = request.from_tag or ""
        dialog = leg.dialog
        if dialog is None or (leg.role == "uac" and leg.phase == "inviting"):
            dialog = leg.early.get(remote)
        if (
            dialog is None
            or dialog.remote_tag != remote
            or dialog.call_id != request.call_id
            or (leg.hosts is not None and flow.remote[0] not in leg.hosts)
        ):
            self.stats["hijack"] += 1
            return None
        return leg, dialog

    def _in_dialog(self, tag: str, key: Key, request: Request, flow: Flow, now: float) -> None:
        found = self._dialog_of(tag, request, flow)
        if found is None:
            # RFC 3261 §12.2.2
            self._answer(key, request, 481, now)
            return
        leg, dialog = found
        if not dialog.in_order(request.cseq[0]):
            self.stats["out_of_order"] += 1
            self._answer(key, request, 500, now)
            return
        if flow is not leg.flow and flow != leg.flow:
            # The peer's address was bound anew, or it opened another connection.
            self._move(leg, flow)
        method = request.method
        if method == "BYE":
            self._byed(leg, key, request, now)
        elif method in ("INVITE", "UPDATE"):
            self._reinvited(leg, key, request, flow, now)
        elif method == "PRACK":
            self._pracked(leg, key, request, now)
        else:
            self._requested(leg, key, request, now)

    def _ack_received(self, event: AckReceived, now: float) -> None:
        request = event.request
        try:
            found = self._dialog_of(request.to_tag or "", request, event.flow)
            if found is not None:
                self._acknowledged(found[0], request, now)
        except ParseError:
            self.stats["malformed"] += 1

    def _response_received(self, use: Use, event: ResponseReceived, now: float) -> None:
        key, response = event.key, event.response
        try:
            if use.kind == "invite":
                self._invite_response(use, key, response, event.flow, now)
            elif use.kind == "offer":
                self._offer_response(use, key, response, now)
            else:
                self._other_response(use, key, response, now)
        except ParseError:
            # A response that is malformed where it matters is none.
            self.stats["malformed"] += 1

    def _other_response(self, use: Use, key: Key, response: Response, now: float) -> None:
        if response.status >= 200:
            del self._uses[key]
            if response.status in (401, 407) and self._retry(use, response, now):
                return
        if use.kind != "request":
            return
        self._events.append(Answer(use.public, response))
        leg = use.leg
        if response.status == 481 and leg is not None and leg.phase == "established":
            self._end(leg, "lost", now, status=481)

    def _gave_up(self, key: Key, status: int, now: float) -> None:
        """A transaction ended without a final response."""
        use = self._uses.pop(key, None)
        if use is None:
            leg = self._by_invite.get(key)
            if leg is not None and leg.phase == "invited":
                self._drop(leg, now)
                self._events.append(LegEnded(leg.id, "transport"))
            return
        leg = use.leg
        if use.kind == "request":
            self._events.append(Failed(use.public, "timeout" if status == 408 else "transport"))
        elif use.kind == "invite" and leg is not None and leg.phase == "inviting":
            if leg.cancelled:
                self._failed(leg, 487, "Request Terminated", None, now)
            else:
                reason = "Request Timeout" if status == 408 else "Service Unavailable"
                self._failed(leg, status, reason, None, now)
        elif use.kind == "offer" and leg is not None and leg.pending is use:
            leg.pending = None
            assert use.wish is not None
            self._offer_failure(leg, use.wish, status, now)


#: What is done with each event of the transaction layer.
_HANDLERS: dict[type[LayerEvent], Callable[[UserAgent, Any, float], None]] = {
    RequestReceived: UserAgent._on_request,
    ResponseReceived: UserAgent._on_response,
    AckReceived: UserAgent._ack_received,
    CancelReceived: UserAgent._on_cancel,
    TransactionTimedOut: UserAgent._on_time_out,
    TransportFailed: UserAgent._on_transport_failed,
    TransactionEnded: UserAgent._on_ended,
    StraySuccess: UserAgent._on_stray_success,
}
