"""Trunks: who may come in, where calls go out, and keeping a registration alive."""

from __future__ import annotations

import itertools

import pytest

from comms.directory import Directory, Trunk
from sip.core.events import Txn
from sip.core.flow import Flow
from sip.core.message import Request, Response, response_for
from sip.trunks import Trunks

PROVIDER = Trunk(
    name="provider",
    kind="register",
    host="192.0.2.50",
    port=5060,
    domain="provider.example",
    user="city",
    password="secret",
    main_number="+4922147100",
)
GATEWAY = Trunk(
    name="gateway", kind="address", host="192.0.2.60", port=5060, allowed=("192.0.2.0/28",)
)


class Wire:
    """What trunks sent, and a way to answer it."""

    def __init__(self, *trunks: Trunk) -> None:
        self.sent: list[tuple[Txn, Request, Flow, tuple[str, str]]] = []
        numbers = itertools.count(1)
        self.trunks = Trunks(self._flow_to, self._request, lambda: f"t{next(numbers)}")
        self.trunks.update(Directory("musterstadt.example", trunks=trunks))

    def _flow_to(self, transport: str, host: str, port: int) -> Flow:
        return Flow("udp", ("198.51.100.1", 5060), (host, port))

    def _request(self, request: Request, flow: Flow, credentials: tuple[str, str]) -> Txn:
        txn = ("register", str(len(self.sent)))
        self.sent.append((txn, request, flow, credentials))
        return txn

    def answer(self, status: int, now: float, *headers: tuple[str, str]) -> Response:
        txn, request, _, _ = self.sent[-1]
        response = response_for(request, status, headers=headers)
        assert self.trunks.answered(txn, response, now)
        return response


def test_registers_at_once_with_its_credentials() -> None:
    wire = Wire(PROVIDER)
    assert wire.trunks.target("provider", "+4930123456", 0.0) is None, "not registered yet"
    wire.trunks.handle_timers(0.0)
    ((_, request, flow, credentials),) = wire.sent
    assert request.method == "REGISTER"
    assert request.uri == "sip:provider.example"
    assert flow.remote == ("192.0.2.50", 5060)
    assert credentials == ("city", "secret")
    assert request.get("Contact") == "<sip:city@198.51.100.1:5060>"


def test_is_used_while_registered_and_refreshed_in_time() -> None:
    wire = Wire(PROVIDER)
    wire.trunks.handle_timers(0.0)
    wire.answer(200, 1.0, ("Contact", "<sip:city@198.51.100.1:5060>;expires=300"))
    target = wire.trunks.target("provider", "+4930123456", 2.0)
    assert target is not None
    assert target.uri == "sip:+4930123456@provider.example;user=phone"
    assert wire.trunks.next_timer() == pytest.approx(241.0)
    assert wire.trunks.target("provider", "+4930123456", 302.0) is None
    wire.trunks.handle_timers(241.0)
    first, second = (sent[1] for sent in wire.sent)
    assert second.call_id == first.call_id
    assert second.cseq[0] > first.cseq[0] + 1, "a challenge uses a number of its own"


def test_failures_are_retried_ever_more_slowly() -> None:
    wire = Wire(PROVIDER)
    delays, now = [], 0.0
    for _ in range(6):
        wire.trunks.handle_timers(now)
        wire.answer(503, now)
        due = wire.trunks.next_timer()
        assert due is not None
        delays.append(due - now)
        now = due
    assert delays == [2.0, 5.0, 15.0, 30.0, 60.0, 60.0]


def test_no_answer_counts_as_a_failure() -> None:
    wire = Wire(PROVIDER)
    wire.trunks.handle_timers(0.0)
    assert wire.trunks.failed(wire.sent[0][0], 32.0)
    assert wire.trunks.next_timer() == 34.0
    assert not wire.trunks.failed(("other",), 32.0)


def test_an_unchanged_trunk_keeps_its_registration_when_the_directory_changes() -> None:
    wire = Wire(PROVIDER)
    wire.trunks.handle_timers(0.0)
    wire.answer(200, 0.0)
    wire.trunks.update(Directory("musterstadt.example", trunks=(PROVIDER, GATEWAY)))
    assert wire.trunks.target("provider", "+4930123456", 1.0) is not None


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.5", "gateway"),
        ("192.0.2.50", "provider"),
        ("192.0.2.60", None),
        ("203.0.113.1", None),
        ("::1", None),
    ],
)
def test_who_is_trusted(address: str, name: str | None) -> None:
    trunk = Wire(PROVIDER, GATEWAY).trunks.incoming(address)
    assert (trunk.name if trunk else None) == name
