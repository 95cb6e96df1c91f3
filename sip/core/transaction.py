"""The transaction layer (RFC 3261 §17, RFC 6026, RFC 3581): the tables of
`transaction_tables` at work.

    layer.receive(message, flow, now); layer.events(); layer.datagrams()

Retransmissions are absorbed here by the key of RFC 3261 §17.2.3. A message that lacks what every
message must have is answered 400 without any state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from sip.core.errors import ParseError, StateError
from sip.core.flow import VIA_NAMES, Flow
from sip.core.message import Request, Response, Via, error_response, response_for
from sip.core.timers import Timer, TimerWheel
from sip.core.transaction_tables import (
    CLIENT_INVITE,
    CLIENT_OTHER,
    SERVER_INVITE,
    SERVER_OTHER,
    Table,
)

Key = tuple[str, ...]

#: RFC 3261 §8.1.1.7
MAGIC_COOKIE: Final = "z9hG4bK"
#: RFC 3261 §17.1.1.2: timer D on UDP is at least 32 s.
TIMER_D: Final = 32.0


class LayerEvent(msgspec.Struct, frozen=True):
    """The root of the layer's events."""


class RequestReceived(LayerEvent, frozen=True):
    """A new request; answer it with `respond`."""

    key: Key
    request: Request
    flow: Flow


class AckReceived(LayerEvent, frozen=True):
    """An ACK to a 2xx, which belongs to a dialog."""

    request: Request
    flow: Flow


class CancelReceived(LayerEvent, frozen=True):
    """A CANCEL of an INVITE that is not yet answered finally; the CANCEL has got its 200."""

    #: of the INVITE
    key: Key
    request: Request


class ResponseReceived(LayerEvent, frozen=True):
    """A response to a request of ours, retransmissions of a 2xx to INVITE included."""

    key: Key
    response: Response
    flow: Flow


class StraySuccess(LayerEvent, frozen=True):
    """A 2xx to an INVITE that we do not know (any more)."""

    response: Response
    flow: Flow


class TransactionTimedOut(LayerEvent, frozen=True):
    """No final response to our request: timer B or F (408)."""

    key: Key


class TransportFailed(LayerEvent, frozen=True):
    """The flow broke: our request was not answered (503), or the peer's cannot be."""

    key: Key


class TransactionEnded(LayerEvent, frozen=True):
    """Timer M of an INVITE of ours fired: no further 2xx will come."""

    key: Key


class Transaction:
    """One transaction; the key says whose."""

    __slots__ = (
        "cancel",
        "data",
        "flow",
        "interval",
        "key",
        "limit",
        "linger",
        "merge",
        "request",
        "resend",
        "state",
        "table",
    )

    def __init__(
        self, key: Key, table: Compiled, state: str, flow: Flow, request: Request | None
    ) -> None:
        self.key = key
        self.table = table
        self.state = state
        #: where our messages of this transaction go
        self.flow = flow
        #: dropped once the final response is known, to free memory
        self.request = request
        #: a client's request or a server's last response
        self.data: bytes | None = None
        self.interval = 0.0
        self.resend: Timer | None = None
        self.limit: Timer | None = None
        self.linger: Timer | None = None
        #: key for merged requests (RFC 3261 §8.2.2.2) while no final response was sent
        self.merge: Key | None = None
        #: headers of a CANCEL that waits for a provisional response
        self.cancel: tuple[tuple[str, str], ...] | None = None


Action = Callable[["TransactionLayer", Transaction, float, Any], None]
Compiled = dict[str, dict[str, tuple[str, tuple[Action, ...]]]]


