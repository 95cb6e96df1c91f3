"""What the parts of the user agent share: the legs' registry, sending, credentials, endings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Literal

from sip.core import digest, session_timer
from sip.core.dialog import Dialog
from sip.core.errors import ParseError, StateError
from sip.core.events import EndedBy, Headers, LegEnded, UaConfig, UaEvent
from sip.core.flow import Flow
from sip.core.leg import Leg, Phase, SessionState, Use
from sip.core.message import Request, Response, response_for
from sip.core.timers import TimerWheel
from sip.core.transaction import Key, TransactionLayer

Pairs = Iterable[tuple[str, str]]

#: Seconds after which a peer may try again what we cannot take now (RFC 3261 §14.2: 0 to 10).
RETRY_LATER = "2"

#: addresses of our own whose Contact URI is kept; connections we opened have one each
_MAX_CONTACTS = 256


class UaBase:
    """The user agent's state and what every part needs."""

    def __init__(self, config: UaConfig, token: Callable[[], str]) -> None:
        self.config = config
        self._token = token
        self.timers = TimerWheel()
        self.layer = TransactionLayer(
            token,
            t1=config.t1,
            t2=config.t2,
            t4=config.t4,
            sent_by=config.sent_by,
            max_transactions=config.max_transactions,
            retry_after=config.retry_after,
            timers=self.timers,
        )
        self._legs: dict[str, Leg] = {}
        #: legs by our tag, which is unguessable and unique
        self._by_tag: dict[str, Leg] = {}
        #: legs by the INVITE of the peer that waits for an answer, for CANCEL
        self._by_invite: dict[Key, Leg] = {}
        self._uses: dict[Key, Use] = {}
        self._events: list[UaEvent] = []
        self._contacts = dict(config.contacts)
        #: Contact URIs made of our own addresses
        self._own_contacts: dict[tuple[str, tuple[str, int]], str] = {}
        self._allow = ", ".join(config.allow)
        self._supported = ", ".join(config.supported)
        self._supported_no_rel = ", ".join(tag for tag in config.supported if tag != "100rel")
        self._supported_set = {tag.lower() for tag in config.supported}
        self._register_options = self._supported_set | set(config.register_options)
        #: counts since the start, with the transaction layer's
        self.stats = self.layer.stats
        for name in ("hijack", "out_of_order", "glare", "refreshes", "expired"):
            self.stats[name] = 0

    def _leg(self, name: str, *phases: Phase) -> Leg:
        leg = self._legs.get(name)
        if leg is None:
            raise StateError("sip.leg.gone", "no such leg")
        if leg.phase not in phases:
            raise StateError("sip.leg.state", f"not possible while {leg.phase}")
        return leg

    def _chance(self) -> float:
        """A number from 0 to 1 from the token source."""
        mixed = hashlib.blake2b(self._token().encode(), digest_size=4).digest()
        return int.from_bytes(mixed, "big") / 2**32

    def _contact(self, flow: Flow) -> str:
        """Our Contact URI on a flow."""
        uri = self._contacts.get(flow.transport)
        if uri is not None:
            return uri
        place = (flow.transport, flow.local)
        uri = self._own_contacts.get(place)
        if uri is None:
            host, port = flow.local
            if ":" in host:
                host = f"[{host}]"
            suffix = "" if flow.transport == "udp" else f";transport={flow.transport}"
            uri = f"sip:{host}:{port}{suffix}"
            if len(self._own_contacts) < _MAX_CONTACTS:
                self._own_contacts[place] = uri
        return uri

    def _capabilities(self, contact: str, *, reliable: bool = True) -> list[tuple[str, str]]:
        """The headers that every message which makes or refreshes a dialog carries."""
        return [
            ("Contact", f"<{contact}>"),
            ("Allow", self._allow),
            ("Supported", self._supported if reliable else self._supported_no_rel),
        ]

    # Sending

    def _send_request(self, use: Use, now: float, headers: Headers = ()) -> Key:
        """Send the request of a use and watch for its responses."""
        for name, value in headers:
            use.request.set(name, value)
        key = self.layer.request(use.request, use.flow, now)
        self._uses[key] = use
        use.key = key
        return key

    def _send_ack(
        self,
        use: Use,
        dialog: Dialog,
        tag: str,
        sdp: bytes | None = None,
    ) -> None:
        """Acknowledge a 2xx and keep the ACK for its repetitions (RFC 3261 §13.2.2.4)."""
        headers = tuple(
            (name, value)
            for name in ("Authorization", "Proxy-Authorization")
            for value in use.request.get_all(name)
        )
        ack = dialog.next_request(
            "ACK",
            headers,
            sdp or b"",
            content_type="application/sdp" if sdp else None,
            cseq=use.request.cseq[0],
        )
        self.layer.add_via(ack, dialog.flow)
        data = ack.serialize()
        use.acks[tag] = data
        self.layer.send(dialog.flow, data)

    def _send_bye(self, dialog: Dialog, leg: Leg, headers: Headers, now: float) -> None:
        request = dialog.next_request("BYE", (("User-Agent", self.config.user_agent), *headers))
        use = Use("bye", request, dialog.flow, credentials=leg.credentials)
        self._send_request(use, now)

    def _answer(
        self,
        key: Key,
        request: Request,
        status: int,
        now: float,
        *,
        reason: str | None = None,
        to_tag: str | None = None,
        headers: Pairs = (),
    ) -> None:
        response = response_for(
            request, status, reason, to_tag=to_tag or self._token(), headers=headers
        )
        self.layer.respond(key, response, now)

    def _retry(self, use: Use, response: Response, now: float) -> bool:
        """Send a request again with credentials (RFC 3261 §22) or a longer session (RFC 4028
        §7.3); False when that is not possible."""
        request = use.request.copy()
        status = response.status
        if status in (401, 407):
            if use.credentials is None:
                return False
            name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
            challenges = self._challenges(use, response, name)
            user, password = use.credentials
            value = digest.authorize(
                challenges,
                request.method,
                request.uri,
                user,
                password,
                1,
                self._token(),
                request.body,
            )
            if value is None:
                return False
            request.set("Authorization" if status == 401 else "Proxy-Authorization", value)
        elif status == 422:
            least = response.get_int("Min-SE")
            asked = session_timer.requested(request)
            if least is None or asked is None or asked[0] >= least or least > 86_400:
                return False
            suffix = f";refresher={asked[1]}" if asked[1] else ""
            request.set("Session-Expires", f"{least}{suffix}")
            request.set("Min-SE", str(least))
        else:
            return False
        number, method = request.cseq
        number += 1
        leg = use.leg
        if leg is not None and leg.dialog is not None:
            leg.dialog.local_seq += 1
            number = leg.dialog.local_seq
        request.remove("Via")
        request.set("CSeq", f"{number} {method}")
        use.request = request
        key = self._send_request(use, now)
        if use.kind == "invite" and leg is not None:
            leg.invite, leg.invite_key = request, key
            leg.proceeding = False
        return True

    @staticmethod
    def _challenges(use: Use, response: Response, name: str) -> list[str]:
        """The challenges of a response if answering them makes sense: the first ones, or new ones
        because the nonce was stale (RFC 7616 §3.3). Otherwise the password is wrong."""
        values = response.get_all(name)
        nonces: set[str] = set()
        stale = False
        for value in values:
            try:
                _, params = digest.parse_auth(value)
            except ParseError:
                continue
            nonces.add(f"{name} {params.get('nonce', '')}")
            stale = stale or params.get("stale", "").lower() == "true"
        again = any(known.startswith(name) for known in use.tried)
        if not nonces or nonces <= use.tried or (again and not stale) or len(use.tried) > 8:
            return []
        use.tried |= nonces
        return values

    # Ending

    def _drop(self, leg: Leg, now: float) -> None:
        """Forget a leg, stop its timers, and see that its re-INVITE ends too."""
        leg.phase = "gone"
        if leg.pending is not None and leg.pending.kind == "offer":
            self.layer.cancel(leg.pending.key, now)
        leg.pending = None
        self._legs.pop(leg.id, None)
        self._by_tag.pop(leg.local_tag, None)
        if leg.role == "uas" and leg.invite_key is not None:
            self._by_invite.pop(leg.invite_key, None)
        if leg.remote_key is not None:
            self._by_invite.pop(leg.remote_key, None)
        cancel = self.timers.cancel
        cancel(leg.session_timer)
        cancel(leg.answer_timer)
        cancel(leg.reliable_timer)
        cancel(leg.glare_timer)
        cancel(leg.pending_timer)

    def _refuse_remote(self, leg: Leg, status: int, now: float) -> None:
        """Answer the peer's re-INVITE or UPDATE that still waits."""
        if leg.remote_key is None or leg.remote_request is None:
            return
        self._by_invite.pop(leg.remote_key, None)
        if self.layer.request_of(leg.remote_key) is not None:
            self._answer(leg.remote_key, leg.remote_request, status, now)
        leg.remote_key = leg.remote_request = leg.reply_flow = None

    def _end(
        self,
        leg: Leg,
        by: EndedBy,
        now: float,
        *,
        status: int | None = None,
        reason: str | None = None,
        bye: Headers | None = None,
    ) -> None:
        """End an established leg, with a BYE when `bye` gives its headers, and tell it."""
        self._refuse_remote(leg, 487, now)
        if bye is not None and leg.dialog is not None:
            self._send_bye(leg.dialog, leg, bye, now)
        self._drop(leg, now)
        self._events.append(LegEnded(leg.id, by, status, reason))

    # Session timer

    def _arm_session(
        self,
        leg: Leg,
        session: session_timer.Session | None,
        role: Literal["uac", "uas"],
        now: float,
    ) -> None:
        """Start the session timer anew after a refresh in which we had `role`."""
        self.timers.cancel(leg.session_timer)
        leg.session_timer = None
        if session is None:
            leg.session = None
            return
        local = session.refresher == role
        expires = now + session_timer.expires_after(session.interval)
        due = now + session_timer.refresh_after(session.interval) if local else expires
        leg.session = SessionState(session.interval, local, expires, due)
        self._start_session_timer(leg)

    def _start_session_timer(self, leg: Leg) -> None:
        if leg.session is not None:
            leg.session_timer = self.timers.start(
                leg.session.due, (self._fire_session, leg, leg.session)
            )

    def _fire_session(self, leg: Leg, session: SessionState, now: float) -> None:
        raise NotImplementedError
