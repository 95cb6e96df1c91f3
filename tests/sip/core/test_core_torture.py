"""RFC 4475, complete: 49 messages, three outcomes."""

from __future__ import annotations

import pytest
from netsim import Net
from torture import CASES, Case

from sip.core.errors import ParseError
from sip.core.events import LegInvited, UaConfig
from sip.core.events import Request as RequestEvent
from sip.core.flow import Flow
from sip.core.message import Request, Response, error_response, parse_message, response_for
from sip.core.ua import UserAgent
from sip.core.validate import validate

BY_NAME = {case.name: case for case in CASES}


def test_the_set_is_complete() -> None:
    assert len(BY_NAME) == 49


@pytest.mark.parametrize("case", CASES, ids=[f"{c.section}-{c.name}" for c in CASES])
def test_outcome(case: Case) -> None:
    try:
        message = parse_message(case.data)
        if isinstance(message, Response):
            _ = (message.via, message.cseq, message.from_tag, message.to_tag, message.call_id)
            outcome, status = "accepted", 0
        else:
            refusal = validate(message)
            outcome = "accepted" if refusal is None else "refused"
            status = 0 if refusal is None else refusal.status
            for contact in message.contacts:
                _ = contact.parsed
    except ParseError as error:
        outcome, status = "malformed", error.status
        if error.message is None:
            error.message = message
        if error_response(error) is None:
            status = 0
    assert (outcome, status) == (case.outcome, case.status)


@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_untouched_messages_serialise_as_they_came(case: Case) -> None:
    try:
        message = parse_message(case.data)
    except ParseError:
        return
    expected = (
        case.data.split(b"INVITE sip:joe")[0].removesuffix(b"\r\n")
        if (case.name == "dblreq")
        else case.data
    )
    assert message.serialize() == expected
    # Changed messages keep every line that was not touched.
    message.set("X-Test", "1")
    changed = message.serialize()
    head, _, body = expected.partition(b"\r\n\r\n")
    assert changed == head + b"\r\nX-Test: 1\r\n\r\n" + body


@pytest.mark.parametrize("case", CASES, ids=[c.name for c in CASES])
def test_user_agent_lets_only_good_requests_through(case: Case) -> None:
    agent = UserAgent(UaConfig(allow=(*UaConfig().allow, "MESSAGE")), Net(1).token)
    flow = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.99", 5060))
    agent.receive_data(case.data, flow, 1000.0)
    events = agent.events()
    sent = [parse_message(data) for _, data in agent.datagrams()]
    statuses = [message.status for message in sent if isinstance(message, Response)]
    if case.name in ("wsinv",):
        assert statuses == [481], "its To has a tag, but there is no dialog"
    elif case.name == "regbadct":
        # Contacts are the registrar's to read.
        [event] = events
        with pytest.raises(ParseError):
            _ = event.request.contacts  # type: ignore[union-attr]
    elif case.outcome != "accepted":
        assert not events
        assert statuses == ([case.status] if case.status else [])
    elif isinstance(parse_message(case.data), Request):
        [event] = events
        assert isinstance(event, RequestEvent | LegInvited)


def request(name: str) -> Request:
    message = parse_message(BY_NAME[name].data)
    assert isinstance(message, Request)
    return message


def test_wsinv_values() -> None:
    message = request("wsinv")
    assert message.to_tag == "1918181833n"
    assert message.from_tag == "98asjd8"
    assert message.from_.display == 'J Rosenberg \\"'
    assert message.cseq == (9, "INVITE")
    assert message.get_int("max-forwards") == 68
    assert message.via.host == "192.0.2.2"
    assert message.via.branch == "390skdjuw"
    assert len(message.get_all("Via")) == 3
    assert message.get("Subject") == ""
    assert message.get("newfangledheader") == "newfangled value continued newfangled value"
    [contact] = message.contacts
    assert contact.display == 'Quoted string ""'
    assert contact.params == {"newparam": "newvalue", "secondparam": None, "q": "0.33"}
    assert len(message.body) == 150
    assert response_for(message, 200).via.branch == "390skdjuw"


def test_intmeth_values() -> None:
    message = request("intmeth")
    assert message.from_tag == "_token~1'+`*%!-."
    assert message.to.display == "BEL:\x07 NUL:\x00 DEL:\x7f"
    assert message.from_.display == "token1~` token2'+_ token3*%!.-"
    uri = message.ruri
    assert str(uri) == message.uri
    assert uri.user == "1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"  # type: ignore[union-attr]


def test_escaped_users_are_unescaped_once() -> None:
    uri = request("esc01").ruri
    assert uri.username == "sips:user@example.com"  # type: ignore[union-attr]
    [contact] = request("esc01").contacts
    assert contact.parsed.username == "caller"  # type: ignore[union-attr]
    assert request("escnull").to.parsed.username == "null-\x00-null"  # type: ignore[union-attr]


def test_longreq_has_34_vias() -> None:
    assert len(request("longreq").get_all("v")) == 34


def test_cparam_belongs_where_it_stands() -> None:
    assert "unknownparam" in request("cparam01").contacts[0].params
    assert "unknownparam" in request("cparam02").contacts[0].parsed.params  # type: ignore[union-attr]


def test_reason_phrases() -> None:
    for name in ("unreason", "noreason"):
        message = parse_message(BY_NAME[name].data)
        assert isinstance(message, Response)
        assert message.serialize() == BY_NAME[name].data
