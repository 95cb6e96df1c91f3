"""The user agent's incoming legs: INVITE to ACK (RFC 3261 §13.3), reliable provisional responses
(RFC 3262 §3), CANCEL."""

from __future__ import annotations

from sip.core import session_timer
from sip.core.body import SDP, sdp_of
from sip.core.dialog import server_dialog
from sip.core.errors import ParseError
from sip.core.events import (
    LegCancelled,
    LegConfirmed,
    LegFailed,
    LegInvited,
    LegOfferAnswered,
    LegOfferCancelled,
    LegPracked,
)
from sip.core.flow import Flow
from sip.core.leg import AnswerState, Leg, Reliable
from sip.core.message import Request, response_for
from sip.core.transaction import Key
from sip.core.ua_base import Pairs, UaBase


class Incoming(UaBase):
    """Incoming legs."""

    def _invited(self, key: Key, request: Request, flow: Flow, now: float) -> None:
        """A new INVITE without To tag. Raises ParseError (400)."""
        if session_timer.too_small(request, self.config.min_se):
            self._answer(key, request, 422, now, headers=[("Min-SE", str(self.config.min_se))])
            return
        contact = self._contact(flow)
        tag = self._token()
        dialog = server_dialog(request, tag, contact, flow)
        sdp = sdp_of(request)
        leg = Leg(
            id=self._token(),
            role="uas",
            phase="invited",
            call_id=dialog.call_id,
            local_tag=tag,
            flow=flow,
            contact=contact,
            hosts=frozenset((flow.remote[0],)) if self.config.strict_source else None,
            dialog=dialog,
            invite=request,
            invite_key=key,
            remote_sdp=sdp,
            peer_updates="update" in request.options("Allow"),
        )
        self._legs[leg.id] = leg
        self._by_tag[tag] = leg
        self._by_invite[key] = leg
        self.layer.respond(key, response_for(request, 100), now)
        self._events.append(LegInvited(leg.id, request, flow, sdp))

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
        """Send a provisional response (101 to 199).

        `reliable`: True sends it reliably if the peer can (RFC 3262; `LegPracked` follows), None
        only if the peer requires it. While one reliable response waits for its PRACK, further
        reliable ones queue up.
        """
        if not 100 < status < 200:
            raise ValueError("a provisional status is between 101 and 199")
        subject = self._leg(leg, "invited")
        invite = subject.invite
        assert invite is not None
        required = "100rel" in invite.options("Require")
        if required or (reliable and "100rel" in invite.options("Supported")):
            if subject.reliable is not None:
                subject.reliable_queue.append((status, sdp, tuple(headers)))
            else:
                self._send_reliable(subject, status, sdp, headers, now)
            return
        self._send_provisional(subject, status, sdp, headers, now)

    def _send_provisional(
        self, leg: Leg, status: int, sdp: bytes | None, headers: Pairs, now: float
    ) -> bytes:
        assert leg.invite is not None
        assert leg.invite_key is not None
        response = response_for(
            leg.invite,
            status,
            to_tag=leg.local_tag,
            headers=[*self._capabilities(leg.contact), *headers],
            body=sdp or b"",
            content_type=SDP if sdp else None,
        )
        if sdp:
            leg.local_sdp = sdp
        self.layer.respond(leg.invite_key, response, now)
        return response.serialize()

    def _send_reliable(
        self, leg: Leg, status: int, sdp: bytes | None, headers: Pairs, now: float
    ) -> None:
        if not leg.last_rseq:
            # RFC 3262 §3: the first number is chosen at random.
            leg.last_rseq = int(self._chance() * 2**30)
        leg.last_rseq += 1
        fields = [("Require", "100rel"), ("RSeq", str(leg.last_rseq)), *headers]
        data = self._send_provisional(leg, status, sdp, fields, now)
        t1 = self.config.t1
        waiting = Reliable(leg.last_rseq, data, sdp is not None, now + 64 * t1, t1)
        leg.reliable = waiting
        leg.reliable_timer = self.timers.start(now + t1, (self._repeat_reliable, leg, waiting))

    def _repeat_reliable(self, leg: Leg, waiting: Reliable, now: float) -> None:
        if leg.reliable is not waiting or leg.invite_key is None:
            return
        if now >= waiting.until:
            # RFC 3262 §3: no PRACK ends the request with a 5xx.
            self._final(leg, 504, None, (), now)
            self._events.append(LegFailed(leg.id, 504, "No PRACK"))
            return
        flow = self.layer.flow_of(leg.invite_key)
        if flow is not None:
            self.layer.send(flow, waiting.data)
        waiting.interval *= 2
        leg.reliable_timer = self.timers.start(
            min(now + waiting.interval, waiting.until), (self._repeat_reliable, leg, waiting)
        )

    def _pracked(self, leg: Leg, key: Key, request: Request, now: float) -> None:
        """RFC 3262 §3. Raises ParseError."""
        waiting = leg.reliable
        parts = (request.get("RAck") or "").split()
        if len(parts) != 3 or not all(p.isdecimal() and p.isascii() for p in parts[:2]):
            raise ParseError("sip.parse.rack", "malformed RAck")
        invite = leg.invite
        if (
            waiting is None
            or invite is None
            or parts[0].lstrip("0") != str(waiting.rseq)
            or (int(parts[1][:12]), parts[2]) != invite.cseq
        ):
            self._answer(key, request, 481, now)
            return
        sdp = sdp_of(request)
        if sdp is not None and leg.remote_sdp is not None:
            # A new offer in PRACK is not supported; the session goes on as negotiated.
            self._answer(key, request, 488, now)
            return
        self.timers.cancel(leg.reliable_timer)
        leg.reliable = None
        if sdp is not None:
            leg.remote_sdp = sdp
        self._answer(key, request, 200, now)
        self._events.append(LegPracked(leg.id, sdp))
        if leg.reliable_queue:
            status, queued, headers = leg.reliable_queue.pop(0)
            self._send_reliable(leg, status, queued, headers, now)
        elif leg.accept_later is not None:
            later, fields = leg.accept_later
            leg.accept_later = None
            self._accept(leg, later, fields, now)

    def accept(self, leg: str, sdp: bytes | None, *, now: float, headers: Pairs = ()) -> None:
        """Answer 200, repeated until its ACK; `LegConfirmed` or `LegFailed` follows.

        While a reliable provisional response with SDP waits for its PRACK, the 200 waits too
        (RFC 3262 §3).
        """
        subject = self._leg(leg, "invited")
        if subject.reliable is not None and subject.reliable.has_sdp:
            subject.accept_later = (sdp, tuple(headers))
            subject.reliable_queue.clear()
            return
        self._accept(subject, sdp, headers, now)

    def _accept(self, leg: Leg, sdp: bytes | None, headers: Pairs, now: float) -> None:
        invite, key, dialog = leg.invite, leg.invite_key, leg.dialog
        assert invite is not None
        assert key is not None
        assert dialog is not None
        session = session_timer.as_server(invite, self.config.session_expires, self.config.min_se)
        fields = [*self._capabilities(leg.contact), ("Server", self.config.user_agent)]
        fields += _session_fields(session)
        fields += headers
        offered = leg.remote_sdp is None and sdp is not None
        if sdp is not None:
            leg.local_sdp = sdp
        self._send_answer(leg, key, invite, sdp, fields, offered, now)
        leg.phase = "answered"
        dialog.state = "confirmed"
        leg.invite = None
        self._by_invite.pop(key, None)
        self.timers.cancel(leg.reliable_timer)
        leg.reliable = None
        leg.reliable_queue.clear()
        self._arm_session(leg, session, "uas", now)

    def _send_answer(
        self,
        leg: Leg,
        key: Key,
        request: Request,
        sdp: bytes | None,
        fields: Pairs,
        offered: bool,
        now: float,
    ) -> None:
        """Answer an INVITE 200 and repeat it until its ACK comes."""
        response = response_for(
            request,
            200,
            to_tag=leg.local_tag,
            headers=fields,
            body=sdp or b"",
            content_type=SDP if sdp else None,
        )
        leg.reply_flow = self.layer.flow_of(key)
        self.layer.respond(key, response, now)
        t1 = self.config.t1
        leg.answer = AnswerState(response.serialize(), request.cseq[0], offered, now + 64 * t1, t1)
        self.timers.cancel(leg.answer_timer)
        leg.answer_timer = self.timers.start(now + t1, (self._repeat_answer, leg, leg.answer))

    def _repeat_answer(self, leg: Leg, answer: AnswerState, now: float) -> None:
        """RFC 3261 §13.3.1.4: on every transport, as the next hop may be UDP."""
        if leg.answer is not answer:
            return
        if now >= answer.until:
            leg.answer = None
            if leg.phase == "established":
                self._end(leg, "lost", now, status=408, bye=())
                return
            closing = leg.phase == "closing"
            if leg.dialog is not None:
                self._send_bye(leg.dialog, leg, leg.bye_headers, now)
            self._drop(leg, now)
            if not closing:
                self._events.append(LegFailed(leg.id, 408, "No ACK"))
            return
        if leg.reply_flow is not None:
            self.layer.send(leg.reply_flow, answer.data)
        answer.interval = min(answer.interval * 2, self.config.t2)
        leg.answer_timer = self.timers.start(
            min(now + answer.interval, answer.until), (self._repeat_answer, leg, answer)
        )

    def _acknowledged(self, leg: Leg, request: Request, now: float) -> None:
        """The ACK of our 200. Raises ParseError."""
        answer = leg.answer
        if answer is None or request.cseq[0] != answer.cseq:
            return
        sdp = sdp_of(request)
        self.timers.cancel(leg.answer_timer)
        leg.answer = leg.answer_timer = leg.reply_flow = None
        if sdp is not None and answer.offered:
            leg.remote_sdp = sdp
        if leg.phase == "closing":
            if leg.dialog is not None:
                self._send_bye(leg.dialog, leg, leg.bye_headers, now)
            self._drop(leg, now)
        elif leg.phase == "answered":
            leg.phase = "established"
            self._events.append(LegConfirmed(leg.id, sdp if answer.offered else None))
            self._next_wish(leg, now)
        else:
            if answer.offered:
                self._events.append(LegOfferAnswered(leg.id, sdp))
            self._next_wish(leg, now)

    def reject(
        self,
        leg: str,
        status: int,
        reason: str | None = None,
        *,
        now: float,
        headers: Pairs = (),
    ) -> None:
        """Answer 300 to 699; the leg is gone, no event follows."""
        if not 300 <= status < 700:
            raise ValueError("a rejection is between 300 and 699")
        self._final(self._leg(leg, "invited"), status, reason, headers, now)

    def _final(self, leg: Leg, status: int, reason: str | None, headers: Pairs, now: float) -> None:
        """Refuse an unanswered incoming leg and forget it."""
        if leg.invite is not None and leg.invite_key is not None:
            self._answer(
                leg.invite_key,
                leg.invite,
                status,
                now,
                reason=reason,
                to_tag=leg.local_tag,
                headers=headers,
            )
        self._drop(leg, now)

    def _cancelled(self, key: Key, request: Request, now: float) -> None:
        """A CANCEL that fits an INVITE without final answer."""
        leg = self._by_invite.get(key)
        if leg is None:
            return
        if leg.phase == "invited" and leg.invite_key == key:
            self._final(leg, 487, None, (), now)
            self._events.append(LegCancelled(leg.id, request.get("Reason")))
        elif leg.remote_key == key:
            self._refuse_remote(leg, 487, now)
            self._events.append(LegOfferCancelled(leg.id))
            self._next_wish(leg, now)

    def _next_wish(self, leg: Leg, now: float) -> None:
        raise NotImplementedError


def _session_fields(session: session_timer.Session | None) -> list[tuple[str, str]]:
    """The session timer's headers of a 2xx (RFC 4028 §9)."""
    if session is None:
        return []
    fields = [("Session-Expires", session_timer.header(session))]
    if session.refresher == "uac":
        fields.append(("Require", "timer"))
    return fields
