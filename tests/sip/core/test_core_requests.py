"""Requests out of dialog, credentials, and what is refused by the core itself."""

from __future__ import annotations

import pytest
from netsim import Endpoint, Net
from test_core_calls import ANSWER, OFFER_2, answers, order, pair

from sip.core import digest
from sip.core.events import (
    Answer,
    Event,
    Failed,
    LegAnswered,
    LegFailed,
    LegInvited,
    LegOfferAnswered,
    Request,
    UaConfig,
)
from sip.core.message import Request as RequestMessage
from sip.core.message import Response, parse_message


def register(host: str = "192.0.2.1") -> RequestMessage:
    return RequestMessage(
        "REGISTER",
        "sip:192.0.2.2",
        [
            ("Max-Forwards", "70"),
            ("From", f"<sip:201@{host}>;tag=1"),
            ("To", f"<sip:201@{host}>"),
            ("Call-ID", "reg"),
            ("CSeq", "7 REGISTER"),
            ("Contact", f"<sip:201@{host}>"),
        ],
    )


class Registrar:
    """Asks for a password; may call the first nonce stale."""

    def __init__(self, endpoint: Endpoint, stale: int = 0) -> None:
        self.endpoint = endpoint
        self.issuer = digest.NonceIssuer(b"key")
        self.stale = stale
        self.seen: list[int] = []
        endpoint.react = self.react

    def react(self, event: Event) -> None:
        if not isinstance(event, Request):
            return
        ua, now = self.endpoint.ua, self.endpoint.net.now
        self.seen.append(event.request.cseq[0])
        value = event.request.get("Authorization")
        stale = False
        if value is not None:
            credentials = digest.Credentials.parse(value)
            assert credentials is not None
            assert credentials.algorithm == "SHA-256"
            secret = digest.ha1("201", "realm", "right", "SHA-256")
            if not digest.verify(credentials, event.request.method, event.request.uri, secret):
                pass
            elif self.stale:
                self.stale -= 1
                stale = True
            else:
                ua.respond(event.txn, 200, now=now)
                return
        headers = [
            ("WWW-Authenticate", challenge)
            for challenge in digest.challenges("realm", self.issuer.issue(now), stale)
        ]
        ua.respond(event.txn, 401, headers=headers, now=now)


@pytest.mark.parametrize("stale", [0, 1, 2])
def test_registration_with_credentials(stale: int) -> None:
    net, alice, bob = pair()
    registrar = Registrar(bob, stale)
    txn = alice.ua.request(
        register(), alice.flow_to(bob), now=net.now, credentials=("201", "right")
    )
    net.run(2)
    assert [(e.txn, e.response.status) for e in alice.seen(Answer)] == [(txn, 200)]
    assert registrar.seen == list(range(7, 9 + stale))
    net.run(60)
    net.assert_idle([alice, bob])


def test_a_wrong_password_is_tried_once() -> None:
    net, alice, bob = pair()
    registrar = Registrar(bob)
    alice.ua.request(register(), alice.flow_to(bob), now=net.now, credentials=("201", "wrong"))
    net.run(2)
    assert [e.response.status for e in alice.seen(Answer)] == [401]
    assert len(registrar.seen) == 2


def test_endless_stale_nonces_end() -> None:
    net, alice, bob = pair()
    registrar = Registrar(bob, stale=1000)
    alice.ua.request(register(), alice.flow_to(bob), now=net.now, credentials=("201", "right"))
    net.run(5)
    assert [e.response.status for e in alice.seen(Answer)] == [401]
    assert len(registrar.seen) < 12


def test_without_credentials_the_challenge_is_told() -> None:
    net, alice, bob = pair()
    Registrar(bob)
    alice.ua.request(register(), alice.flow_to(bob), now=net.now)
    net.run(2)
    assert [e.response.status for e in alice.seen(Answer)] == [401]


def test_no_answer_and_broken_flow() -> None:
    net, alice, bob = pair()
    net.drop = lambda host, data: True
    first = alice.ua.request(register(), alice.flow_to(bob), now=net.now)
    net.run(40)
    assert alice.seen(Failed) == [Failed(first, "timeout")]
    second = alice.ua.request(register(), alice.flow_to(bob), now=net.now)
    alice.ua.flow_failed(alice.flow_to(bob), net.now)
    net.flush()
    assert alice.seen(Failed)[1] == Failed(second, "transport")