class TransactionLayer:
    """All transactions of one worker."""

    def __init__(
        self,
        token: Callable[[], str],
        *,
        t1: float = 0.5,
        t2: float = 4.0,
        t4: float = 5.0,
        sent_by: Mapping[str, str] | None = None,
        max_transactions: int = 200_000,
        retry_after: int = 5,
        timers: TimerWheel | None = None,
    ) -> None:
        """`token` gives unguessable strings; `sent_by` is host:port for Via by transport."""
        self._token = token
        self.t1 = t1
        self.t2 = t2
        self.t4 = t4
        self._sent_by = dict(sent_by or {})
        self._max = max_transactions
        self._retry_after = str(retry_after)
        self.timers = TimerWheel() if timers is None else timers
        self._servers: dict[Key, Transaction] = {}
        self._clients: dict[Key, Transaction] = {}
        self._merges: dict[Key, Key] = {}
        #: transactions on connections, to be told when one breaks
        self._by_flow: dict[Flow, set[Transaction]] = {}
        self._out: list[tuple[Flow, bytes]] = []
        self._events: list[LayerEvent] = []
        #: counts since the start
        self.stats: dict[str, int] = dict.fromkeys(
            ("requests", "responses", "retransmissions", "malformed", "stray", "merged", "refused"),
            0,
        )

    def __len__(self) -> int:
        """How many transactions exist."""
        return len(self._servers) + len(self._clients)

    # Out

    def datagrams(self) -> list[tuple[Flow, bytes]]:
        """Take what is to be sent."""
        out, self._out = self._out, []
        return out

    def events(self) -> list[LayerEvent]:
        """Take what happened."""
        events, self._events = self._events, []
        return events

    def next_timer(self) -> float | None:
        """When `handle_timers` must be called at the latest."""
        return self.timers.next()

    def handle_timers(self, now: float) -> None:
        """Do what is due."""
        for call, subject, event in self.timers.pop_due(now):
            call(subject, event, now)

    def send(self, flow: Flow, data: bytes) -> None:
        """Send bytes outside any transaction: an ACK to a 2xx, a retransmitted 2xx."""
        self._out.append((flow, data))

    # In

    def receive(self, message: Request | Response, flow: Flow, now: float) -> None:
        """Take a message; what is malformed or a retransmission ends here."""
        if isinstance(message, Request):
            try:
                self._receive_request(message, flow, now)
            except ParseError as error:
                self.stats["malformed"] += 1
                error.message = message
                answer = error_response(error)
                if answer is not None:
                    self.respond_stateless(message, answer, flow)
        else:
            try:
                self._receive_response(message, flow, now)
            except ParseError:
                self.stats["malformed"] += 1

    def _receive_request(self, request: Request, flow: Flow, now: float) -> None:
        via = request.via
        method = request.method
        branch = via.params.get("branch")
        if branch is not None and branch.startswith(MAGIC_COOKIE) and len(branch) > 7:
            # RFC 3261 §17.2.3
            key: Key = (branch, via.sent_by, "INVITE" if method == "ACK" else method)
        else:
            key = _old_key(request, via, method)
        known = self._servers.get(key)
        if known is not None:
            if method == "ACK":
                self._step(known, "ack", now, (request, flow))
            else:
                self.stats["retransmissions"] += 1
                self._step(known, "request", now, None)
            return
        # RFC 3261 §8.1.1: what every request must have. Each of these raises ParseError.
        number, cseq_method = request.cseq
        if cseq_method != method:
            raise ParseError("sip.parse.cseq", "CSeq is of another method")
        call_id = request.call_id
        keys = request._keys
        if "from" not in keys or "to" not in keys:
            raise ParseError("sip.parse.missing", "no From or no To")
        # Nobody forks a registration, and it makes most of the load: its From is left alone.
        from_tag = request.from_tag if method != "REGISTER" else None
        to_tag = request.to_tag
        self.stats["requests"] += 1
        if method == "ACK":
            self._events.append(AckReceived(request, flow))
            return
        request.note_source(*flow.remote)
        if method == "CANCEL":
            self._cancelled(request, via, flow, now, key)
            return
        reply = reply_flow(via, flow)
        if len(self._servers) >= self._max:
            self.stats["refused"] += 1
            busy = response_for(
                request, 503, to_tag=self._token(), headers=[("Retry-After", self._retry_after)]
            )
            self._out.append((reply, busy.serialize()))
            return
        merge: Key | None = None
        if to_tag is None and from_tag is not None:
            merge = (call_id, from_tag, str(number), method)
            if merge in self._merges:
                # RFC 3261 §8.2.2.2
                self.stats["merged"] += 1
                answer = response_for(request, 482, to_tag=self._token())
                self._out.append((reply, answer.serialize()))
                return
            self._merges[merge] = key
        invite = method == "INVITE"
        txn = Transaction(
            key,
            _SERVER_INVITE if invite else _SERVER_OTHER,
            "proceeding" if invite else "trying",
            reply,
            request,
        )
        txn.merge = merge
        self._servers[key] = txn
        if reply.connection:
            self._by_flow.setdefault(reply, set()).add(txn)
        self._events.append(RequestReceived(key, request, flow))

    def _cancelled(self, request: Request, via: Via, flow: Flow, now: float, key: Key) -> None:
        """RFC 3261 §9.2. A CANCEL must fit its INVITE in every respect to have an effect."""
        target = self._servers.get((*key[:-1], "INVITE"))
        reply = reply_flow(via, flow)
        fits = False
        if target is not None and target.request is not None:
            invite = target.request
            fits = (
                target.flow.remote[0] == reply.remote[0]
                and invite.call_id == request.call_id
                and invite.from_tag == request.from_tag
                and invite.to_tag == request.to_tag
                and invite.cseq[0] == request.cseq[0]
            )
        elif target is not None:
            # Answered already: a 200 without effect (§9.2).
            fits = target.flow.remote[0] == reply.remote[0]
        if not fits or target is None:
            # Without state, so that the sender of the INVITE can still cancel it.
            self.stats["stray"] += 1
            answer = response_for(request, 481, to_tag=self._token())
            self._out.append((reply, answer.serialize()))
            return
        txn = Transaction(key, _SERVER_OTHER, "trying", reply, request)
        self._servers[key] = txn
        if reply.connection:
            self._by_flow.setdefault(reply, set()).add(txn)
        self._step(txn, "success", now, response_for(request, 200, to_tag=self._token()))
        if target.state == "proceeding":
            self._events.append(CancelReceived(target.key, request))

    def _receive_response(self, response: Response, flow: Flow, now: float) -> None:
        self.stats["responses"] += 1
        branch = response.branch
        method = response.cseq[1]
        txn = self._clients.get((branch, method)) if branch else None
        status = response.status
        if txn is None:
            self.stats["stray"] += 1
            if method == "INVITE" and 200 <= status < 300:
                self._events.append(StraySuccess(response, flow))
            return
        event = "provisional" if status < 200 else "success" if status < 300 else "failure"
        self._step(txn, event, now, (response, flow))

    # Orders

    def respond(self, key: Key, response: Response, now: float) -> None:
        """Send a response on a server transaction; StateError when it is gone.

        A second final response is dropped, but a 2xx of an INVITE is sent again.
        """
        txn = self._servers.get(key)
        if txn is None:
            raise StateError("sip.txn.gone", "no such transaction")
        status = response.status
        event = "provisional" if status < 200 else "success" if status < 300 else "failure"
        self._step(txn, event, now, response)

    def respond_stateless(self, request: Request, response: Response, flow: Flow) -> None:
        """Answer without keeping anything (RFC 3261 §8.2.7)."""
        try:
            reply = reply_flow(request.via, flow)
        except ParseError:
            reply = flow
        self._out.append((reply, response.serialize()))

    def request(self, request: Request, flow: Flow, now: float) -> Key:
        """Put our Via on a request, send it and watch for its responses."""
        branch = self.add_via(request, flow)
        key: Key = (branch, request.method)
        self._start_client(key, request, flow, now)
        return key

    def add_via(self, request: Request, flow: Flow) -> str:
        """Put our Via with a new branch on a request; returns the branch."""
        branch = MAGIC_COOKIE + self._token()
        sent_by = self._sent_by.get(flow.transport)
        if sent_by is None:
            host, port = flow.local
            sent_by = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        # RFC 3581 §3
        request.prepend(
            "Via", f"SIP/2.0/{VIA_NAMES[flow.transport]} {sent_by};rport;branch={branch}"
        )
        return branch

    def _start_client(self, key: Key, request: Request, flow: Flow, now: float) -> None:
        invite = request.method == "INVITE"
        txn = Transaction(
            key,
            _CLIENT_INVITE if invite else _CLIENT_OTHER,
            "calling" if invite else "trying",
            flow,
            request,
        )
        txn.data = request.serialize()
        self._clients[key] = txn
        if flow.connection:
            self._by_flow.setdefault(flow, set()).add(txn)
        self._out.append((flow, txn.data))
        start = self.timers.start
        if not flow.reliable:
            txn.interval = self.t1
            txn.resend = start(now + self.t1, (self._step, txn, "resend"))
        txn.limit = start(now + 64 * self.t1, (self._step, txn, "limit"))

    def cancel(self, key: Key, now: float, headers: Iterable[tuple[str, str]] = ()) -> bool:
        """Send a CANCEL for an INVITE of ours, as soon as a provisional response allows it.

        False when a final response has come already or it is no INVITE. RFC 3261 §9.1.
        """
        txn = self._clients.get(key)
        if txn is None or txn.state not in ("calling", "proceeding") or key[1] != "INVITE":
            return False
        if txn.cancel is None:
            txn.cancel = tuple(headers)
            if txn.state == "proceeding":
                _send_cancel(self, txn, now, None)
        return True

    def restore_client(
        self, request: Request, flow: Flow, now: float, *, waiting: bool = False
    ) -> Key:
        """Go on waiting for the final response to an INVITE another process sent.

        `waiting`: no provisional response has come, so it times out.
        """
        key: Key = (request.via.branch or "", request.method)
        state = "calling" if waiting else "proceeding"
        txn = Transaction(key, _CLIENT_INVITE, state, flow, request)
        txn.data = request.serialize()
        self._clients[key] = txn
        if flow.connection:
            self._by_flow.setdefault(flow, set()).add(txn)
        if waiting:
            txn.limit = self.timers.start(now + 64 * self.t1, (self._step, txn, "limit"))
        return key

    def restore_server(self, key: Key, request: Request, flow: Flow) -> None:
        """Go on with a request another process received and did not answer finally.

        `key` and `request` must be as `RequestReceived` gave them. The replies go to `flow`, or
        where Via says, as they did there.
        """
        txn = Transaction(key, _SERVER_INVITE, "proceeding", reply_flow(request.via, flow), request)
        self._servers[key] = txn
        if txn.flow.connection:
            self._by_flow.setdefault(txn.flow, set()).add(txn)

    def flow_failed(self, flow: Flow, now: float) -> None:
        """The transport could not send on the flow, or its connection closed."""
        if flow.connection:
            broken = list(self._by_flow.get(flow, ()))
        else:
            broken = [txn for txn in self._clients.values() if txn.flow == flow]
        for txn in broken:
            self._step(txn, "transport-error", now, None)

    def flow_of(self, key: Key) -> Flow | None:
        """Where the responses of a server transaction go, None when it is gone."""
        txn = self._servers.get(key)
        return None if txn is None else txn.flow

    def request_of(self, key: Key) -> Request | None:
        """The request of a server transaction that has no final response yet."""
        txn = self._servers.get(key)
        return None if txn is None else txn.request

    def _step(self, txn: Transaction, event: str, now: float, detail: Any = None) -> None:
        if txn.state == "terminated":
            return
        txn.state, actions = txn.table[txn.state][event]
        for action in actions:
            action(self, txn, now, detail)

    def _forget(self, txn: Transaction) -> None:
        store = self._clients if len(txn.key) == 2 else self._servers
        if store.get(txn.key) is txn:
            del store[txn.key]
        if txn.merge is not None:
            self._merges.pop(txn.merge, None)
            txn.merge = None
        if txn.flow.connection:
            group = self._by_flow.get(txn.flow)
            if group is not None:
                group.discard(txn)
                if not group:
                    del self._by_flow[txn.flow]
        cancel = self.timers.cancel
        cancel(txn.resend)
        cancel(txn.limit)
        cancel(txn.linger)
        txn.request = txn.data = None


