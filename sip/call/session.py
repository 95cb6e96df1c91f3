"""Session descriptions as call control needs them (RFC 3264, RFC 8866).

The engine never transcodes, so the two sides of a call have to use the same encodings: a callee
is offered what the caller offered, and the caller gets the callee's answer, both with the engine's
addresses in them. Where the house itself answers (queue, announcement), it picks one encoding that
its prompts exist in.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from sip.core.errors import SdpError, SipError
from sip.core.offer_answer import Origin, answer, endpoint, fit, offer, usable, with_endpoint
from sip.core.sdp import Codec, Media, SessionDescription
from sip.media.engine import Remote

#: an encoding: payload type and name in upper case, "OPUS" with its clock rate fixed by RFC 7587
Encoding = tuple[int, str]
Encodings = tuple[Encoding, ...]

#: what the house offers when it speaks first; G.722 for speech to 7 kHz (EN 301 549 section 6.1)
HOUSE_ENCODINGS: Encodings = ((9, "G722"), (8, "PCMA"), (0, "PCMU"))
_PLAYABLE = frozenset({"G722", "PCMA", "PCMU"})
_DTMF = Codec(101, "telephone-event", fmtp="0-16")
_NOT_VOICE = ("telephone-event", "cn")


class Described(msgspec.Struct, frozen=True):
    """The audio that a phone's description asks for."""

    host: str
    port: int
    encodings: Encodings
    dtmf_payload: int | None
    #: the phone wants to hear something
    receives: bool


def text_of(sdp: bytes) -> str:
    """Decode a description: UTF-8 or, as old phones write it, ISO 8859-1."""
    try:
        return sdp.decode()
    except UnicodeDecodeError:
        return sdp.decode("latin-1")


# A description is looked at several times within the second in which a call is connected.
@lru_cache(maxsize=256)
def _parsed(sdp: str) -> SessionDescription:
    """Parse a description; the result is shared and must not be changed."""
    return SessionDescription.parse(sdp.encode())


@lru_cache(maxsize=256)
def describe(sdp: str) -> Described:
    """Read a phone's description.

    `encodings` is empty when there is no audio stream that can be relayed (RTP/AVP).

    Raises:
        SipError: the description is malformed.
    """
    parsed = _parsed(sdp)
    media = next((m for m in parsed.media if usable(m)), None)
    end = endpoint(parsed) if media is not None else None
    if media is None or end is None:
        return Described("0.0.0.0", 0, (), None, receives=False)
    return Described(
        host=end.host,
        port=end.port,
        encodings=tuple(
            (codec.payload, codec.name.upper())
            for codec in end.codecs
            if codec.name.lower() not in _NOT_VOICE
        ),
        dtmf_payload=end.dtmf_payload,
        receives=not end.held,
    )


def describe_or_none(sdp: str | None) -> Described | None:
    """Like `describe`, None for a missing or malformed description."""
    if sdp is None:
        return None
    try:
        return describe(sdp)
    except SipError:
        return None


def remote(described: Described, strict: bool) -> Remote | None:
    """Return where the engine is to send the phone's audio, None while it wants none."""
    if not described.receives or not described.port or not described.encodings:
        return None
    return Remote(
        host=described.host,
        port=described.port,
        payloads=tuple(payload for payload, _ in described.encodings),
        dtmf_payload=described.dtmf_payload,
        strict=strict,
    )


def relay(
    sdp: str,
    local: tuple[str, int],
    origin: Origin,
    *,
    active: bool = False,
    previous: str | None = None,
) -> str:
    """Return one phone's description for the other phone, with the engine's address in it.

    Args:
        sdp: the one phone's description.
        local: the engine's address for the other phone.
        origin: our o= line towards the other phone.
        active: offer audio in both directions, whatever the one phone wants at the moment.
        previous: the other phone's newest description, whose m= lines have to be kept.
    """
    parsed = _parsed(sdp)
    moved = with_endpoint(parsed, *local, origin, "sendrecv" if active else None)
    if previous is not None:
        moved = fit(moved, _parsed(previous))
    return text_of(moved.serialize())


def playable(sdp: str) -> Encodings:
    """Return the phone's most preferred encoding that prompts exist in, empty if there is none."""
    return tuple(e for e in describe(sdp).encodings if e[1] in _PLAYABLE)[:1]


def common(offered: Encodings, agreed: Encodings) -> Encodings:
    """Return the encodings of an offer that were agreed on before, with the same numbers."""
    return tuple(e for e in offered if e in agreed)


def same_encoding(one: Encodings, other: Encodings) -> bool:
    """Whether two phones send each other the same encoding first."""
    return bool(one and other) and one[0] == other[0]


def answer_to(
    sdp: str, local: tuple[str, int], encodings: Sequence[Encoding], origin: Origin
) -> str:
    """Return the house's answer to a phone's offer, with `encodings` and telephone events.

    Raises:
        SdpError: the offer has none of the encodings.
    """
    parsed = _parsed(sdp)
    audio: Media | None = next((m for m in parsed.media if usable(m)), None)
    if audio is None:
        raise SdpError("sip.sdp.no-audio", "no usable audio stream")
    wanted = {payload for payload, _ in encodings}
    codecs = [
        codec
        for codec in audio.codecs
        if codec.payload in wanted or codec.name.lower() == "telephone-event"
    ]
    described = answer(parsed, codecs, *local, origin)
    return text_of(described.serialize())


def house_offer(local: tuple[str, int], encodings: Sequence[Encoding], origin: Origin) -> str:
    """Return an offer of the house's own, with `encodings` and telephone events."""
    codecs = [
        Codec(payload, name.lower(), 48000, 2) if name == "OPUS" else Codec(payload, name)
        for payload, name in encodings
    ]
    return offer([*codecs, _DTMF], *local, origin).serialize().decode()
