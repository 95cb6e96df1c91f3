"""The transaction tables and their timers, to the millisecond."""

from __future__ import annotations

import itertools
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sip.core.errors import StateError
from sip.core.flow import Flow
from sip.core.message import Request, Response, parse_message, response_for
from sip.core.timers import TimerWheel
from sip.core.transaction import (
    ACTIONS,
    AckReceived,
    CancelReceived,
    RequestReceived,
    ResponseReceived,
    TransactionEnded,
    TransactionLayer,
    TransactionTimedOut,
    TransportFailed,
)
from sip.core.transaction_tables import TABLES, diagram

UDP = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.2", 5060))
TCP = Flow("tcp", ("192.0.2.1", 5060), ("192.0.2.2", 40000), 7)


def layer() -> TransactionLayer:
    counter = itertools.count(1)
    return TransactionLayer(lambda: f"token{next(counter)}")


def request(method: str = "INVITE", **changes: str) -> Request:
    fields = {
        "Via": "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKx",
        "From": "<sip:a@b>;tag=1",
        "To": "<sip:c@d>",
        "Call-ID": "call",
        "CSeq": f"1 {method}",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return Request(method, "sip:c@d", fields.items())


def sends(subject: TransactionLayer) -> list[bytes]:
    return [data.split(b"\r\n")[0] for _, data in subject.datagrams()]


def play(subject: TransactionLayer, until: float, start: float = 0.0) -> list[tuple[float, bytes]]:
    """Run the timers; what was sent and when."""
    sent = [(start, line) for line in sends(subject)]
    while (timer := subject.next_timer()) is not None and timer <= until:
        subject.handle_timers(timer)
        sent += [(timer, line) for line in sends(subject)]
    return sent


@pytest.mark.parametrize("name", TABLES)
def test_every_state_answers_every_event(name: str) -> None:
    table = TABLES[name]
    events = {event for row in table.values() for event in row}
    for state, row in table.items():
        assert row.keys() == events, f"{state} does not answer {events - row.keys()}"
        for event, entry in row.items():
            target, *actions = entry.split()
            assert target in table or target == "terminated", f"{state} {event}"
            assert set(actions) <= ACTIONS.keys(), f"{state} {event}"
            if target == "terminated":
                assert {"forget", "fail", "time_out"} & set(actions), f"{state} {event} leaks"


@pytest.mark.parametrize("name", TABLES)
def test_every_state_is_reached_and_left(name: str) -> None:
    table = TABLES[name]
    reached = {next(iter(table))}
    for row in table.values():
        reached |= {entry.split()[0] for entry in row.values()}
    assert reached == table.keys() | {"terminated"}
    assert diagram(table).startswith("stateDiagram-v2")


def test_client_invite_timers_a_and_b() -> None:
    subject = layer()
    subject.request(request(), UDP, 0.0)
    sent = play(subject, 100)
    assert [when for when, _ in sent] == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert subject.events() == [TransactionTimedOut(("z9hG4bKtoken1", "INVITE"))]
    assert len(subject) == 0


def test_client_request_timers_e_and_f() -> None:
    subject = layer()
    subject.request(request("OPTIONS"), UDP, 0.0)
    sent = play(subject, 100)
    assert [when for when, _ in sent] == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert isinstance(subject.events()[0], TransactionTimedOut)
    assert len(subject) == 0


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
def test_no_retransmission_on_connections(method: str) -> None:
    subject = layer()
    subject.request(request(method), TCP, 0.0)
    assert len(play(subject, 100)) == 1
    assert isinstance(subject.events()[0], TransactionTimedOut)


def respond(subject: TransactionLayer, sent: Request, status: int, now: float) -> None:
    answer = response_for(sent, status, to_tag="t")
    subject.receive(parse_message(answer.serialize()), UDP, now)


def test_provisional_response_slows_a_request_to_t2() -> None:
    """RFC 3261 §17.1.2.2"""
    subject = layer()
    sent = request("OPTIONS")
    subject.request(sent, UDP, 0.0)
    respond(subject, sent, 100, 0.1)
    assert [when for when, _ in play(subject, 12)] == [0, 0.5, 4.5, 8.5]


@pytest.mark.parametrize(("flow", "linger"), [(UDP, 32.0), (TCP, 0.0)])
def test_client_invite_failure_is_acknowledged_and_lingers(flow: Flow, linger: float) -> None:
    """Timer D"""
    subject = layer()
    sent = request(Route="<sip:p;lr>")
    subject.request(sent, flow, 0.0)
    subject.datagrams()
    respond(subject, sent, 486, 1.0)
    [(_, ack)] = subject.datagrams()
    message = parse_message(ack)
    assert isinstance(message, Request)
    assert message.method == "ACK"
    assert message.via.branch == sent.via.branch
    assert message.cseq == (1, "ACK")
    assert message.to_tag == "t"
    assert message.get("Route") == "<sip:p;lr>"
    assert message.uri == sent.uri
    assert len(subject.events()) == 1
    if linger:
        respond(subject, sent, 486, 2.0)
        assert sends(subject) == [b"ACK sip:c@d SIP/2.0"]
        assert subject.events() == []
        assert subject.next_timer() == 1.0 + linger
        subject.handle_timers(33.0)
    assert len(subject) == 0
    assert subject.next_timer() is None


def test_client_invite_success_is_passed_until_timer_m() -> None:
    """RFC 6026 §8.4"""
    subject = layer()
    sent = request()
    key = subject.request(sent, UDP, 0.0)
    for now in (1.0, 2.0):
        respond(subject, sent, 200, now)
    respond(subject, sent, 486, 2.5)
    events = subject.events()
    assert [type(event) for event in events] == [ResponseReceived, ResponseReceived]
    assert subject.next_timer() == 33.0
    subject.handle_timers(33.0)
    assert subject.events() == [TransactionEnded(key)]
    assert len(subject) == 0


@pytest.mark.parametrize(("flow", "linger"), [(UDP, 5.0), (TCP, 0.0)])
def test_client_request_lingers_for_timer_k(flow: Flow, linger: float) -> None:
    subject = layer()
    sent = request("OPTIONS")
    subject.request(sent, flow, 0.0)
    respond(subject, sent, 200, 1.0)
    respond(subject, sent, 200, 1.0)
    assert len(subject.events()) == 1
    assert subject.next_timer() == (1.0 + linger if linger else None)
    subject.handle_timers(6.0)
    assert len(subject) == 0


def receive(subject: TransactionLayer, message: Request, flow: Flow, now: float) -> None:
    subject.receive(parse_message(message.serialize()), flow, now)


def test_server_invite_failure_timers_g_and_h() -> None:
    subject = layer()
    receive(subject, request(), UDP, 0.0)
    [event] = subject.events()
    assert isinstance(event, RequestReceived)
    subject.respond(event.key, response_for(event.request, 486, to_tag="t"), 0.0)
    sent = play(subject, 100)
    assert [when for when, _ in sent] == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert len(subject) == 0


def test_server_invite_acknowledged_lingers_for_timer_i() -> None:
    subject = layer()
    receive(subject, request(), UDP, 0.0)
    [event] = subject.events()
    assert isinstance(event, RequestReceived)
    subject.respond(event.key, response_for(event.request, 486, to_tag="t"), 0.0)
    receive(subject, request("ACK", To="<sip:c@d>;tag=t"), UDP, 0.2)
    receive(subject, request("ACK", To="<sip:c@d>;tag=t"), UDP, 0.3)
    receive(subject, request(), UDP, 0.4)
    assert len(sends(subject)) == 1
    assert subject.events() == []
    assert subject.next_timer() == 5.2
    subject.handle_timers(5.2)
    assert len(subject) == 0


def test_server_invite_success_absorbs_repetitions_for_timer_l() -> None:
    """RFC 6026 §8.5; the 200 is repeated by the transaction's user."""
    subject = layer()
    receive(subject, request(), UDP, 0.0)
    [event] = subject.events()
    assert isinstance(event, RequestReceived)
    answer = response_for(event.request, 200, to_tag="t")
    subject.respond(event.key, answer, 0.0)
    receive(subject, request(), UDP, 1.0)
    assert len(sends(subject)) == 1
    subject.respond(event.key, answer, 1.5)
    assert len(sends(subject)) == 1
    receive(subject, request("ACK", To="<sip:c@d>;tag=t"), UDP, 2.0)
    assert [type(e) for e in subject.events()] == [AckReceived]
    assert subject.next_timer() == 32.0
    subject.handle_timers(32.0)
    assert len(subject) == 0
    with pytest.raises(StateError):
        subject.respond(event.key, answer, 33.0)


@pytest.mark.parametrize(("flow", "linger"), [(UDP, 32.0), (TCP, 0.0)])
def test_server_request_repeats_its_answer_for_timer_j(flow: Flow, linger: float) -> None:
    subject = layer()
    receive(subject, request("OPTIONS"), flow, 0.0)
    [event] = subject.events()
    assert isinstance(event, RequestReceived)
    receive(subject, request("OPTIONS"), flow, 0.1)
    assert sends(subject) == [], "nothing to repeat yet"
    subject.respond(event.key, response_for(event.request, 200, to_tag="t"), 0.2)
    if linger:
        receive(subject, request("OPTIONS"), flow, 0.3)
        assert len(sends(subject)) == 2
        assert subject.next_timer() == 32.2
    assert subject.events() == []
    subject.handle_timers(32.2)
    assert len(subject) == 0


def test_provisional_response_is_repeated() -> None:
    subject = layer()
    receive(subject, request(), UDP, 0.0)
    [event] = subject.events()
    assert isinstance(event, RequestReceived)
    subject.respond(event.key, response_for(event.request, 180, to_tag="t"), 0.0)
    receive(subject, request(), UDP, 0.5)
    assert sends(subject) == [b"SIP/2.0 180 Ringing"] * 2


@pytest.mark.parametrize(
    "changes",
    [
        {"Via": "SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKy"},
        {"Via": "SIP/2.0/UDP 192.0.2.2:5070;branch=z9hG4bKx"},
        {"Via": "SIP/2.0/UDP 192.0.2.3;branch=z9hG4bKx"},
    ],
)
def test_server_key_is_branch_sent_by_and_method(changes: dict[str, str]) -> None:
    """RFC 3261 §17.2.3"""
    subject = layer()
    receive(subject, request(), UDP, 0.0)
    receive(subject, request(Call_ID="other", **changes), UDP, 0.0)
    assert len(subject.events()) == 2


def test_merged_requests_are_refused() -> None:
    """RFC 3261 §8.2.2.2: the same request by two ways."""
    subject = layer()
    receive(subject, request(), UDP, 0.0)
    receive(subject, request(Via="SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKy"), UDP, 0.0)
    assert sends(subject) == [b"SIP/2.0 482 Loop Detected"]
    [event] = subject.events()
    assert isinstance(event, RequestReceived)
    subject.respond(event.key, response_for(event.request, 486, to_tag="t"), 0.0)
    receive(subject, request(Via="SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKz"), UDP, 0.0)
    assert len(subject.events()) == 1, "once answered, it counts as a new one"


@pytest.mark.parametrize("via", ["SIP/2.0/UDP 192.0.2.2", "SIP/2.0/UDP 192.0.2.2;branch=1"])
def test_old_clients_without_magic_cookie(via: str) -> None:
    """RFC 3261 §17.2.3, RFC 2543"""
    subject = layer()
    old = {"Via": via}
    receive(subject, request(**old), UDP, 0.0)
    receive(subject, request(**old), UDP, 0.1)
    [event] = subject.events()
    assert isinstance(event, RequestReceived)
    receive(subject, request("CANCEL", **old), UDP, 0.2)
    assert subject.events() == [CancelReceived(event.key, parse_any(subject))]
    subject.respond(event.key, response_for(event.request, 487, to_tag="t"), 0.3)
    receive(subject, request("ACK", To="<sip:c@d>;tag=t", **old), UDP, 0.4)
    assert subject.events() == []
    receive(subject, request(**{"CSeq": "2 INVITE", **old}), UDP, 0.5)
    assert len(subject.events()) == 1


class parse_any:
    def __init__(self, _: object) -> None: ...

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("via", "port"),
    [
        ("SIP/2.0/UDP 10.0.0.5:5080;branch=z9hG4bKx;rport", 5060),
        ("SIP/2.0/UDP 10.0.0.5:5080;branch=z9hG4bKx", 5080),
        ("SIP/2.0/UDP 10.0.0.5;branch=z9hG4bKx", 5060),
        ("SIP/2.0/UDP 10.0.0.5;branch=z9hG4bKx;maddr=203.0.113.9", 5060),
    ],
)
def test_where_responses_go(via: str, port: int) -> None:
    """RFC 3261 §18.2.2, RFC 3581: always to the host the request came from."""
    subject = layer()
    receive(subject, request("OPTIONS", Via=via), UDP, 0.0)
    [event] = subject.events()
    assert isinstance(event, RequestReceived)
    assert event.request.via.received == "192.0.2.2"
    subject.respond(event.key, response_for(event.request, 200, to_tag="t"), 0.0)
    [(flow, data)] = subject.datagrams()
    assert flow.remote == ("192.0.2.2", port)
    assert b"received=192.0.2.2" in data


