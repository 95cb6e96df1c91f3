"""Messages: reading, changing, answering; limits and linear time."""

from __future__ import annotations

import sys

import pytest

from sip.core.body import sdp_of
from sip.core.errors import ParseError
from sip.core.message import (
    Request,
    Response,
    Via,
    error_response,
    parse_message,
    response_for,
)

REGISTER = (
    b"REGISTER sip:example.com SIP/2.0\r\n"
    b"v: SIP/2.0/UDP 192.0.2.10:5070;rport;branch=z9hG4bKabc\r\n"
    b"Via: SIP/2.0/TCP [2001:db8::1]:5060;branch=z9hG4bKdef, SIP/2.0/UDP b.example\r\n"
    b'f: "A \\"B\\" <x>; tag=no" <sip:a@example.com>;tag=one\r\n'
    b"t: <sip:a@example.com;tag=uri>\r\n"
    b"i: c1\r\n"
    b"CSEQ: 0042 REGISTER\r\n"
    b"m: <sip:a@192.0.2.10:5070;transport=udp>;q=0.5, sip:b@192.0.2.11;expires=60\r\n"
    b"x-other:  kept as it is \r\n"
    b"Record-Route: <sip:p1;lr>\r\n"
    b"l: 5\r\n\r\nhelloGARBAGE"
)


def register() -> Request:
    message = parse_message(REGISTER)
    assert isinstance(message, Request)
    return message


def test_compact_names_and_values() -> None:
    message = register()
    assert message.method == "REGISTER"
    assert message.call_id == "c1"
    assert message.cseq == (42, "REGISTER")
    assert message.from_tag == "one"
    assert message.to_tag is None
    assert message.from_.display == 'A "B" <x>; tag=no'
    assert message.body == b"hello"
    assert message.get("X-Other") == "kept as it is"
    assert message.get("absent") is None
    assert message.get_all("absent") == []
    assert len(message.get_all("Via")) == 3
    assert [c.uri for c in message.contacts] == [
        "sip:a@192.0.2.10:5070;transport=udp",
        "sip:b@192.0.2.11",
    ]
    assert message.contacts[1].params == {"expires": "60"}
    assert (message.via.host, message.via.port, message.via.wants_rport) == (
        "192.0.2.10",
        5070,
        True,
    )


def test_bytes_after_content_length_are_dropped() -> None:
    assert register().serialize() == REGISTER.removesuffix(b"GARBAGE")


def test_changes_touch_only_their_lines() -> None:
    message = register()
    message.prepend("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx")
    message.set("call-id", "c2")
    message.add("Subject", "s")
    message.remove("Record-Route")
    assert message.via.branch == "z9hG4bKx"
    assert message.call_id == "c2"
    expected = (
        REGISTER.removesuffix(b"GARBAGE")
        .replace(b"SIP/2.0\r\nv:", b"SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\nv:")
        .replace(b"i: c1", b"Call-ID: c2")
        .replace(b"Record-Route: <sip:p1;lr>\r\n", b"")
        .replace(b"l: 5\r\n", b"l: 5\r\nSubject: s\r\n")
    )
    assert message.serialize() == expected


def test_set_keeps_the_place_and_drops_doubles() -> None:
    message = Request("OPTIONS", "sip:x", [("X-A", "1"), ("X-B", "2"), ("X-A", "3")])
    message.set("x-a", "4")
    assert message.items()[:2] == [("x-a", "4"), ("X-B", "2")]


def test_body_sets_its_length() -> None:
    message = register()
    message.body = b"longer than before"
    assert message.get("Content-Length") == "18"
    assert parse_message(message.serialize()).body == b"longer than before"


def test_header_injection_is_refused() -> None:
    message = register()
    for value in ("a\r\nVia: x", "a\nb", "a\rb"):
        with pytest.raises(ValueError, match="line ends"):
            message.add("Subject", value)
        with pytest.raises(ValueError, match="line ends"):
            message.set("Subject", value)
        with pytest.raises(ValueError, match="line ends"):
            message.prepend("Subject", value)
        with pytest.raises(ValueError, match="line ends"):
            message.uri = value


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\n\r", b"\r\r\n"])
def test_other_line_ends_are_refused(end: bytes) -> None:
    """A lone line end would be one to the next element, and a header to it."""
    data = REGISTER.replace(b"i: c1", b"i: c1" + end + b"Subject: smuggled")
    with pytest.raises(ParseError):
        parse_message(data)


