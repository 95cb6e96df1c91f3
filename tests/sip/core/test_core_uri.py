"""Addresses: RFC 3261 §19.1.4's table, odd forms, malformed ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.core.errors import ParseError
from sip.core.uri import (
    NameAddr,
    OtherUri,
    SipUri,
    TelUri,
    escape_header,
    escape_user,
    parse_uri,
    quote,
    split_commas,
    unescape,
    unquote,
)

EQUAL = [
    ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
    ("sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on"),
    (
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
    ),
    (
        "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
    ),
    ("tel:+1-201-555-0123", "tel:+12015550123"),
    ("URN:service:sos", "urn:service:SOS"),
]
DIFFERENT = [
    ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
    ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
    ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
    ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
    ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
    ("sip:alice@atlanta.com", "sips:alice@atlanta.com"),
    ("sip:alice:secret@atlanta.com", "sip:alice@atlanta.com"),
    ("sip:atlanta.com", "sip:alice@atlanta.com"),
    ("sip:a@b;maddr=192.0.2.1", "sip:a@b"),
    ("sip:a@b;user=phone", "sip:a@b"),
    ("tel:+12015550123", "tel:2015550123;phone-context=+1"),
    ("urn:service:sos", "urn:service:sos.fire"),
]


@pytest.mark.parametrize(("left", "right"), EQUAL)
def test_equal(left: str, right: str) -> None:
    assert parse_uri(left) == parse_uri(right)
    assert hash(parse_uri(left)) == hash(parse_uri(right))


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_different(left: str, right: str) -> None:
    assert parse_uri(left) != parse_uri(right)
    assert parse_uri(right) != parse_uri(left)


@pytest.mark.parametrize(
    "text",
    [
        "sip:alice@atlanta.com",
        "sips:alice:secretword@atlanta.com;transport=tcp",
        "sip:+1-212-555-1212:1234@gateway.com;user=phone",
        "sip:alice;day=tuesday@atlanta.com",
        "sip:alice@[2001:db8::9:1]:5070;lr",
        "sip:192.0.2.4",
        "sip:a@b?Replaces=12345%40192.0.2.1%3Bto-tag%3D1%3Bfrom-tag%3D2&Require=replaces",
        "tel:+4922147100;ext=5",
        "tel:110;phone-context=+49",
        "urn:service:sos",
        "sip:a@b;%6c%72;n%61me=v%61lue%25%34%31",
        "sip:\u00e4@b",
    ],
)
def test_texts_come_back(text: str) -> None:
    assert str(parse_uri(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "sip", "sip:", "sip:@b", "sip::x@b", "sip:a@", "sip:a@b@c", "sip:a b@c", "sip:a@b c",
        "sip:a@b:", "sip:a@b:0x1", "sip:a@b:65536", "sip:a@b:1:2", "sip:a@[::1", "sip:a@::1",
        "sip:a%@b", "sip:a%4@b", "sip:a%zz@b", "sip:a@b;", "sip:a@b;;c", "sip:a@b;=c", "sip:a@b;c=",
        "sip:a@b;c=d=e", "sip:a@b;c=%1", "sip:a@b?c=%", "sip:a@b?c d", "sip:a@b<", "sip:a@b\x00",
        "sip:a@b;c=\"d\"", "tel:", "tel:abc def", "tel:+49;", ":x", "1x:y", "urn:a b",
    ],
)  # fmt: skip
def test_malformed(text: str) -> None:
    with pytest.raises(ParseError):
        parse_uri(text)


def test_parts() -> None:
    uri = SipUri.parse("sips:al%20ice:pw@[2001:db8::1]:5061;Transport=TLS;LR?Replaces=a%3Bb")
    assert uri.scheme == "sips"
    assert uri.username == "al ice"
    assert uri.password == "pw"
    assert (uri.host, uri.port) == ("[2001:db8::1]", 5061)
    assert uri.transport == "tls"
    assert uri.loose
    assert uri.header_list() == [("Replaces", "a;b")]
    assert str(uri.with_(params={}, user="bob")) == "sips:bob:pw@[2001:db8::1]:5061"
    assert isinstance(parse_uri("tel:+49"), TelUri)
    assert TelUri.parse("tel:+49-221(47)10.0").digits == "+4922147100"
    assert isinstance(parse_uri("urn:service:sos"), OtherUri)
    with pytest.raises(ParseError) as caught:
        SipUri.parse("http://x")
    assert caught.value.status == 416


@pytest.mark.parametrize(
    ("text", "display", "uri", "params"),
    [
        ("<sip:a@b>", None, "sip:a@b", {}),
        ("sip:a@b;tag=1", None, "sip:a@b", {"tag": "1"}),
        ("<sip:a@b;tag=0>;TAG=1;x", None, "sip:a@b;tag=0", {"tag": "1", "x": None}),
        ("Alice <sip:a@b>", "Alice", "sip:a@b", {}),
        ("Alice B. C<sip:a@b>", "Alice B. C", "sip:a@b", {}),
        ('"A, \\"B\\" <c>; d" <sip:a@b>;x="q;\\"r"', 'A, "B" <c>; d', "sip:a@b", {"x": '"q;\\"r"'}),
        ('"" <sip:a@b>', "", "sip:a@b", {}),
        ("*", None, "*", {}),
        ("< sip:a@b >", None, "sip:a@b", {}),
        ("<tel:+49>;x=[::1]", None, "tel:+49", {"x": "[::1]"}),
    ],
)
def test_name_addr(text: str, display: str | None, uri: str, params: dict[str, str | None]) -> None:
    address = NameAddr.parse(text)
    assert (address.display, address.uri, address.params) == (display, uri, params)
    again = NameAddr.parse(str(address))
    assert (again.display, again.uri, again.params) == (display, uri, params)


@pytest.mark.parametrize(
    "text",
    ["", "<sip:a@b", '"a <sip:a@b>', '"a" sip:a@b', '"a" b <sip:a@b>', "<sip:a@b>x", "<>",
     "<sip:a@b>;;x", "sip:a@b?x=y", "<sip:a @b>", 'a "b" <sip:a@b>', "a, sip:b@c <sip:a@b>"],
)  # fmt: skip
def test_malformed_name_addr(text: str) -> None:
    with pytest.raises(ParseError):
        NameAddr.parse(text)


def test_built_display_names_are_quoted() -> None:
    assert str(NameAddr("sip:a@b", 'M"x\\\r\ny')) == '"M\\"x\\\\  y" <sip:a@b>'


def test_lists() -> None:
    assert split_commas('<sip:a,b@c>, "x, \\", y" <sip:d@e>;p="1,2",f') == [
        "<sip:a,b@c>",
        '"x, \\", y" <sip:d@e>;p="1,2"',
        "f",
    ]
    for text in ('"a, b', "<a, b", 'a, "\\"'):
        with pytest.raises(ParseError):
            split_commas(text)


@given(st.text())
def test_quoting_is_reversible(text: str) -> None:
    assert unquote(quote(text)) == text.replace("\r", " ").replace("\n", " ")


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_escaping_is_reversible(text: str) -> None:
    assert unescape(escape_user(text)) == text
    assert unescape(escape_header(text)) == text
    if text:
        uri = SipUri.parse(f"sip:{escape_user(text)}@b?X={escape_header(text)}")
        assert uri.username == text
        assert uri.header_list() == [("X", text)]