@pytest.mark.parametrize("name", ["Via", "From", "To", "Call-ID", "CSeq"])
@pytest.mark.parametrize("how", ["missing", "broken"])
def test_malformed_requests_make_no_state(name: str, how: str) -> None:
    subject = layer()
    message = request("OPTIONS")
    if how == "missing":
        message.remove(name)
    else:
        message.set(name, '"' if name != "Call-ID" else "")
    receive(subject, message, UDP, 0.0)
    assert subject.events() == []
    assert len(subject) == 0
    assert subject.stats["malformed"] == 1
    assert subject.next_timer() is None


def test_unknown_responses_are_dropped() -> None:
    subject = layer()
    sent = request("OPTIONS")
    sent.set("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKguess")
    respond(subject, sent, 200, 0.0)
    assert subject.events() == []
    assert subject.stats["stray"] == 1


def test_broken_connection_fails_what_hangs_on_it() -> None:
    subject = layer()
    client = subject.request(request("OPTIONS"), TCP, 0.0)
    receive(subject, request(), TCP, 0.0)
    [event] = subject.events()
    assert isinstance(event, RequestReceived)
    subject.flow_failed(TCP, 1.0)
    assert set(map(repr, subject.events())) == {
        repr(TransportFailed(client)),
        repr(TransportFailed(event.key)),
    }
    assert len(subject) == 0
    assert not subject._by_flow


