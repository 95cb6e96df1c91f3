"""What a request must be before anybody acts on it (RFC 3261 §8.1.1, §8.2, §16.3).

Three outcomes: `ParseError` (malformed: 400, 416, …), a `Rejection` (well-formed, but not for us),
or None (go on).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sip.core.body import SDP, acceptable
from sip.core.errors import ParseError
from sip.core.message import Request, Via
from sip.core.names import METHODS, SINGLE_HEADERS
from sip.core.uri import NameAddr, OtherUri, SipUri


@dataclass(frozen=True, slots=True)
class Rejection:
    """A well-formed request is refused."""

    status: int
    #: headers the response must carry, as Allow or Unsupported
    headers: tuple[tuple[str, str], ...] = ()


def validate(
    request: Request, *, supported: Collection[str] = (), allow: Collection[str] = METHODS
) -> Rejection | None:
    """Check a whole request. `supported` are option tags in lower case, `allow` methods.

    Raises ParseError when a header field that we act on is malformed.
    """
    check_head(request)
    _ = (request.ruri, request.via)
    keys = request._keys
    vias = request.get_all("Via")
    for value in vias if len(vias) > 1 else ():
        Via.parse(value)
    check_address(request.from_)
    check_address(request.to)
    for contact in request.contacts:
        if not contact.star:
            check_address(contact)
    for key in ("route", "record-route"):
        if key in keys:
            for value in request.get_all(key):
                check_address(NameAddr.parse(value))
    if "date" in keys and not (request.get("Date") or "").endswith("GMT"):
        # RFC 3261 §20.17
        raise ParseError("sip.parse.date", "Date is not in GMT")
    for key in ("expires", "min-expires", "session-expires", "min-se"):
        if key in keys:
            request.get_int(key)
    return check_purpose(request, supported=supported, allow=allow)


def check_address(address: NameAddr) -> None:
    """Raise ParseError when an address of From, To, Contact or a route is malformed."""
    if not isinstance(address.parsed, SipUri):
        return
    if address.params.get("tag", "") is None:
        raise ParseError("sip.parse.tag", "a tag without value")


def check_head(request: Request) -> None:
    """What every request must have, and only once. Raises ParseError."""
    check_repeated(request)
    keys = request._keys
    for key in ("via", "from", "to", "call-id", "cseq"):
        if key not in keys:
            raise ParseError("sip.parse.missing", f"no {key}")
    if request.cseq[1] != request.method:
        raise ParseError("sip.parse.cseq", "CSeq is of another method")
    hops = request.get_int("Max-Forwards")
    # RFC 3261 §20.22; a missing one is what RFC 2543 sends.
    if hops is not None and hops > 255:
        raise ParseError("sip.parse.max-forwards", "Max-Forwards beyond 255")


def check_repeated(request: Request) -> None:
    """Raise ParseError when a header that stands once stands more often."""
    keys = request._keys
    if len(set(keys)) == len(keys):
        return
    for key in SINGLE_HEADERS:
        if keys.count(key) > 1:
            raise ParseError("sip.parse.repeated", f"more than one {key}")


def check_purpose(
    request: Request, *, supported: Collection[str], allow: Collection[str]
) -> Rejection | None:
    """Whether a request is for a server like us (RFC 3261 §8.2). Raises ParseError."""
    method = request.method
    if method not in allow:
        # RFC 3261 §8.2.1
        return Rejection(405 if method in METHODS else 501, (("Allow", ", ".join(allow)),))
    text = request.uri
    if not text.startswith(("sip:", "sips:")):
        uri = request.ruri
        if isinstance(uri, OtherUri) and uri.scheme != "urn":
            # RFC 3261 §8.2.2.1
            return Rejection(416)
    elif text.find("?", text.find("@") + 1) >= 0:
        # RFC 3261 §19.1.1, table 1
        raise ParseError("sip.parse.uri-headers", "headers in a Request-URI")
    if "require" in request._keys:
        # RFC 3261 §8.2.2.3
        unknown = request.options("Require") - set(supported)
        if unknown:
            return Rejection(420, (("Unsupported", ", ".join(sorted(unknown))),))
    if method == "INVITE":
        if not acceptable(request):
            # RFC 3261 §8.2.3
            return Rejection(415, (("Accept", SDP),))
        if request.has("Accept") and not _accepts_sdp(request):
            return Rejection(406)
    return None


def _accepts_sdp(request: Request) -> bool:
    kinds = {value.partition(";")[0].strip().lower() for value in request.get_all("Accept")}
    return bool(kinds & {SDP, "application/*", "*/*"})