def test_response_copies_what_it_must() -> None:
    response = response_for(register(), 200, to_tag="mine", headers=[("Expires", "60")])
    assert response.serialize() == (
        b"SIP/2.0 200 OK\r\n"
        b"v: SIP/2.0/UDP 192.0.2.10:5070;rport;branch=z9hG4bKabc\r\n"
        b"Via: SIP/2.0/TCP [2001:db8::1]:5060;branch=z9hG4bKdef, SIP/2.0/UDP b.example\r\n"
        b'f: "A \\"B\\" <x>; tag=no" <sip:a@example.com>;tag=one\r\n'
        b"To: <sip:a@example.com;tag=uri>;tag=mine\r\n"
        b"i: c1\r\n"
        b"CSEQ: 0042 REGISTER\r\n"
        b"Record-Route: <sip:p1;lr>\r\n"
        b"Expires: 60\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    assert not response_for(register(), 404, to_tag="t").has("Record-Route")
    assert response_for(register(), 100, to_tag="t").to_tag is None


def test_source_is_noted_in_the_topmost_via() -> None:
    message = register()
    message.note_source("203.0.113.5", 1234)
    assert message.get("Via") == (
        "SIP/2.0/UDP 192.0.2.10:5070;rport=1234;received=203.0.113.5;branch=z9hG4bKabc"
    )
    assert message.via.params == Via.parse(message.get("Via") or "").params


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("SIP/2.0/UDP 192.0.2.1;branch=b", "SIP/2.0/UDP 192.0.2.1;branch=b"),
        ("SIP/2.0/UDP h;branch=b", "SIP/2.0/UDP h;branch=b;received=192.0.2.1"),
        ("SIP/2.0/UDP h;rport;received=6.6.6.6", "SIP/2.0/UDP h;rport=9;received=192.0.2.1"),
        ("SIP/2.0/UDP h;rport=7", "SIP/2.0/UDP h;rport=9;received=192.0.2.1"),
        ("SIP/2.0/UDP h;rportx;rport", "SIP/2.0/UDP h;rportx;rport=9;received=192.0.2.1"),
        ("SIP/2.0/UDP h;rport, SIP/2.0/UDP i;rport",
         "SIP/2.0/UDP h;rport=9;received=192.0.2.1, SIP/2.0/UDP i;rport"),
    ],
)  # fmt: skip
def test_source_in_unusual_vias(value: str, expected: str) -> None:
    """RFC 3261 §18.2.1, RFC 3581 §4; what the sender claims counts nothing."""
    message = Request("OPTIONS", "sip:x", [("Via", value)])
    message.note_source("192.0.2.1", 9)
    assert message.get("Via") == expected


@pytest.mark.parametrize(
    "value",
    [
        "", "SIP/2.0/UDP", "SIP/2.0/UDP ", "SIP/2.0/ host", "SIP/3.0/UDP host", "HTTP/2.0/UDP host",
        "SIP/2.0/UDP host:99999", "SIP/2.0/UDP host:x", "SIP/2.0/UDP [::1", "SIP/2.0/UDP ho st",
        "SIP/2.0/UDP host;;a", "SIP/2.0/UDP host;a=", "SIP/2.0/U<P host", "SIP/2.0/UDP h\u00f6st",
    ],
)  # fmt: skip
def test_malformed_vias(value: str) -> None:
    with pytest.raises(ParseError):
        Via.parse(value)