def test_too_many_transactions_are_refused_early() -> None:
    counter = itertools.count()
    subject = TransactionLayer(lambda: f"t{next(counter)}", max_transactions=3)
    for number in range(5):
        via = f"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{number}"
        receive(subject, request("OPTIONS", Via=via, Call_ID=str(number)), UDP, 0.0)
    assert len(subject.events()) == 3
    sent = subject.datagrams()
    assert len(sent) == 2
    message = parse_message(sent[0][1])
    assert isinstance(message, Response)
    assert (message.status, message.get("Retry-After")) == (503, "5")
    receive(subject, request("OPTIONS", Via="SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK0"), UDP, 0.1)
    assert subject.stats["retransmissions"] == 1


def test_memory_is_given_back() -> None:
    subject = layer()
    for number in range(200):
        now = number * 1.0
        via = f"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{number}"
        receive(subject, request("OPTIONS", Via=via, Call_ID=str(number)), UDP, now)
        [event] = subject.events()
        assert isinstance(event, RequestReceived)
        subject.respond(event.key, response_for(event.request, 200, to_tag="t"), now)
        subject.handle_timers(now)
        assert len(subject) <= 33
    subject.handle_timers(1000.0)
    assert len(subject) == 0
    assert not subject._merges
    assert len(subject.timers) == 0


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["start", "cancel", "pass"]), st.floats(0, 100, allow_nan=False)),
        max_size=60,
    )
)
def test_timer_wheel_is_exact(steps: list[tuple[str, float]]) -> None:
    """Against the simplest possible model: a list."""
    wheel = TimerWheel()
    model: dict[int, float] = {}
    handles = {}
    now = 0.0
    for number, (what, amount) in enumerate(steps):
        if what == "start":
            handles[number] = wheel.start(now + amount, number)
            model[number] = now + amount
        elif what == "cancel" and handles:
            chosen = sorted(handles)[int(amount) % len(handles)]
            wheel.cancel(handles.pop(chosen))
            model.pop(chosen, None)
        else:
            now += amount / 10
            due = sorted((when, n) for n, when in model.items() if when <= now)
            assert sorted(wheel.pop_due(now)) == sorted(n for _, n in due)
            for _, n in due:
                del model[n]
        assert wheel.bound() <= min(model.values(), default=inf)
        assert wheel.next() == min(model.values(), default=None)
        assert len(wheel) == len(model)


def test_the_bound_of_a_wheel_follows_when_it_is_asked_at_that_time() -> None:
    wheel = TimerWheel()
    assert wheel.bound() == inf
    early = wheel.start(1.0, "early")
    wheel.start(5.0, "late")
    assert wheel.bound() == 1.0
    wheel.cancel(early)
    assert wheel.bound() <= 5.0
    assert list(wheel.pop_due(1.0)) == []
    assert wheel.bound() == 5.0
    assert list(wheel.pop_due(5.0)) == ["late"]
    assert wheel.bound() == inf


def test_a_timer_cancelled_by_an_earlier_one_does_not_fire() -> None:
    wheel = TimerWheel()
    later = wheel.start(2.0, "later")
    wheel.start(1.0, "first")
    fired = []
    for payload in wheel.pop_due(3.0):
        fired.append(payload)
        wheel.cancel(later)
    assert fired == ["first"]
    assert len(wheel) == 0


def test_cancelled_timers_do_not_pile_up() -> None:
    wheel = TimerWheel()
    for number in range(50_000):
        wheel.cancel(wheel.start(3600.0 + number, number))
    assert sum(map(len, wheel._slots.values())) < 3_000
    assert len(wheel._order) < 3_000
