"""The user agent's outgoing legs: INVITE to 200 or failure (RFC 3261 §13.2), forking, PRACK
(RFC 3262 §4), CANCEL (RFC 3261 §9.1)."""

from __future__ import annotations

from sip.core import session_timer
from sip.core.body import SDP, sdp_of
from sip.core.dialog import FIRST_CSEQ, Dialog, client_dialog
from sip.core.errors import ParseError, StateError
from sip.core.events import (
    LegAnswered,
    LegFailed,
    LegOfferAnswered,
    LegProvisional,
    OutgoingInvite,
)
from sip.core.flow import Flow
from sip.core.leg import Leg, Use
from sip.core.message import Request, Response
from sip.core.transaction import Key
from sip.core.ua_base import UaBase

#: the most early dialogs one INVITE may make by forking
MAX_FORKS = 32


class Outgoing(UaBase):
    """Outgoing legs."""

    def invite(self, leg: str, order: OutgoingInvite, *, now: float) -> None:
        """Send an INVITE; `LegProvisional`, then `LegAnswered` or `LegFailed` follow.

        Raises StateError when a leg of that name exists.
        """
        if leg in self._legs:
            raise StateError("sip.leg.exists", "a leg of that name exists")
        flow = order.flow
        tag = self._token()
        call_id = order.call_id or self._token()
        contact = self._contact(flow)
        config = self.config
        fields = [("Route", route) for route in order.route]
        fields += [
            ("Max-Forwards", str(order.max_forwards)),
            ("From", f"{order.from_};tag={tag}"),
            ("To", order.to),
            ("Call-ID", call_id),
            ("CSeq", f"{FIRST_CSEQ} INVITE"),
            # Without an offer a reliable response would need an answer in its PRACK.
            *self._capabilities(contact, reliable=order.sdp is not None),
            ("User-Agent", config.user_agent),
        ]
        if config.session_expires:
            fields.append(("Session-Expires", str(config.session_expires)))
            if config.min_se > session_timer.SMALLEST:
                fields.append(("Min-SE", str(config.min_se)))
        fields += order.headers
        if order.sdp is not None:
            fields.append(("Content-Type", SDP))
        request = Request("INVITE", order.request_uri, fields, order.sdp or b"")
        hosts = order.trusted_hosts
        if not self.config.strict_source:
            hosts = None
        subject = Leg(
            id=leg,
            role="uac",
            phase="inviting",
            call_id=call_id,
            local_tag=tag,
            flow=flow,
            contact=contact,
            hosts=None if hosts is None else frozenset((flow.remote[0], *hosts)),
            invite=request,
            offer_sent=order.sdp is not None,
            credentials=order.credentials,
            local_sdp=order.sdp,
        )
        self._legs[leg] = subject
        self._by_tag[tag] = subject
        use = Use("invite", request, flow, leg=subject, credentials=order.credentials)
        subject.invite_key = self._send_request(use, now)

    def cancel(self, leg: str, *, now: float, reason: str | None = None) -> None:
        """Give the INVITE up.

        The CANCEL goes out as soon as a provisional response has come. `LegFailed` follows: 487,
        also when a 200 crosses the CANCEL (the core then sends ACK and BYE).
        """
        subject = self._leg(leg, "inviting")
        if subject.cancelled:
            return
        subject.cancelled = True
        headers = [("Reason", reason)] if reason else []
        if subject.invite_key is not None:
            self.layer.cancel(subject.invite_key, now, headers)

    def ack(self, leg: str, *, now: float, sdp: bytes | None = None) -> None:
        """Acknowledge a 200 that carried the peer's offer, with our answer."""
        subject = self._leg(leg, "unacknowledged", "established")
        dialog = subject.dialog
        use = subject.pending
        if use is None or dialog is None or dialog.remote_tag not in use.acks:
            raise StateError("sip.leg.state", "nothing to acknowledge")
        subject.pending = None
        if sdp is not None:
            subject.local_sdp = sdp
        self._send_ack(use, dialog, dialog.remote_tag, sdp)
        subject.phase = "established"
        self._next_wish(subject, now)

    def _invite_response(
        self, use: Use, key: Key, response: Response, flow: Flow, now: float
    ) -> None:
        """A response to our INVITE. Raises ParseError."""
        leg = use.leg
        assert leg is not None
        status = response.status
        if status < 200:
            leg.proceeding = True
            if status > 100 and leg.phase == "inviting":
                self._invite_progress(use, leg, response, now)
        elif status < 300:
            self._invite_success(use, leg, response, now)
        else:
            del self._uses[key]
            self._invite_failure(use, leg, response, now)

    def _invite_progress(self, use: Use, leg: Leg, response: Response, now: float) -> None:
        tag = response.to_tag
        sdp = sdp_of(response)
        if tag:
            dialog = leg.early.get(tag)
            if dialog is None:
                if len(leg.early) >= MAX_FORKS:
                    return
                dialog = client_dialog(use.request, response, leg.contact, leg.flow)
                leg.early[tag] = dialog
            elif response.has("Contact"):
                dialog.refresh_target(response)
            if "100rel" in response.options("Require"):
                rseq = response.get_int("RSeq")
                if rseq is None:
                    raise ParseError("sip.parse.rseq", "no RSeq in a reliable response")
                last = leg.rseqs.get(tag)
                # RFC 3262 §4: neither a repetition nor one that overtook another.
                if last is not None and rseq != last + 1:
                    return
                leg.rseqs[tag] = rseq
                self._prack(use, leg, dialog, rseq, now)
        if not leg.cancelled:
            self._events.append(LegProvisional(leg.id, response.status, sdp, response))

    def _prack(self, invite: Use, leg: Leg, dialog: Dialog, rseq: int, now: float) -> None:
        headers = (("RAck", f"{rseq} {invite.request.cseq[0]} INVITE"),)
        request = dialog.next_request("PRACK", headers)
        use = Use("prack", request, dialog.flow, credentials=leg.credentials)
        self._send_request(use, now)

    def _invite_success(self, use: Use, leg: Leg, response: Response, now: float) -> None:
        tag = response.to_tag or ""
        if tag in use.acks:
            # A repetition: our ACK was lost (RFC 3261 §13.2.2.4).
            data = use.acks[tag]
            if data is not None:
                self.layer.send(use.flow, data)
            return
        dialog = leg.early.pop(tag, None)
        try:
            if dialog is None:
                dialog = client_dialog(use.request, response, leg.contact, leg.flow)
            else:
                dialog.confirm(response)
        except ParseError:
            # It must be acknowledged nevertheless; nobody can talk to such a peer.
            self._refuse_success(use, leg, response, now)
            return
        if leg.phase != "inviting" or leg.cancelled:
            # A 200 of another fork, or one that crossed our CANCEL.
            self._send_ack(use, dialog, tag)
            self._send_bye(dialog, leg, (), now)
            if leg.phase == "inviting":
                self._failed(leg, 487, "Request Terminated", None, now)
            return
        leg.dialog = dialog
        leg.early.clear()
        leg.rseqs.clear()
        leg.invite = None
        leg.peer_updates = "update" in response.options("Allow")
        sdp = sdp_of(response)
        if sdp is not None:
            leg.remote_sdp = sdp
        if leg.offer_sent or sdp is None:
            self._send_ack(use, dialog, tag)
            leg.phase = "established"
        else:
            use.acks[tag] = None
            leg.pending = use
            leg.phase = "unacknowledged"
        self._arm_session(
            leg, session_timer.as_client(response, self.config.session_expires), "uac", now
        )
        self._events.append(LegAnswered(leg.id, sdp, response))
        self._next_wish(leg, now)

    def _refuse_success(self, use: Use, leg: Leg, response: Response, now: float) -> None:
        """Acknowledge and end a dialog whose 200 is malformed."""
        invite = use.request
        dialog = Dialog(
            call_id=leg.call_id,
            local_tag=leg.local_tag,
            remote_tag=response.to_tag or "",
            local_address=(invite.get("From") or "").partition(";tag=")[0],
            remote_address=invite.get("To") or "",
            target=invite.uri,
            contact=leg.contact,
            flow=leg.flow,
            local_seq=invite.cseq[0],
        )
        self._send_ack(use, dialog, dialog.remote_tag)
        self._send_bye(dialog, leg, (), now)
        if leg.phase == "inviting":
            self._failed(leg, 502, "Malformed answer", response, now)

    def _invite_failure(self, use: Use, leg: Leg, response: Response, now: float) -> None:
        if leg.phase != "inviting":
            return
        if leg.cancelled:
            self._failed(leg, 487, "Request Terminated", response, now)
            return
        leg.early.clear()
        leg.rseqs.clear()
        if not self._retry(use, response, now):
            self._failed(leg, response.status, response.reason, response, now)

    def _failed(
        self, leg: Leg, status: int, reason: str, response: Response | None, now: float
    ) -> None:
        self._drop(leg, now)
        self._events.append(LegFailed(leg.id, status, reason, response))

    def _late_success(self, response: Response, now: float) -> None:
        """A 200 to a re-INVITE that another process sent before we took the leg over.

        Unless it is acknowledged the peer ends the call. Raises ParseError.
        """
        leg = self._by_tag.get(response.from_tag or "")
        if leg is None or leg.phase != "established" or leg.dialog is None:
            return
        dialog = leg.dialog
        number = response.cseq[0]
        if (
            response.call_id != dialog.call_id
            or (response.to_tag or "") != dialog.remote_tag
            or number > dialog.local_seq
        ):
            return
        ack = dialog.next_request("ACK", cseq=number)
        self.layer.add_via(ack, dialog.flow)
        self.layer.send(dialog.flow, ack.serialize())
        sdp = sdp_of(response)
        if sdp is not None and sdp != leg.remote_sdp:
            leg.remote_sdp = sdp
            self._events.append(LegOfferAnswered(leg.id, sdp))

    def _next_wish(self, leg: Leg, now: float) -> None:
        raise NotImplementedError
