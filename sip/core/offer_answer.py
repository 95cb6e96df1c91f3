"""Offer and answer (RFC 3264): building, answering, reading, and moving media to another address.

A back-to-back user agent with anchored media takes the description of one side, puts the media
engine's address into it (`with_endpoint`) and gives it to the other side. Where it speaks for
itself (a queue's music), it makes `offer` and `answer` from a list of codecs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from sip.core.errors import SdpError
from sip.core.sdp import Codec, Direction, Media, SessionDescription

#: Codecs a plain telephone is offered, best first.
TELEPHONY: Final = (
    Codec(9, "G722"),
    Codec(8, "PCMA"),
    Codec(0, "PCMU"),
    Codec(101, "telephone-event", fmtp="0-16"),
)

#: Attributes that belong to one transport address or one security context and do not survive
#: the move of a medium to another address.
TRANSPORT_ATTRIBUTES: Final = (
    "candidate", "crypto", "end-of-candidates", "fingerprint", "ice-lite", "ice-mismatch",
    "ice-options", "ice-pwd", "ice-ufrag", "remote-candidates", "rtcp", "rtcp-mux",
    "rtcp-mux-only", "rtcp-rsize", "setup", "ssrc", "ssrc-group", "tls-id", "zrtp-hash",
)  # fmt: skip

#: Session attributes that name media by identification and lose their sense with them.
_GROUP_ATTRIBUTES: Final = ("group", "msid-semantic")
_NOT_OF_SESSION: Final = frozenset((*TRANSPORT_ATTRIBUTES, *_GROUP_ATTRIBUTES))
_NOT_OF_MEDIA: Final = frozenset((*TRANSPORT_ATTRIBUTES, "mid", "msid"))

_ANSWERED: Final[dict[Direction, Direction]] = {
    "sendrecv": "sendrecv",
    "sendonly": "recvonly",
    "recvonly": "sendonly",
    "inactive": "inactive",
}


class Origin(msgspec.Struct, frozen=True):
    """Our o= line. `version` must grow by one with each changed description of a session."""

    session: str
    version: int
    user: str = "-"


class Endpoint(msgspec.Struct, frozen=True):
    """Where and how a side receives audio, read from its description."""

    host: str
    port: int
    #: payload numbers in the order of preference, without telephone-event and comfort noise
    payloads: tuple[int, ...]
    #: payload number of telephone-event at 8000 Hz, None when not offered
    dtmf_payload: int | None
    codecs: tuple[Codec, ...]
    #: as the side sees it
    direction: Direction
    #: the side does not want to hear us: sendonly, inactive or the old address 0.0.0.0
    held: bool


def endpoint(sdp: SessionDescription) -> Endpoint | None:
    """The audio end of a description, None when it has none that is enabled.

    Raises SdpError when the medium has no connection address.
    """
    media = sdp.audio
    if media is None:
        return None
    host = sdp.connection_of(media)
    if host is None:
        raise SdpError("sip.sdp.connection", "audio without a connection address")
    codecs = media.codecs
    voice = tuple(c.payload for c in codecs if c.name.lower() not in ("telephone-event", "cn"))
    direction = sdp.direction_of(media)
    return Endpoint(
        host=host,
        port=media.port,
        payloads=voice,
        dtmf_payload=_dtmf(codecs),
        codecs=tuple(codecs),
        direction=direction,
        held=direction in ("sendonly", "inactive") or host in ("0.0.0.0", "::"),
    )


def _dtmf(codecs: Sequence[Codec]) -> int | None:
    for codec in codecs:
        if codec.name.lower() == "telephone-event" and codec.rate == 8000:
            return codec.payload
    return None


def held(sdp: SessionDescription) -> bool:
    """Whether the writer put us on hold (RFC 3264 §8.4; c=0.0.0.0 of RFC 2543)."""
    media = sdp.audio
    if media is None:
        return False
    return sdp.direction_of(media) in ("sendonly", "inactive") or sdp.connection_of(media) in (
        "0.0.0.0",
        "::",
    )


def _session_lines(origin: Origin, host: str) -> list[str]:
    family = "IP6" if ":" in host else "IP4"
    return [
        "v=0",
        f"o={origin.user} {origin.session} {origin.version} IN {family} {host}",
        "s=-",
        f"c=IN {family} {host}",
        "t=0 0",
    ]


def _codec_lines(codecs: Sequence[Codec]) -> list[str]:
    lines = []
    for codec in codecs:
        channels = f"/{codec.channels}" if codec.channels != 1 else ""
        lines.append(f"a=rtpmap:{codec.payload} {codec.name}/{codec.rate}{channels}")
        if codec.fmtp is not None:
            lines.append(f"a=fmtp:{codec.payload} {codec.fmtp}")
    return lines


def offer(
    codecs: Sequence[Codec],
    host: str,
    port: int,
    origin: Origin,
    direction: Direction = "sendrecv",
) -> SessionDescription:
    """An offer of one audio stream."""
    numbers = " ".join(str(codec.payload) for codec in codecs)
    lines = [f"m=audio {port} RTP/AVP {numbers}", *_codec_lines(codecs), "a=" + direction]
    return SessionDescription(_session_lines(origin, host), [Media(lines)])


def answer(
    offer: SessionDescription,
    supported: Sequence[Codec],
    host: str,
    port: int,
    origin: Origin,
    direction: Direction = "sendrecv",
) -> SessionDescription:
    """Answer an offer ourselves: its first usable audio stream, everything else disabled.

    The codecs keep the numbers and the order of the offer (RFC 3264 §6.1); `direction` is what
    we would like, narrowed to what the offer allows. Raises SdpError when no audio stream has a
    codec in common (488).
    """
    wanted = {codec.key for codec in supported}
    media: list[Media] = []
    found = False
    for theirs in offer.media:
        common = [] if found or not usable(theirs) else _common(theirs, wanted)
        if not common:
            media.append(disabled(theirs))
            continue
        found = True
        numbers = " ".join(str(codec.payload) for codec in common)
        lines = [f"m=audio {port} {theirs.proto} {numbers}", *_codec_lines(common)]
        ptime = theirs.attribute("ptime")
        if ptime is not None:
            lines.append(f"a=ptime:{ptime}")
        allowed = _ANSWERED[offer.direction_of(theirs)]
        lines.append("a=" + narrow(direction, allowed))
        media.append(Media(lines))
    if not found:
        raise SdpError("sip.sdp.no-common-codec", "no audio stream with a common codec")
    return SessionDescription(_session_lines(origin, host), media)


def _common(media: Media, wanted: set[tuple[str, int, int]]) -> list[Codec]:
    common = [codec for codec in media.codecs if codec.key in wanted]
    if all(codec.name.lower() in ("telephone-event", "cn") for codec in common):
        return []
    return common


def usable(media: Media) -> bool:
    """Whether a medium is plain RTP audio that is not disabled."""
    parts = media.lines[0][2:].split()
    return (
        parts[0].lower() == "audio"
        and parts[2].upper() == "RTP/AVP"
        and int(parts[1].partition("/")[0]) > 0
    )


def narrow(wish: Direction, allowed: Direction) -> Direction:
    """The part of a wished direction that another one allows."""
    sends = wish in ("sendrecv", "sendonly") and allowed in ("sendrecv", "sendonly")
    receives = wish in ("sendrecv", "recvonly") and allowed in ("sendrecv", "recvonly")
    if sends:
        return "sendrecv" if receives else "sendonly"
    return "recvonly" if receives else "inactive"


def answered(direction: Direction) -> Direction:
    """The widest direction an answer may have to an offer's direction (RFC 3264 §6.1)."""
    return _ANSWERED[direction]


