"""Dialogs (RFC 3261 §12), as plain data that another process can take over."""

from __future__ import annotations

from typing import Literal

import msgspec

from sip.core.errors import ParseError
from sip.core.flow import Flow
from sip.core.message import Request, Response
from sip.core.uri import NameAddr, SipUri

#: The first sequence number of a dialog we open (RFC 3261 §8.1.1.5 allows any below 2**31).
FIRST_CSEQ = 1


class Dialog(msgspec.Struct):
    """The state of one dialog, seen from our side."""

    call_id: str
    local_tag: str
    #: empty when the peer speaks RFC 2543 and has none
    remote_tag: str
    #: header value without tag, for From of our requests
    local_address: str
    #: header value without tag, for To of our requests
    remote_address: str
    #: where the peer's Contact says its requests go (the remote target)
    target: str
    #: our Contact URI in this dialog
    contact: str
    flow: Flow
    #: number of our last request
    local_seq: int
    #: number of the peer's last request, None before the first
    remote_seq: int | None = None
    #: Route values, first hop first
    routes: list[str] = []
    state: Literal["early", "confirmed"] = "early"
    #: made by a sips request over an encrypted transport (RFC 3261 §12.1.1)
    secure: bool = False

    def next_request(
        self,
        method: str,
        headers: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
        *,
        content_type: str | None = None,
        cseq: int | None = None,
        max_forwards: int = 70,
    ) -> Request:
        """A request within the dialog (RFC 3261 §12.2.1.1), without Via and Contact.

        `cseq` is given for ACK and CANCEL, which repeat the number of their INVITE; any other
        request counts up.
        """
        if cseq is None:
            self.local_seq += 1
            cseq = self.local_seq
        uri = self.target
        routes = self.routes
        if routes and not _is_loose(routes[0]):
            # A strict router wants to be the Request-URI itself.
            uri = _as_request_uri(routes[0])
            routes = [*routes[1:], f"<{self.target}>"]
        fields = [("Route", route) for route in routes]
        to = f"{self.remote_address};tag={self.remote_tag}" if self.remote_tag else None
        fields += [
            ("Max-Forwards", str(max_forwards)),
            ("From", f"{self.local_address};tag={self.local_tag}"),
            ("To", to or self.remote_address),
            ("Call-ID", self.call_id),
            ("CSeq", f"{cseq} {method}"),
        ]
        fields += headers
        if content_type is not None:
            fields.append(("Content-Type", content_type))
        return Request(method, uri, fields, body)

    def refresh_target(self, message: Request | Response) -> None:
        """Take the peer's Contact as the new remote target (RFC 3261 §12.2.1.2, §12.2.2)."""
        target = contact_uri(message)
        if target is not None:
            self.target = target

    def confirm(self, response: Response) -> None:
        """Take a 2xx for an early dialog of ours (RFC 3261 §13.2.2.4). Raises ParseError.

        The routes are those of the 2xx, whatever the provisional responses said.
        """
        routes = check_routes(response.get_all("Record-Route")[::-1])
        self.refresh_target(response)
        self.routes = routes
        self.state = "confirmed"

    def in_order(self, number: int) -> bool:
        """Note the CSeq of a request of the peer; False when it is not above the last one."""
        if self.remote_seq is not None and number <= self.remote_seq:
            return False
        self.remote_seq = number
        return True


def contact_uri(message: Request | Response) -> str | None:
    """The URI of the message's only Contact; None without one. Raises ParseError."""
    contacts = message.contacts
    if len(contacts) != 1 or contacts[0].star:
        return None
    uri = contacts[0].uri
    # It becomes a Request-URI; what cannot be one must not get there.
    if not isinstance(contacts[0].parsed, SipUri):
        raise ParseError("sip.parse.contact", "Contact is no SIP URI")
    return uri


def _is_loose(route: str) -> bool:
    uri = NameAddr.parse(route).parsed
    return isinstance(uri, SipUri) and uri.loose


def _as_request_uri(route: str) -> str:
    """A route's URI without what a Request-URI must not have (RFC 3261 §19.1.1)."""
    uri = NameAddr.parse(route).parsed
    if not isinstance(uri, SipUri):
        return str(uri)
    params = {name: value for name, value in uri.params.items() if name != "method"}
    return str(uri.with_(params=params))


def check_routes(values: list[str]) -> list[str]:
    """Route values that will be used later; raises ParseError when one is malformed."""
    for value in values:
        _ = NameAddr.parse(value).parsed
    return values


def without_tag(address: NameAddr) -> str:
    """A From or To value without its tag."""
    return address.text({n: v for n, v in address.params.items() if n != "tag"})


def server_dialog(request: Request, local_tag: str, contact: str, flow: Flow) -> Dialog:
    """The dialog an incoming request opens (RFC 3261 §12.1.1). Raises ParseError."""
    target = contact_uri(request)
    if target is None and not (request.via.branch or "").startswith("z9hG4bK"):
        # RFC 2543 knows requests without Contact.
        target = request.from_.uri
    if target is None:
        raise ParseError("sip.parse.contact", "no Contact in a request that opens a dialog")
    return Dialog(
        call_id=request.call_id,
        local_tag=local_tag,
        remote_tag=request.from_tag or "",
        local_address=without_tag(request.to),
        remote_address=without_tag(request.from_),
        target=target,
        contact=contact,
        flow=flow,
        local_seq=FIRST_CSEQ - 1,
        remote_seq=request.cseq[0],
        routes=check_routes(request.get_all("Record-Route")),
        secure=flow.secure and request.uri.lower().startswith("sips:"),
    )


def client_dialog(request: Request, response: Response, contact: str, flow: Flow) -> Dialog:
    """The dialog a response to our request opens (RFC 3261 §12.1.2). Raises ParseError."""
    return Dialog(
        call_id=request.call_id,
        local_tag=request.from_tag or "",
        remote_tag=response.to_tag or "",
        local_address=without_tag(request.from_),
        remote_address=without_tag(request.to),
        target=contact_uri(response) or request.uri,
        contact=contact,
        flow=flow,
        local_seq=request.cseq[0],
        routes=check_routes(response.get_all("Record-Route")[::-1]),
        state="early" if response.status < 200 else "confirmed",
        secure=flow.secure and request.uri.lower().startswith("sips:"),
    )
