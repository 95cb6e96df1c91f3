"""Session descriptions, offer and answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.core.errors import SdpError
from sip.core.offer_answer import (
    TELEPHONY,
    Origin,
    answer,
    endpoint,
    fit,
    held,
    negotiated,
    offer,
    with_endpoint,
)
from sip.core.sdp import Codec, SessionDescription

PHONE = (
    b"v=0\r\no=alice 2890844526 7 IN IP4 10.0.0.5\r\ns=Call\r\nx=unknown session line\r\n"
    b"c=IN IP4 10.0.0.5\r\nb=AS:84\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=ice-lite\r\na=tool:phone\r\n"
    b"m=audio 4000 RTP/AVP 9 8 0 101 13\r\ni=voice\r\na=rtpmap:9 G722/8000\r\n"
    b"a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=candidate:1 1 UDP 1 10.0.0.5 4000"
    b" typ host\r\na=ice-ufrag:x\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\na=ptime:20\r\n"
    b"a=rtcp:4001\r\na=mid:0\r\na=future-thing:kept\r\na=sendrecv\r\n"
    b"m=video 4002 RTP/AVP 97\r\nc=IN IP4 10.0.0.6\r\na=rtpmap:97 H264/90000\r\na=mid:1\r\n"
)
OURS = Origin("77", 3)


def parse(data: bytes = PHONE) -> SessionDescription:
    return SessionDescription.parse(data)


def lines(sdp: SessionDescription) -> list[str]:
    return sdp.serialize().decode().split("\r\n")


def test_round_trip() -> None:
    assert parse().serialize() == PHONE
    assert parse(PHONE.replace(b"\r\n", b"\n")).serialize() == PHONE


def test_reading() -> None:
    sdp = parse()
    audio, video = sdp.media
    assert (audio.kind, audio.port, audio.proto) == ("audio", 4000, "RTP/AVP")
    assert audio.codecs == [
        Codec(9, "G722"),
        Codec(8, "PCMA"),
        Codec(0, "PCMU"),
        Codec(101, "telephone-event", fmtp="0-16"),
        Codec(13, "CN"),
    ]
    assert sdp.connection_of(audio) == "10.0.0.5"
    assert sdp.connection_of(video) == "10.0.0.6"
    assert sdp.direction_of(video) == "sendrecv"
    assert sdp.origin == ("alice", "2890844526", "7")
    assert audio.attribute("ptime") == "20"
    assert audio.attribute("absent") is None
    assert sdp.attribute("ice-lite") == ""
    end = endpoint(sdp)
    assert end is not None
    assert (end.host, end.port, end.payloads, end.dtmf_payload) == (
        "10.0.0.5",
        4000,
        (9, 8, 0),
        101,
    )
    assert not end.held


def test_moving_media_to_another_address() -> None:
    moved = with_endpoint(parse(), "192.0.2.9", 20_000, OURS)
    assert lines(moved) == [
        "v=0", "o=- 77 3 IN IP4 192.0.2.9", "s=Call", "x=unknown session line",
        "c=IN IP4 192.0.2.9", "b=AS:84", "t=0 0", "a=tool:phone",
        "m=audio 20000 RTP/AVP 9 8 0 101 13", "i=voice", "c=IN IP4 192.0.2.9",
        "a=rtpmap:9 G722/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16",
        "a=ptime:20", "a=future-thing:kept", "a=sendrecv",
        "m=video 0 RTP/AVP 97", "",
    ]  # fmt: skip
    v6 = with_endpoint(parse(), "2001:db8::1", 20_000, OURS)
    assert "c=IN IP6 2001:db8::1" in lines(v6)


def test_moving_leaves_the_original_alone() -> None:
    sdp = parse()
    with_endpoint(sdp, "192.0.2.9", 20_000, OURS, "inactive")
    assert sdp.serialize() == PHONE


def test_only_the_first_audio_stream_is_moved() -> None:
    data = PHONE + b"m=audio 4004 RTP/AVP 8\r\nm=audio 4006 RTP/SAVP 8\r\n"
    moved = with_endpoint(parse(data), "192.0.2.9", 20_000, OURS)
    assert [media.port for media in moved.media] == [20_000, 0, 0, 0]


@pytest.mark.parametrize(
    ("change", "direction", "result"),
    [
        ((b"a=sendrecv", b"a=sendonly"), "sendonly", "sendonly"),
        ((b"a=sendrecv", b"a=inactive"), "inactive", "inactive"),
        ((b"IP4 10.0.0.5\r\nb=", b"IP4 0.0.0.0\r\nb="), "sendrecv", "sendonly"),
    ],
)
def test_hold(change: tuple[bytes, bytes], direction: str, result: str) -> None:
    """RFC 3264 §8.4, and the old way of RFC 2543."""
    sdp = parse(PHONE.replace(*change))
    assert held(sdp)
    assert sdp.direction_of(sdp.media[0]) == direction
    end = endpoint(sdp)
    assert end is not None
    assert end.held
    moved = with_endpoint(sdp, "192.0.2.9", 20_000, OURS)
    assert moved.direction_of(moved.media[0]) == result
    assert held(moved)


def test_receiving_only_is_no_hold() -> None:
    assert not held(parse(PHONE.replace(b"a=sendrecv", b"a=recvonly")))
    assert not held(parse())


def test_session_direction_counts_for_all_media() -> None:
    sdp = parse(PHONE.replace(b"a=tool:phone", b"a=inactive").replace(b"a=sendrecv\r\n", b""))
    assert held(sdp)
    sdp.set_direction(sdp.media[0], "sendrecv")
    assert not held(sdp)


def test_answering() -> None:
    mine = answer(parse(), TELEPHONY, "192.0.2.9", 20_000, OURS)
    assert lines(mine) == [
        "v=0", "o=- 77 3 IN IP4 192.0.2.9", "s=-", "c=IN IP4 192.0.2.9", "t=0 0",
        "m=audio 20000 RTP/AVP 9 8 0 101", "a=rtpmap:9 G722/8000", "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16",
        "a=ptime:20", "a=sendrecv", "m=video 0 RTP/AVP 97", "",
    ]  # fmt: skip
    [stream] = negotiated(parse(), mine)
    assert stream.kind == "audio"
    assert [codec.payload for codec in stream.codecs] == [9, 8, 0, 101]


def test_answer_keeps_the_offers_numbers() -> None:
    data = (
        b"v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 10.0.0.5\r\nt=0 0\r\n"
        b"m=audio 4000 RTP/AVP 96 97\r\na=rtpmap:96 telephone-event/8000\r\n"
        b"a=rtpmap:97 pcma/8000\r\n"
    )
    mine = answer(parse(data), TELEPHONY, "192.0.2.9", 20_000, OURS)
    assert mine.media[0].formats == ["96", "97"]


@pytest.mark.parametrize(
    ("theirs", "wish", "result"),
    [
        ("sendrecv", "sendrecv", "sendrecv"),
        ("sendonly", "sendrecv", "recvonly"),
        ("recvonly", "sendrecv", "sendonly"),
        ("inactive", "sendrecv", "inactive"),
        ("sendrecv", "sendonly", "sendonly"),
        ("sendonly", "sendonly", "inactive"),
        ("recvonly", "recvonly", "inactive"),
    ],
)
def test_answered_directions(theirs: str, wish: str, result: str) -> None:
    """RFC 3264 §6.1"""
    sdp = parse(PHONE.replace(b"a=sendrecv", b"a=" + theirs.encode()))
    mine = answer(sdp, TELEPHONY, "h", 1, OURS, wish)  # type: ignore[arg-type]
    assert mine.direction_of(mine.media[0]) == result


@pytest.mark.parametrize(
    "change",
    [
        (b"RTP/AVP 9 8 0 101 13", b"RTP/AVP 101 13"),
        (b"RTP/AVP 9 8 0 101 13", b"RTP/AVP 18"),
        (b"m=audio 4000", b"m=audio 0"),
        (b"4000 RTP/AVP 9", b"4000 UDP/TLS/RTP/SAVPF 9"),
    ],
)
def test_nothing_in_common(change: tuple[bytes, bytes]) -> None:
    with pytest.raises(SdpError):
        answer(parse(PHONE.replace(*change)), TELEPHONY, "h", 1, OURS)


def test_offering() -> None:
    mine = offer(TELEPHONY, "192.0.2.9", 20_000, OURS, "recvonly")
    assert parse(mine.serialize()).serialize() == mine.serialize()
    end = endpoint(mine)
    assert end is not None
    assert end.codecs == TELEPHONY


def test_answers_must_fit() -> None:
    mine = answer(parse(), TELEPHONY, "h", 1, OURS)
    mine.media.pop()
    with pytest.raises(SdpError):
        negotiated(parse(), mine)
    with pytest.raises(SdpError):
        negotiated(parse(), SessionDescription(mine.lines, parse().media[::-1]))


def test_later_offers_keep_the_places() -> None:
    """RFC 3264 §8"""
    video_first = parse(
        b"v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nc=IN IP4 h\r\nt=0 0\r\nm=video 1 RTP/AVP 97\r\n"
        b"m=audio 2 RTP/AVP 8\r\n"
    )
    fitted = fit(offer(TELEPHONY, "h", 7, OURS), video_first)
    assert [(media.kind, media.port) for media in fitted.media] == [("video", 0), ("audio", 7)]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\r\n", b"v=1\r\n", b"o=x\r\n", b"v=0\r\n", b"v=0\r\ns=-\r\n", b"v=0\r\no=a b\r\n",
        b"v=0\r\no=- 1 1 IN IP4 h\r\nm=audio\r\n",
        b"v=0\r\no=- 1 1 IN IP4 h\r\nm=audio x RTP/AVP 0",
        b"v=0\r\no=- 1 1 IN IP4 h\r\nm=audio 70000 RTP/AVP 0\r\n", b"v=0\r\no=- 1 1 IN IP4 h\r\nzz",
        b"v=0\r\no=- 1 1 IN IP4 h\r\na\r=b", b"v=0\r\n" + b"a=x\r\n" * 5000,
        b"v=0\r\no=- 1 1 IN IP4 h\r\n" + b"m=audio 1 RTP/AVP 0\r\n" * 100,
    ],
)  # fmt: skip
def test_malformed(data: bytes) -> None:
    with pytest.raises(SdpError):
        parse(data)


def test_audio_without_an_address() -> None:
    sdp = parse(b"v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\nm=audio 1 RTP/AVP 8\r\n")
    with pytest.raises(SdpError):
        endpoint(sdp)


PIECES = st.sampled_from(
    [b"v=0", b"o=- 1 1 IN IP4 h", b"c=IN IP4 1.2.3.4", b"m=audio 1 RTP/AVP 0 96", b"a=sendonly",
     b"a=rtpmap:96 x/1/2", b"a=rtpmap:", b"a=fmtp:96", b"a=", b"m=video 0 RTP/AVP", b"c=", b"\xff=",
     b"a=rtpmap:96 opus/48000/2", b"m=audio 9 RTP/AVP 99999999999999999999"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=12))
def test_nothing_but_sdp_errors(pieces: list[bytes]) -> None:
    try:
        sdp = parse(b"\r\n".join([b"v=0", b"o=- 1 1 IN IP4 h", *pieces]))
        endpoint(sdp)
        held(sdp)
        moved = with_endpoint(sdp, "192.0.2.9", 20_000, OURS)
        assert parse(moved.serialize()).serialize() == moved.serialize()
        answer(sdp, TELEPHONY, "h", 1, OURS)
    except SdpError:
        pass