def disabled(media: Media) -> Media:
    """The m= line that refuses a medium (RFC 3264 §6): same kind, transport and formats, port 0."""
    off = Media([media.lines[0]])
    off.port = 0
    return off


class Negotiated(msgspec.Struct, frozen=True):
    """One stream both sides agreed on."""

    #: position among the m= lines
    index: int
    kind: str
    #: the answer's formats that the offer had, in the answer's order
    codecs: tuple[Codec, ...]
    #: from the point of view of who answered
    direction: Direction


def negotiated(offer: SessionDescription, answer: SessionDescription) -> list[Negotiated]:
    """The streams both sides enabled; raises SdpError when the answer does not fit the offer."""
    if len(offer.media) != len(answer.media):
        raise SdpError("sip.sdp.mismatch", "the answer has another number of media")
    streams = []
    for index, (asked, given) in enumerate(zip(offer.media, answer.media, strict=True)):
        if asked.kind != given.kind:
            raise SdpError("sip.sdp.mismatch", "the answer has other media")
        if not asked.port or not given.port:
            continue
        known = {codec.key for codec in asked.codecs}
        codecs = tuple(codec for codec in given.codecs if codec.key in known)
        direction = narrow(answer.direction_of(given), answered(offer.direction_of(asked)))
        streams.append(Negotiated(index, asked.kind, codecs, direction))
    return streams