@pytest.mark.parametrize(
    "value",
    ["", "1", "1 INVITE x", "-1 INVITE", "1e3 INVITE", "\u0661 INVITE", "2147483648 INVITE",
     "9" * 10_000 + " INVITE", "1 INV<ITE"],
)  # fmt: skip
def test_malformed_cseqs(value: str) -> None:
    message = Request("INVITE", "sip:x", [("CSeq", value)])
    with pytest.raises(ParseError):
        _ = message.cseq


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"INVITE sip:a@b SIP/2.1", 505),
        (b"INVITE sip:a@b SIP/3.0", 505),
        (b"INVITE sip:a@b HTTP/1.1", 400),
        (b"INVITE sip:a@b", 400),
        (b"INVITE  SIP/2.0", 400),
        (b"INV\xffITE sip:a@b SIP/2.0", 400),
        (b"GET / HTTP/1.1", 400),
        (b"", 400),
        (b" ", 400),
    ],
)
def test_malformed_start_lines(start: bytes, status: int) -> None:
    data = REGISTER.replace(b"REGISTER sip:example.com SIP/2.0", start)
    if not start:
        data = data.lstrip()
    with pytest.raises(ParseError) as caught:
        parse_message(data)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "start", [b"SIP/2.0 99 x", b"SIP/2.0 700 x", b"SIP/2.0 2000 x", b"SIP/2.0 20", b"SIP/2.0",
              b"SIP/1.0 200 OK", b"SIP/2.0 \xd9\xa2\xd9\xa0\xd9\xa0 OK"],
)  # fmt: skip
def test_malformed_status_lines_get_no_answer(start: bytes) -> None:
    data = REGISTER.replace(b"REGISTER sip:example.com SIP/2.0", start)
    with pytest.raises(ParseError) as caught:
        parse_message(data)
    assert error_response(caught.value) is None


def test_lower_case_version_is_understood() -> None:
    message = parse_message(REGISTER.replace(b"com SIP/2.0", b"com sip/2.0", 1))
    assert isinstance(message, Request)


def test_error_response_needs_the_copied_headers() -> None:
    with pytest.raises(ParseError) as caught:
        parse_message(REGISTER.replace(b"l: 5", b"l: -5"))
    answer = error_response(caught.value)
    assert answer is not None
    assert answer.status == 400
    with pytest.raises(ParseError) as caught:
        parse_message(REGISTER.replace(b"l: 5", b"l: -5").replace(b"i: c1\r\n", b""))
    assert error_response(caught.value) is None
    with pytest.raises(ParseError) as caught:
        parse_message(REGISTER.replace(b"REGISTER", b"ACK").replace(b"l: 5", b"l: -5"))
    assert error_response(caught.value) is None, "an ACK is never answered"


def test_a_stream_needs_content_length() -> None:
    data = b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n\r\n"
    assert parse_message(data).body == b""
    with pytest.raises(ParseError):
        parse_message(data, stream=True)


def test_undecodable_bytes_survive_and_are_valid_text() -> None:
    """An old phone's ISO 8859-1: readable, storable as JSON, and unchanged when passed on."""
    data = (
        b'OPTIONS sip:x SIP/2.0\r\nFrom: "M\xfcller" <sip:%FF@b>;tag=1\r\nX: \xff\xfe\x80\r\n\r\n'
    )
    message = parse_message(data)
    assert message.from_.display == "M\u00fcller"
    assert message.from_.parsed.username == "\u00ff"  # type: ignore[union-attr]
    (message.get("X") or "").encode()
    message.set("Y", "y")
    assert b"\xff\xfe\x80" in message.serialize()
    assert b'"M\xfcller"' in response_for(message, 200).serialize()  # type: ignore[arg-type]
    message.set("Z", "\u20ac")
    assert parse_message(message.serialize()).get("Z") == "\u20ac"


def test_numbers_are_bounded() -> None:
    message = Request("OPTIONS", "sip:x", [("Expires", "3600;x=y"), ("Min-SE", "9" * 5000)])
    assert message.get_int("Expires") == 3600
    assert message.get_int("Retry-After") is None
    with pytest.raises(ParseError):
        message.get_int("Min-SE")


def multipart(kind: str, body: bytes) -> Request:
    return Request("INVITE", "sip:x", [("Content-Type", kind)], body)


