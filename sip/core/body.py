"""Finding a session description in a message's body (RFC 3261 §7.4, RFC 5621)."""

from __future__ import annotations

from typing import Final

from sip.core.message import Message
from sip.core.uri import parse_params, unquote

SDP: Final = "application/sdp"

#: the most parts of a multipart body that are looked at
_MAX_PARTS: Final = 32


def sdp_of(message: Message) -> bytes | None:
    """The session description of a message, alone or in a multipart body; None when absent.

    Raises ParseError when the Content-Type is malformed.
    """
    body = message.body
    if not body:
        return None
    kind = message.content_type
    if kind == SDP:
        return body
    if kind is None:
        # Not allowed, but what begins so is nothing else.
        return body if body.startswith(b"v=0") else None
    if kind.startswith("multipart/"):
        return _part(message, body)
    return None


def acceptable(message: Message) -> bool:
    """Whether the body, if any, is one an INVITE may carry; otherwise answer 415.

    Bodies that are optional or not for the session (Content-Disposition other than session, with
    handling=optional) do not matter.
    """
    if not message.body:
        return True
    kind = message.content_type
    if kind is None or kind == SDP or kind.startswith("multipart/"):
        return not (message.get("Content-Encoding") or "").strip(" ,") or _identity(message)
    disposition = (message.get("Content-Disposition") or "").replace(" ", "").lower()
    return "handling=optional" in disposition


def _identity(message: Message) -> bool:
    return message.options("Content-Encoding") <= {"identity"}


def _part(message: Message, body: bytes) -> bytes | None:
    _, _, rest = (message.get("Content-Type") or "").partition(";")
    boundary = unquote(parse_params(rest).get("boundary") or "")
    if not boundary:
        return None
    marker = b"--" + boundary.encode(message._codec, "replace")
    for part in body.split(marker, _MAX_PARTS)[1:]:
        if part.startswith(b"--"):
            break
        head, separator, content = part.partition(b"\r\n\r\n")
        if not separator:
            continue
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() in (b"content-type", b"c") and (
                value.partition(b";")[0].strip().lower() == SDP.encode()
            ):
                return content.removesuffix(b"\r\n") + b"\r\n"
    return None