def with_endpoint(
    sdp: SessionDescription,
    host: str,
    port: int,
    origin: Origin,
    direction: Direction | None = None,
) -> SessionDescription:
    """A side's description with the media engine's address in it, for the other side.

    The first plain RTP audio stream goes to `host` and `port`; every other medium is disabled
    but keeps its place. Attributes of ICE, of encryption and of single addresses are removed,
    all other lines pass. `origin` replaces the o= line, as the version numbers of two sides do
    not agree (RFC 3264 §5). A `direction` replaces the stream's own. An old-style hold
    (0.0.0.0) becomes a direction. A port of 0 disables the audio too. `sdp` is not changed.
    """
    family = "IP6" if ":" in host else "IP4"
    address = f"c=IN {family} {host}"
    lines = []
    for line in sdp.without(sdp.lines, _NOT_OF_SESSION):
        if line[0] == "o":
            line = f"o={origin.user} {origin.session} {origin.version} IN {family} {host}"
        elif line[0] == "c":
            line = address
        lines.append(line)
    media: list[Media] = []
    result = sdp.of(lines, media)
    found = False
    for theirs in sdp.media:
        if found or not port or not usable(theirs):
            media.append(disabled(theirs))
            continue
        found = True
        ours = Media(sdp.without(theirs.lines, _NOT_OF_MEDIA))
        media.append(ours)
        result.set_connection(ours, host, port)
        if direction is not None:
            result.set_direction(ours, direction)
        elif held(sdp):
            current = sdp.direction_of(theirs)
            if current in ("sendrecv", "recvonly"):
                result.set_direction(ours, "sendonly" if current == "sendrecv" else "inactive")
    return result


def fit(sdp: SessionDescription, previous: SessionDescription) -> SessionDescription:
    """A description whose m= lines match those of an earlier one of the same session.

    RFC 3264 §8: a later offer never has fewer media, and each keeps its place. The audio stream
    of `sdp` takes the place of the first audio stream of `previous`; every other place is
    disabled; when `previous` has no audio, it is appended. Raises SdpError when `sdp` has no
    enabled audio.
    """
    audio = sdp.audio
    if audio is None:
        raise SdpError("sip.sdp.no-audio", "no enabled audio stream")
    media: list[Media] = []
    placed = False
    for old in previous.media:
        if not placed and old.kind == "audio":
            media.append(Media(list(audio.lines)))
            placed = True
        else:
            media.append(disabled(old))
    if not placed:
        media.append(Media(list(audio.lines)))
    return SessionDescription(list(sdp.lines), media)