def _old_key(request: Request, via: Via, method: str) -> Key:
    """The key of a request without the magic cookie (RFC 3261 §17.2.3, RFC 2543)."""
    number = str(request.cseq[0])
    tag = request.from_tag or ""
    # The To tag of an ACK is that of our response, so it cannot be part of the key.
    name = "INVITE" if method == "ACK" else method
    return ("", str(via), request.uri, request.call_id, tag, number, name)


def reply_flow(via: Via, flow: Flow) -> Flow:
    """Where a response goes (RFC 3261 §18.2.2, RFC 3581 §4).

    `maddr` is not followed: it would let a stranger aim our answers at anybody.
    """
    if flow.transport != "udp" or "rport" in via.params:
        return flow
    port = via.port or 5060
    if port == flow.remote[1]:
        return flow
    return Flow("udp", flow.local, (flow.remote[0], port))


# The actions of the tables


def _stop(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    layer.timers.cancel(txn.resend)
    layer.timers.cancel(txn.limit)


def _pass_up(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    response, flow = detail
    layer._events.append(ResponseReceived(txn.key, response, flow))


def _pass_ack(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    request, flow = detail
    layer._events.append(AckReceived(request, flow))


def _send_cancel(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    if txn.cancel is None or txn.request is None:
        return
    invite = txn.request
    number, _ = invite.cseq
    headers = [("Via", str(invite.via))]
    headers += [("Route", route) for route in invite.get_all("Route")]
    headers += [
        ("Max-Forwards", "70"),
        ("From", invite.get("From") or ""),
        ("To", invite.get("To") or ""),
        ("Call-ID", invite.call_id),
        ("CSeq", f"{number} CANCEL"),
        *txn.cancel,
    ]
    request = Request("CANCEL", invite.uri, headers)
    layer._start_client((txn.key[0], "CANCEL"), request, txn.flow, now)
    # RFC 3261 §9.1: no final response 64*T1 after the CANCEL ends the INVITE.
    layer.timers.cancel(txn.limit)
    txn.limit = layer.timers.start(now + 64 * layer.t1, (layer._step, txn, "limit"))


def _send_ack(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    """RFC 3261 §17.1.1.3"""
    if txn.request is not None:
        invite = txn.request
        response: Response = detail[0]
        headers = [("Via", str(invite.via))]
        headers += [("Route", route) for route in invite.get_all("Route")]
        headers += [
            ("Max-Forwards", "70"),
            ("From", invite.get("From") or ""),
            ("To", response.get("To") or invite.get("To") or ""),
            ("Call-ID", invite.call_id),
            ("CSeq", f"{invite.cseq[0]} ACK"),
        ]
        txn.data = Request("ACK", invite.uri, headers).serialize()
        txn.request = None
    if txn.data is not None:
        layer._out.append((txn.flow, txn.data))


def _resend(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    if txn.data is not None:
        layer._out.append((txn.flow, txn.data))


def _again(layer: TransactionLayer, txn: Transaction, now: float, interval: float) -> None:
    txn.interval = interval
    txn.resend = layer.timers.start(now + interval, (layer._step, txn, "resend"))


def _double(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    _again(layer, txn, now, txn.interval * 2)


def _double_capped(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    _again(layer, txn, now, min(txn.interval * 2, layer.t2))


def _at_t2(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    _again(layer, txn, now, layer.t2)


def _time_out(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    layer._events.append(TransactionTimedOut(txn.key))
    layer._forget(txn)


def _fail(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    layer._events.append(TransportFailed(txn.key))
    layer._forget(txn)


def _forget(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    layer._forget(txn)


def _ended(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    layer._events.append(TransactionEnded(txn.key))


def _send(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    response: Response = detail
    data = response.serialize()
    layer._out.append((txn.flow, data))
    if response.status < 200:
        txn.data = data
        return
    txn.request = None
    if txn.merge is not None:
        layer._merges.pop(txn.merge, None)
        txn.merge = None
    # A 2xx to INVITE is repeated by the transaction's user.
    txn.data = None if txn.state == "accepted" else data


def _linger(seconds: Callable[[TransactionLayer], float]) -> Action:
    """An action that keeps a finished transaction: so long on UDP, not at all on a connection."""

    def act(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
        if txn.flow.transport != "udp":
            txn.state = "terminated"
            layer._forget(txn)
            return
        txn.linger = layer.timers.start(now + seconds(layer), (layer._step, txn, "linger"))

    return act


def _linger_accepted(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    """Timers L and M run on every transport (RFC 6026 §7.1, §8.4)."""
    txn.linger = layer.timers.start(now + 64 * layer.t1, (layer._step, txn, "linger"))


def _resend_g(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    if txn.flow.transport == "udp":
        _again(layer, txn, now, layer.t1)


def _limit_h(layer: TransactionLayer, txn: Transaction, now: float, detail: Any) -> None:
    txn.limit = layer.timers.start(now + 64 * layer.t1, (layer._step, txn, "limit"))


ACTIONS: Final[dict[str, Action]] = {
    "stop": _stop,
    "pass_up": _pass_up,
    "pass_ack": _pass_ack,
    "send_cancel": _send_cancel,
    "send_ack": _send_ack,
    "resend": _resend,
    "repeat": _resend,
    "double": _double,
    "double_capped": _double_capped,
    "at_t2": _at_t2,
    "time_out": _time_out,
    "fail": _fail,
    "forget": _forget,
    "ended": _ended,
    "send": _send,
    "linger_d": _linger(lambda layer: max(TIMER_D, 64 * layer.t1)),
    "linger_i": _linger(lambda layer: layer.t4),
    "linger_j": _linger(lambda layer: 64 * layer.t1),
    "linger_k": _linger(lambda layer: layer.t4),
    "linger_l": _linger_accepted,
    "linger_m": _linger_accepted,
    "resend_g": _resend_g,
    "limit_h": _limit_h,
}


def _compile(table: Table) -> Compiled:
    compiled: Compiled = {}
    for state, row in table.items():
        compiled[state] = {}
        for event, entry in row.items():
            target, *names = entry.split()
            compiled[state][event] = (target, tuple(ACTIONS[name] for name in names))
    return compiled


_CLIENT_INVITE: Final = _compile(CLIENT_INVITE)
_CLIENT_OTHER: Final = _compile(CLIENT_OTHER)
_SERVER_INVITE: Final = _compile(SERVER_INVITE)
_SERVER_OTHER: Final = _compile(SERVER_OTHER)
