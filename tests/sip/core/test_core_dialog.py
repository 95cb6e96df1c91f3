"""Dialogs: routes, targets, order; session timers as calculation."""

from __future__ import annotations

import msgspec
import pytest

from sip.core import session_timer
from sip.core.dialog import Dialog, client_dialog, server_dialog
from sip.core.errors import ParseError
from sip.core.flow import Flow
from sip.core.message import Request, Response
from sip.core.session_timer import Session, as_client, as_server, requested, too_small

FLOW = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.2", 5060))


def invite(*headers: tuple[str, str]) -> Request:
    return Request(
        "INVITE",
        "sip:b@192.0.2.1",
        [
            ("Via", "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx"),
            ("From", '"A; B" <sip:a@a;x=y>;tag=1;extra'),
            ("To", "<sip:b@b>"),
            ("Call-ID", "c"),
            ("CSeq", "5 INVITE"),
            ("Contact", "<sip:a@192.0.2.2:5070;ob>;+sip.instance=x"),
            *headers,
        ],
    )


def dialog(*routes: str) -> Dialog:
    headers = [("Record-Route", route) for route in routes]
    return server_dialog(invite(*headers), "mine", "sip:192.0.2.1", FLOW)


def test_the_called_side() -> None:
    """RFC 3261 §12.1.1"""
    subject = dialog("<sip:p1;lr>", "<sip:p2;lr>")
    request = subject.next_request("BYE")
    assert request.uri == "sip:a@192.0.2.2:5070;ob"
    assert request.get_all("Route") == ["<sip:p1;lr>", "<sip:p2;lr>"]
    assert request.get("From") == "<sip:b@b>;tag=mine"
    assert request.get("To") == '"A; B" <sip:a@a;x=y>;extra;tag=1'
    assert request.cseq == (1, "BYE")
    assert request.call_id == "c"
    assert subject.next_request("INFO").cseq == (2, "INFO")
    assert subject.next_request("ACK", cseq=1).cseq == (1, "ACK")
    assert subject.local_seq == 2


def test_the_calling_side() -> None:
    """RFC 3261 §12.1.2: the routes the other way round."""
    response = Response(
        200,
        headers=[
            ("Record-Route", "<sip:p1;lr>, <sip:p2;lr>"),
            ("Record-Route", "<sip:p3;lr>"),
            ("To", "<sip:b@b>;tag=2"),
            ("Contact", "<sip:b@192.0.2.9>"),
        ],
    )
    subject = client_dialog(invite(), response, "sip:192.0.2.1", FLOW)
    request = subject.next_request("BYE")
    assert request.uri == "sip:b@192.0.2.9"
    assert request.get_all("Route") == ["<sip:p3;lr>", "<sip:p2;lr>", "<sip:p1;lr>"]
    assert request.get("From") == '"A; B" <sip:a@a;x=y>;extra;tag=1'
    assert request.get("To") == "<sip:b@b>;tag=2"
    assert request.cseq == (6, "BYE")
    assert subject.state == "confirmed"


def test_strict_routers_get_themselves_as_request_uri() -> None:
    """RFC 3261 §12.2.1.1"""
    request = dialog("<sip:p1;method=INVITE;x=1>", "<sip:p2;lr>").next_request("BYE")
    assert request.uri == "sip:p1;x=1"
    assert request.get_all("Route") == ["<sip:p2;lr>", "<sip:a@192.0.2.2:5070;ob>"]


def test_target_refresh_and_order() -> None:
    subject = dialog()
    subject.refresh_target(Response(200, headers=[("Contact", "<sip:new@192.0.2.7>")]))
    assert subject.target == "sip:new@192.0.2.7"
    subject.refresh_target(Response(200))
    assert subject.target == "sip:new@192.0.2.7"
    assert [subject.in_order(number) for number in (4, 5, 6, 6, 100, 7)] == [
        False, False, True, False, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "contact", ["*", "<tel:+49>", "<http://x>", "<sip:a b>", "", "<sip:a@b@c>"]
)
def test_unusable_contacts_make_no_dialog(contact: str) -> None:
    request = invite()
    request.set("Contact", contact)
    with pytest.raises(ParseError):
        server_dialog(request, "mine", "sip:192.0.2.1", FLOW)


def test_malformed_routes_make_no_dialog() -> None:
    with pytest.raises(ParseError):
        dialog("<sip:p1")


def test_dialogs_survive_json() -> None:
    subject = dialog("<sip:p1;lr>")
    again = msgspec.json.decode(msgspec.json.encode(subject), type=Dialog)
    assert again == subject
    assert again.flow == FLOW


def timer_request(expires: str | None, min_se: str | None = None, timer: bool = True) -> Request:
    headers = [("Supported", "timer" if timer else "replaces")]
    if expires is not None:
        headers.append(("Session-Expires", expires))
    if min_se is not None:
        headers.append(("Min-SE", min_se))
    return invite(*headers)


@pytest.mark.parametrize(
    ("expires", "min_se", "timer", "wish", "agreed"),
    [
        ("1800", None, True, 1800, Session(1800, "uac")),
        ("1800;refresher=uas", None, True, 1800, Session(1800, "uas")),
        ("1800;Refresher=UAC;x=y", None, True, 1800, Session(1800, "uac")),
        ("3600", None, True, 1800, Session(1800, "uac")),
        ("3600", "2400", True, 1800, Session(2400, "uac")),
        ("600", None, True, 1800, Session(600, "uac")),
        ("600", None, True, 0, Session(600, "uac")),
        ("600;refresher=uac", None, False, 1800, Session(600, "uas")),
        (None, None, True, 1800, Session(1800, "uac")),
        (None, None, False, 1800, Session(1800, "uas")),
        (None, "2400", True, 1800, Session(2400, "uac")),
        (None, None, True, 0, None),
    ],
)
def test_what_a_server_answers(
    expires: str | None, min_se: str | None, timer: bool, wish: int, agreed: Session | None
) -> None:
    """RFC 4028 §9, table 2"""
    assert as_server(timer_request(expires, min_se, timer), wish, 90) == agreed


def test_too_small_only_for_who_understands() -> None:
    assert too_small(timer_request("89"), 90)
    assert not too_small(timer_request("90"), 90)
    assert not too_small(timer_request("89", timer=False), 90)
    assert as_server(timer_request("60", timer=False), 1800, 90) == Session(90, "uas")


def test_what_a_client_takes() -> None:
    """RFC 4028 §7.2"""

    def response(value: str | None) -> Response:
        return Response(200, headers=[("x", value)] if value else [])

    answer = Response(200, headers=[("Session-Expires", "600;refresher=uas")])
    assert as_client(answer, 1800) == Session(600, "uas")
    assert as_client(Response(200, headers=[("x", "20")]), 1800) == Session(90, "uac")
    assert as_client(response(None), 1800) == Session(1800, "uac")
    assert as_client(response(None), 0) is None


def test_when() -> None:
    """RFC 4028 §10"""
    assert session_timer.refresh_after(1800) == 900
    assert session_timer.expires_after(1800) == 1768
    assert session_timer.expires_after(90) == 60


@pytest.mark.parametrize("value", ["", "x", "-1", "99999999999", "1800x"])
def test_malformed_intervals(value: str) -> None:
    with pytest.raises(ParseError):
        requested(timer_request(value))