@pytest.mark.parametrize("status", [401, 407])
def test_trunk_asks_for_credentials_at_every_step(status: int) -> None:
    """INVITE, re-INVITE and BYE are challenged; the call works all the same."""
    net, alice, bob = pair()
    answers(bob)
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    given = "Authorization" if status == 401 else "Proxy-Authorization"
    original = bob.ua.receive

    def challenge(message: object, flow: object, now: float) -> None:
        """A proxy in front of Bob."""
        if (
            isinstance(message, RequestMessage)
            and message.method not in ("ACK", "CANCEL")
            and not message.has(given)
        ):
            from sip.core.message import response_for

            [value] = digest.challenges("trunk", "n" + message.method, algorithms=["MD5"])
            answer = response_for(message, status, to_tag="proxy", headers=[(name, value)])
            bob.ua.layer.send(flow, answer.serialize())  # type: ignore[arg-type]
            return
        original(message, flow, now)  # type: ignore[arg-type]

    bob.ua.receive = challenge  # type: ignore[method-assign, assignment]
    alice.ua.invite("a", order(alice, bob, credentials=("u", "p")), now=net.now)
    net.run(3)
    [answered] = alice.seen(LegAnswered)
    assert answered.sdp == ANSWER
    ack = net.starts("ACK", "192.0.2.1")[-1][1]
    assert given.encode() in ack
    assert b"CSeq: 2 ACK" in ack
    alice.ua.reinvite("a", OFFER_2, now=net.now)
    net.run(2)
    assert alice.seen(LegOfferAnswered)
    alice.ua.bye("a", now=net.now)
    net.run(60)
    assert bob.names[-1] == "LegEnded"
    net.assert_idle([alice, bob])


def test_trunk_refuses_the_password() -> None:
    net, alice, bob = pair()

    def react(event: Event) -> None:
        if isinstance(event, LegInvited):
            [value] = digest.challenges("trunk", str(net.random.random()), algorithms=["MD5"])
            bob.ua.reject(event.leg, 401, now=net.now, headers=[("WWW-Authenticate", value)])

    bob.react = react
    alice.ua.invite("a", order(alice, bob, credentials=("u", "p")), now=net.now)
    net.run(3)
    assert [e.status for e in alice.seen(LegFailed)] == [401]
    assert len(net.starts("INVITE")) == 2
    net.run(60)
    net.assert_idle([alice, bob])


@pytest.mark.parametrize(
    ("change", "status", "header"),
    [
        ((b"OPTIONS", b"PUBLISH"), 405, "Allow"),
        ((b"OPTIONS", b"WHATEVER"), 501, "Allow"),
        ((b"Max-Forwards: 70", b"Require: foo, timer"), 420, "Unsupported"),
        ((b"OPTIONS sip:a@b", b"OPTIONS http://b"), 416, None),
        ((b"OPTIONS sip:a@b", b"OPTIONS sip:a@b?x=y"), 400, None),
        ((b"OPTIONS sip:a@b", b"OPTIONS sip:a@@b"), 400, None),
        ((b"Max-Forwards: 70", b"Max-Forwards: 256"), 400, None),
        ((b"OPTIONS", b"BYE"), 481, None),
        ((b"OPTIONS", b"UPDATE"), 481, None),
        ((b"<sip:c@d>", b"<sip:c@d>;tag=unknown"), 481, None),
    ],
)
def test_refused_by_the_core(change: tuple[bytes, bytes], status: int, header: str | None) -> None:
    net = Net(1)
    bob = net.endpoint("192.0.2.2", UaConfig())
    data = (
        b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n"
        b"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n"
        b"Max-Forwards: 70\r\n\r\n"
    ).replace(*change)
    net.inject(bob, data, ("192.0.2.1", 5060))
    assert bob.log == []
    [(_, sent)] = net.starts("SIP/2.0")
    response = parse_message(sent)
    assert isinstance(response, Response)
    assert response.status == status
    assert response.to_tag
    if header:
        assert response.get(header)
    net.run(60)
    net.assert_idle([bob])


def test_emergency_urn_is_let_through() -> None:
    """RFC 5031"""
    net, alice, bob = pair()
    alice.ua.invite("a", order(alice, bob, request_uri="urn:service:sos"), now=net.now)
    net.run(0.2)
    [invited] = bob.seen(LegInvited)
    assert str(invited.request.ruri) == "urn:service:sos"


def test_options_of_register_may_be_required() -> None:
    net, alice, bob = pair()
    bob.react = lambda event: (
        bob.ua.respond(event.txn, 200, now=net.now) if isinstance(event, Request) else None
    )
    request = register()
    request.add("Require", "path, outbound")
    alice.ua.request(request, alice.flow_to(bob), now=net.now)
    net.run(1)
    assert alice.seen(Answer)[0].response.status == 200


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ((b"", b""), True),
        ((b"REGISTER", b"OPTIONS"), False),
        ((b"1 REGISTER", b"1 OPTIONS"), False),
        ((b"Call-ID: c", b"Call-ID:"), False),
        ((b"To: <sip:c@d>\r\n", b""), False),
        ((b"Max-Forwards: 70", b"Require: foo"), False),
        ((b"Max-Forwards: 70", b"CSeq: 2 REGISTER"), False),
    ],
)
def test_a_register_that_may_be_answered_without_state(
    change: tuple[bytes, bytes], told: bool
) -> None:
    net = Net(1)
    bob = net.endpoint("192.0.2.2", UaConfig())
    data = (
        b"REGISTER sip:b SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\n"
        b"From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n"
        b"Max-Forwards: 70\r\n\r\n"
    ).replace(*change)
    request = parse_message(data)
    assert isinstance(request, RequestMessage)
    assert bob.ua.is_register(request) is told