def test_sdp_is_found_in_multipart_bodies() -> None:
    body = (
        b"preamble\r\n--b1\r\nContent-Type: application/isup\r\n\r\n\x00\x01\r\n"
        b"--b1\r\nContent-Type: application/SDP;x=y\r\nContent-Disposition: session\r\n\r\n"
        b"v=0\r\no=x\r\n--b1--\r\n"
    )
    assert sdp_of(multipart('multipart/mixed;boundary="b1"', body)) == b"v=0\r\no=x\r\n"
    assert sdp_of(multipart("multipart/mixed", body)) is None
    assert sdp_of(multipart("multipart/mixed;boundary=other", body)) is None
    assert sdp_of(multipart("application/sdp", b"v=0\r\n")) == b"v=0\r\n"
    assert sdp_of(multipart("text/plain", b"v=0\r\n")) is None
    assert sdp_of(multipart("application/sdp", b"")) is None


class Counter:
    """Counts executed lines of the SIP core: time without a clock."""

    def __init__(self) -> None:
        self.lines = 0

    def __enter__(self) -> Counter:
        def local(frame: object, event: str, arg: object) -> object:
            self.lines += 1
            return local

        sys.settrace(lambda frame, event, arg: local)  # type: ignore[return-value, arg-type]
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)


def work(data: bytes) -> int:
    with Counter() as counter:
        try:
            message = parse_message(data)
            _ = (message.via, message.from_, message.to, message.cseq, message.contacts)
            response_for(message, 200, to_tag="x").serialize()  # type: ignore[arg-type]
        except ParseError:
            pass
    return counter.lines


HEAD = (
    b"OPTIONS sip:x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1%s\r\nFrom: <sip:a@b>;tag=1%s\r\n"
    b"To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContact: %s\r\n%s\r\n"
)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: HEAD % (b";p=v" * n, b"", b"<sip:c@d>", b""),
        lambda n: HEAD % (b"", b";p=v" * n, b"<sip:c@d>", b""),
        lambda n: HEAD % (b"", b"", b"<sip:c@d>" + b",<sip:c@d>" * n, b""),
        lambda n: HEAD % (b"", b"", b"<sip:c@d" + b";p=v" * n + b">", b""),
        lambda n: HEAD % (b"", b"", b'"' + b"\\\\" * n + b'" <sip:c@d>', b""),
        lambda n: HEAD % (b"", b"", b'"' + b'\\"' * n + b" <sip:c@d>", b""),
        lambda n: HEAD % (b"", b"", b"<" * n, b""),
        lambda n: HEAD % (b"", b"", b"<sip:c@d>", b"X-Unknown-Name: v\r\n" * n),
        lambda n: HEAD % (b"", b"", b"<sip:c@d>", b"Subject: a\r\n" + b" b\r\n" * n),
        lambda n: HEAD % (b"", b"", b"<sip:" + b"%41" * n + b"@d>", b""),
    ],
    ids=["via-params", "from-params", "contacts", "uri-params", "backslashes", "open-quote",
         "brackets", "headers", "folds", "escapes"],
)  # fmt: skip
def test_work_grows_linearly(make: object) -> None:
    """Ten times the parameters, headers, folds or quotes are ten times the work, not a hundred."""
    small, large = work(make(1_000)), work(make(10_000))  # type: ignore[operator]
    assert large <= 11 * small + 500


def test_a_megabyte_header_is_linear_and_harmless() -> None:
    for filling in (b"a", b",", b";", b'"', b"<", b"\\", b" ", b"=", b"%"):
        data = HEAD % (b"", b"", b"<sip:c@d>", b"Subject: " + filling * 1_000_000 + b"\r\n")
        assert work(data) < 2_000
        data = HEAD % (b"", b"", filling * 1_000_000, b"")
        assert work(data) < 300_000


def test_too_many_headers_are_refused() -> None:
    data = HEAD % (b"", b"", b"<sip:c@d>", b"X: v\r\n" * 20_000)
    with pytest.raises(ParseError) as caught:
        parse_message(data)
    assert caught.value.status == 413


def test_constructed_messages_parse_again() -> None:
    response = Response(180, headers=[("via", "SIP/2.0/UDP h"), ("X-Own", "v")], body=b"x")
    data = response.serialize()
    assert data == (
        b"SIP/2.0 180 Ringing\r\nVia: SIP/2.0/UDP h\r\nX-Own: v\r\nContent-Length: 1\r\n\r\nx"
    )
    again = parse_message(data)
    assert isinstance(again, Response)
    assert again.status == 180
