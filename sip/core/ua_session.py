"""The user agent's established legs: re-INVITE and UPDATE with glare (RFC 3261 §14, RFC 3311),
BYE, session refreshes (RFC 4028), other requests in the dialog."""

from __future__ import annotations

from sip.core import session_timer
from sip.core.body import SDP, acceptable, sdp_of
from sip.core.errors import StateError
from sip.core.events import (
    Headers,
    LegCancelled,
    LegEnded,
    LegOfferAnswered,
    LegOfferFailed,
    LegReinvited,
    LegRequest,
    Txn,
)
from sip.core.flow import Flow
from sip.core.leg import Leg, SessionState, Use, Wish
from sip.core.message import Request, Response, response_for
from sip.core.transaction import Key
from sip.core.ua_base import RETRY_LATER, Pairs
from sip.core.ua_incoming import Incoming, _session_fields
from sip.core.ua_outgoing import Outgoing

#: how often a re-INVITE is tried again after 491
MAX_GLARES = 8
#: how long a re-INVITE may wait for its final answer; as timer C of RFC 3261 §16.6
OFFER_SECONDS = 180.0


class Established(Incoming, Outgoing):
    """Established legs."""

    # Our changes

    def reinvite(self, leg: str, sdp: bytes | None, *, now: float) -> None:
        """Change the session by re-INVITE; None asks the peer for its offer.

        `LegOfferAnswered` or `LegOfferFailed` follows. While another change is under way this
        one waits; a later call replaces one that waits. Glare (491) is tried again by the core.
        """
        self._wish(self._changeable(leg), Wish("INVITE", sdp), now)

    def update(self, leg: str, sdp: bytes | None, *, now: float) -> None:
        """Change the session by UPDATE (by re-INVITE if the peer does not allow that).

        Without `sdp` it only refreshes the session.
        """
        subject = self._changeable(leg)
        if subject.peer_updates:
            self._wish(subject, Wish("UPDATE", sdp), now)
        else:
            self._wish(subject, Wish("INVITE", sdp or subject.local_sdp), now)

    def _changeable(self, leg: str) -> Leg:
        return self._leg(leg, "established", "answered", "unacknowledged")

    def _wish(self, leg: Leg, wish: Wish, now: float) -> None:
        leg.wish = wish
        self._next_wish(leg, now)

    def _next_wish(self, leg: Leg, now: float) -> None:
        """Send what waits if the session is free for it."""
        if (
            leg.wish is None
            or leg.phase != "established"
            or leg.pending is not None
            or leg.remote_key is not None
            or leg.answer is not None
            or (leg.glare_timer is not None and leg.glare_timer.payload is not None)
        ):
            return
        wish, leg.wish = leg.wish, None
        self._send_offer(leg, wish, now)

    def _send_offer(self, leg: Leg, wish: Wish, now: float) -> None:
        dialog = leg.dialog
        assert dialog is not None
        fields = self._capabilities(leg.contact, reliable=False)
        fields.append(("User-Agent", self.config.user_agent))
        session = leg.session
        if session is not None:
            # The refresher keeps its part, whoever sends this request (RFC 4028 §7.4).
            who = "uac" if session.local else "uas"
            fields.append(("Session-Expires", f"{session.interval};refresher={who}"))
        request = dialog.next_request(
            wish.method,
            tuple(fields),
            wish.sdp or b"",
            content_type=SDP if wish.sdp else None,
        )
        use = Use("offer", request, dialog.flow, leg=leg, credentials=leg.credentials, wish=wish)
        leg.pending = use
        self._send_request(use, now)
        if wish.method == "INVITE":
            leg.pending_timer = self.timers.start(
                now + OFFER_SECONDS, (self._offer_overdue, leg, use)
            )

    def _offer_overdue(self, leg: Leg, use: Use, now: float) -> None:
        """A re-INVITE that rings for ever must not block the session for ever."""
        if leg.pending is use:
            self.layer.cancel(use.key, now)

    def _offer_response(self, use: Use, key: Key, response: Response, now: float) -> None:
        """A response to our re-INVITE or UPDATE. Raises ParseError."""
        leg, wish = use.leg, use.wish
        assert leg is not None
        assert wish is not None
        status = response.status
        if status < 200:
            return
        dialog = leg.dialog
        assert dialog is not None
        invite = wish.method == "INVITE"
        if status < 300:
            tag = dialog.remote_tag
            if tag in use.acks:
                data = use.acks[tag]
                if data is not None:
                    self.layer.send(dialog.flow, data)
                return
            if not invite:
                del self._uses[key]
            self._offer_success(use, leg, wish, response, now)
            return
        del self._uses[key]
        if leg.pending is not use:
            return
        if self._retry(use, response, now):
            return
        leg.pending = None
        self._offer_failure(leg, wish, status, now)

    def _offer_success(
        self, use: Use, leg: Leg, wish: Wish, response: Response, now: float
    ) -> None:
        dialog = leg.dialog
        assert dialog is not None
        self.timers.cancel(leg.pending_timer)
        invite = wish.method == "INVITE"
        sdp = sdp_of(response)
        if leg.phase != "gone":
            dialog.refresh_target(response)
        needs_ack = invite and wish.sdp is None and sdp is not None and leg.phase != "gone"
        if needs_ack:
            use.acks[dialog.remote_tag] = None
        elif invite:
            self._send_ack(use, dialog, dialog.remote_tag)
        if leg.phase == "gone":
            return
        if not needs_ack:
            leg.pending = None
        if wish.sdp is not None:
            leg.local_sdp = wish.sdp
        changed = sdp is not None and sdp != leg.remote_sdp
        if sdp is not None:
            leg.remote_sdp = sdp
        self._arm_session(
            leg, session_timer.as_client(response, self.config.session_expires), "uac", now
        )
        if not wish.refresh or changed:
            self._events.append(LegOfferAnswered(leg.id, sdp, needs_ack))
        self._next_wish(leg, now)

    def _offer_failure(self, leg: Leg, wish: Wish, status: int, now: float) -> None:
        self.timers.cancel(leg.pending_timer)
        if status in (408, 481):
            # RFC 3261 §12.2.1.2
            self._end(leg, "lost", now, status=status, bye=())
            return
        if status == 491 and wish.glares < MAX_GLARES:
            self.stats["glare"] += 1
            wish.glares += 1
            if leg.wish is None:
                leg.wish = wish
            # RFC 3261 §14.1, in units of 10 ms
            chance = self._chance()
            wait = 2.1 + 1.9 * chance if leg.role == "uac" else 2.0 * chance
            leg.glare_timer = self.timers.start(now + round(wait, 2), (self._fire_glare, leg, wish))
            return
        if wish.method == "UPDATE" and status in (405, 501):
            leg.peer_updates = False
            self._wish(leg, Wish("INVITE", wish.sdp or leg.local_sdp, wish.refresh), now)
            return
        if wish.refresh:
            self._refresh_later(leg, now)
        else:
            self._events.append(LegOfferFailed(leg.id, status))
        self._next_wish(leg, now)

    def _fire_glare(self, leg: Leg, wish: Wish, now: float) -> None:
        leg.glare_timer = None
        self._next_wish(leg, now)

    # The session timer

    def _fire_session(self, leg: Leg, session: SessionState, now: float) -> None:
        if leg.session is not session or leg.phase not in ("established", "answered"):
            return
        if not session.local or now >= session.expires:
            self.stats["expired"] += 1
            reason = (("Reason", 'SIP ;cause=408 ;text="Session expired"'),)
            self._end(leg, "timeout", now, status=408, bye=reason)
            return
        self.stats["refreshes"] += 1
        session.due = session.expires
        self._start_session_timer(leg)
        if leg.pending is not None or leg.wish is not None:
            # A change is under way and refreshes as well.
            return
        if leg.peer_updates:
            self._wish(leg, Wish("UPDATE", None, refresh=True), now)
        else:
            self._wish(leg, Wish("INVITE", leg.local_sdp, refresh=True), now)

    def _refresh_later(self, leg: Leg, now: float) -> None:
        """The peer did not take a refresh: try again before the session expires."""
        session = leg.session
        if session is None:
            return
        self.timers.cancel(leg.session_timer)
        session.due = min(session.expires, now + max(5.0, (session.expires - now) / 2))
        self._start_session_timer(leg)

    # The peer's changes

    def _reinvited(self, leg: Leg, key: Key, request: Request, flow: Flow, now: float) -> None:
        """A re-INVITE or UPDATE of the peer. Raises ParseError."""
        invite = request.method == "INVITE"
        sdp = sdp_of(request)
        later = [("Retry-After", RETRY_LATER)]
        if leg.phase == "closing" or (invite and leg.phase not in ("established", "answered")):
            self._answer(key, request, 500, now, headers=later)
            return
        if sdp is None and not acceptable(request):
            self._answer(key, request, 415, now, headers=[("Accept", SDP)])
            return
        if session_timer.too_small(request, self.config.min_se):
            least = str(self.config.min_se)
            self._answer(key, request, 422, now, headers=[("Min-SE", least)])
            return
        if invite or sdp is not None:
            if leg.pending is not None or (not leg.dialog and leg.offer_sent):
                # RFC 3261 §14.2, RFC 3311 §5.2
                self.stats["glare"] += 1
                self._answer(key, request, 491, now)
                return
            if leg.remote_key is not None or leg.answer is not None or leg.phase == "invited":
                self._answer(key, request, 500, now, headers=later)
                return
        leg.remote_request, leg.remote_key = request, key
        if not invite and sdp is None:
            self._accept_offer(leg, None, now)
            return
        if invite:
            self._by_invite[key] = leg
            self.layer.respond(key, response_for(request, 100), now)
        leg.reply_flow = flow
        self._events.append(LegReinvited(leg.id, sdp, key, request))

    def accept_offer(self, leg: str, sdp: bytes | None, *, now: float) -> None:
        """Answer `LegReinvited` with 200: our answer, or our offer if the request had none.

        In the latter case `LegOfferAnswered` follows with the answer.
        """
        self._accept_offer(self._asked(leg), sdp, now)

    def _asked(self, leg: str) -> Leg:
        subject = self._changeable(leg)
        if subject.remote_key is None:
            raise StateError("sip.leg.state", "the peer asks for no change")
        return subject

    def _accept_offer(self, leg: Leg, sdp: bytes | None, now: float) -> None:
        key, request, dialog = leg.remote_key, leg.remote_request, leg.dialog
        assert key is not None
        assert request is not None
        leg.remote_key = leg.remote_request = leg.reply_flow = None
        self._by_invite.pop(key, None)
        wish = leg.session.interval if leg.session else self.config.session_expires
        session = session_timer.as_server(request, wish, self.config.min_se)
        fields = [*self._capabilities(leg.contact), *_session_fields(session)]
        if dialog is not None:
            dialog.refresh_target(request)
        theirs = sdp_of(request)
        if theirs is not None:
            leg.remote_sdp = theirs
        if sdp is not None:
            leg.local_sdp = sdp
        if request.has("Allow"):
            leg.peer_updates = "update" in request.options("Allow")
        if request.method == "INVITE":
            offered = theirs is None and sdp is not None
            self._send_answer(leg, key, request, sdp, fields, offered, now)
        else:
            response = response_for(
                request,
                200,
                to_tag=leg.local_tag,
                headers=fields,
                body=sdp or b"",
                content_type=SDP if sdp else None,
            )
            self.layer.respond(key, response, now)
        if leg.phase in ("established", "answered"):
            self._arm_session(leg, session, "uas", now)
        self._next_wish(leg, now)

    def reject_offer(self, leg: str, status: int, *, now: float) -> None:
        """Refuse `LegReinvited` (488, 491, …); the session goes on as it was."""
        if not 300 <= status < 700:
            raise ValueError("a rejection is between 300 and 699")
        subject = self._asked(leg)
        self._refuse_remote(subject, status, now)
        self._next_wish(subject, now)

    # The end

    def bye(self, leg: str, *, now: float, reason: str | None = None, headers: Pairs = ()) -> None:
        """End an established leg. `LegEnded(by="local")` follows at once; the core sees the BYE
        through. `reason` is the value of a Reason header (RFC 3326)."""
        subject = self._changeable(leg)
        fields: Headers = (*((("Reason", reason),) if reason else ()), *headers)
        if subject.phase == "unacknowledged" and subject.dialog is not None:
            # RFC 3261 §13.2.2.4: an unacceptable offer is acknowledged, then ended.
            use = subject.pending
            if use is not None:
                subject.pending = None
                self._send_ack(use, subject.dialog, subject.dialog.remote_tag)
        if subject.phase == "answered":
            # RFC 3261 §15: the called side waits for the ACK.
            subject.phase = "closing"
            subject.bye_headers = fields
            self._events.append(LegEnded(subject.id, "local"))
            del self._legs[subject.id]
            self.timers.cancel(subject.session_timer)
            return
        self._end(subject, "local", now, bye=fields)

    def _byed(self, leg: Leg, key: Key, request: Request, now: float) -> None:
        if leg.phase == "inviting":
            # Only the caller may end an early dialog by BYE (RFC 3261 §15).
            self._answer(key, request, 481, now)
            return
        self._answer(key, request, 200, now)
        if leg.phase == "invited":
            self._final(leg, 487, None, (), now)
            self._events.append(LegCancelled(leg.id, request.get("Reason")))
        elif leg.phase == "closing":
            self._drop(leg, now)
        else:
            self._end(leg, "remote", now, reason=request.get("Reason"))

    # Other requests

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
        subject = self._leg(leg, "established", "answered")
        dialog = subject.dialog
        assert dialog is not None
        fields = (
            ("Contact", f"<{subject.contact}>"),
            ("User-Agent", self.config.user_agent),
            *headers,
        )
        request = dialog.next_request(method, fields, body, content_type=content_type)
        use = Use("request", request, dialog.flow, leg=subject, credentials=subject.credentials)
        use.public = self._send_request(use, now)
        return use.public

    def _requested(self, leg: Leg, key: Key, request: Request, now: float) -> None:
        if request.method == "OPTIONS":
            headers = [*self._capabilities(leg.contact), ("Accept", SDP)]
            self._answer(key, request, 200, now, headers=headers)
        else:
            self._events.append(LegRequest(leg.id, key, request))
