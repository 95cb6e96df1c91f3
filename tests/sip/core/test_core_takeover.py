"""Legs that go on in another process, and strangers who try to touch them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from netsim import Endpoint, Net
from test_core_calls import ANSWER, ANSWER_2, OFFER_2, answers, established, order, pair

from sip.core.errors import StateError
from sip.core.events import (
    Event,
    LegAnswered,
    LegCancelled,
    LegConfirmed,
    LegEnded,
    LegFailed,
    LegInvited,
    LegOfferAnswered,
    LegReinvited,
    UaConfig,
)
from sip.core.leg import LegState
from sip.core.ua import UserAgent


def replace_process(net: Net, endpoint: Endpoint, config: UaConfig | None = None) -> None:
    """The worker dies; another one takes its legs from the store, as JSON."""
    stored = [msgspec.json.encode(endpoint.ua.snapshot(leg)) for leg in endpoint.ua.legs]
    endpoint.ua = UserAgent(config or UaConfig(), net.token)
    for data in stored:
        endpoint.ua.restore(msgspec.json.decode(data, type=LegState), net.now)


@pytest.mark.parametrize("who", ["caller", "callee"])
@pytest.mark.parametrize("by", ["us", "peer"])
def test_hang_up_after_takeover(who: str, by: str) -> None:
    net, alice, bob = pair()
    a, b = established(net, alice, bob)
    replace_process(net, alice if who == "caller" else bob)
    if (who == "caller") == (by == "us"):
        alice.ua.bye(a, now=net.now)
    else:
        bob.ua.bye(b, now=net.now)
    net.run(60)
    assert len(alice.seen(LegEnded)) == 1
    assert len(bob.seen(LegEnded)) == 1
    net.assert_idle([alice, bob])


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_changes_from_both_sides_after_takeover(who: str) -> None:
    net, alice, bob = pair()
    a, b = established(net, alice, bob)
    alice.ua.reinvite(a, OFFER_2, now=net.now)
    net.run(1)
    replace_process(net, alice if who == "caller" else bob)
    alice.react = lambda event: (
        alice.ua.accept_offer(event.leg, ANSWER_2, now=net.now)
        if isinstance(event, LegReinvited)
        else None
    )
    alice.ua.reinvite(a, OFFER_2, now=net.now)
    net.run(1)
    bob.ua.reinvite(b, OFFER_2, now=net.now)
    net.run(1)
    assert len(alice.seen(LegOfferAnswered)) == 2
    assert len(bob.seen(LegOfferAnswered)) == 1
    assert not net.starts("SIP/2.0 500"), "CSeq goes on"
    alice.ua.bye(a, now=net.now)
    net.run(60)
    net.assert_idle([alice, bob])


def test_session_refreshes_go_on_after_takeover() -> None:
    config = UaConfig(session_expires=100)
    net, alice, bob = pair(config=config)
    a, b = established(net, alice, bob)
    replace_process(net, alice, config)
    replace_process(net, bob, config)
    net.run(500)
    assert a in alice.ua
    assert b in bob.ua
    net.drop = lambda host, data: True
    net.run(200)
    assert a not in alice.ua
    assert b not in bob.ua


def test_ringing_outgoing_leg_is_answered_after_takeover() -> None:
    net, alice, bob = pair()
    answers(bob)
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.run(0.5)
    replace_process(net, alice)
    net.run(3)
    assert alice.seen(LegAnswered)[0].sdp == ANSWER
    assert bob.seen(LegConfirmed)
    alice.ua.bye("a", now=net.now)
    net.run(60)
    net.assert_idle([alice, bob])


def test_ringing_outgoing_leg_is_cancelled_after_takeover() -> None:
    net, alice, bob = pair()
    answers(bob)
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.run(0.5)
    replace_process(net, alice)
    alice.ua.cancel("a", now=net.now)
    net.run(3)
    assert bob.seen(LegCancelled)
    assert alice.seen(LegFailed)[0].status == 487
    net.run(60)
    net.assert_idle([alice, bob])


def test_unanswered_incoming_leg_is_answered_after_takeover() -> None:
    net, alice, bob = pair()
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.run(0.5)
    leg = bob.seen(LegInvited)[0].leg
    replace_process(net, bob)
    bob.ua.provisional(leg, 180, now=net.now)
    bob.ua.accept(leg, ANSWER, now=net.now)
    net.run(1)
    assert alice.seen(LegAnswered)
    assert bob.seen(LegConfirmed)
    bob.ua.bye(leg, now=net.now)
    net.run(60)
    net.assert_idle([alice, bob])


def test_unanswered_incoming_leg_is_cancelled_after_takeover() -> None:
    net, alice, bob = pair()
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.run(0.5)
    replace_process(net, bob)
    alice.ua.cancel("a", now=net.now)
    net.run(1)
    assert bob.seen(LegCancelled)
    assert alice.seen(LegFailed)[0].status == 487
    net.run(60)
    net.assert_idle([alice, bob])


def test_answer_without_acknowledgement_is_repeated_after_takeover() -> None:
    net, alice, bob = pair()
    net.drop = lambda host, data: data.startswith(b"ACK")
    answers(bob)
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.run(1.2)
    replace_process(net, bob)
    net.drop = None
    net.run(3)
    assert bob.seen(LegConfirmed)
    bob.ua.bye(bob.seen(LegInvited)[0].leg, now=net.now)
    net.run(60)
    net.assert_idle([alice, bob])


def test_reinvite_under_way_during_takeover_does_not_end_the_call() -> None:
    """The 200 to a re-INVITE nobody remembers is acknowledged, or the peer would hang up."""
    net, alice, bob = pair()
    a, b = established(net, alice, bob)
    alice.ua.reinvite(a, OFFER_2, now=net.now)
    net.flush()
    replace_process(net, alice)
    net.run(100)
    assert a in alice.ua
    assert b in bob.ua
    assert len(alice.seen(LegOfferAnswered)) == 1
    bob.ua.bye(b, now=net.now)
    net.run(60)
    net.assert_idle([alice, bob])


def test_peers_reinvite_is_told_again_after_takeover() -> None:
    net, alice, bob = pair()
    a, b = established(net, alice, bob)
    bob.react = None
    alice.ua.reinvite(a, OFFER_2, now=net.now)
    net.run(0.5)
    replace_process(net, bob)
    net.flush()
    assert [event.sdp for event in bob.seen(LegReinvited)] == [OFFER_2, OFFER_2]
    bob.ua.accept_offer(b, ANSWER_2, now=net.now)
    net.run(1)
    assert alice.seen(LegOfferAnswered)[0].sdp == ANSWER_2
    alice.ua.bye(a, now=net.now)
    net.run(60)
    net.assert_idle([alice, bob])


def test_a_leg_cannot_be_restored_twice() -> None:
    net, alice, bob = pair()
    a, _ = established(net, alice, bob)
    with pytest.raises(StateError):
        alice.ua.restore(alice.ua.snapshot(a), net.now)


def request_of_alice(
    net: Net, method: str, changes: dict[bytes, bytes], body: bytes = b""
) -> bytes:
    """A request as Alice's phone would send it in the dialog, with something changed."""
    ack = net.starts("ACK", "192.0.2.1")[0][1]
    lines = ack.split(b"\r\n\r\n")[0].split(b"\r\n")
    lines[0] = lines[0].replace(b"ACK", method.encode())
    fields = []
    for line in lines[1:]:
        name = line.split(b":")[0]
        if name == b"CSeq":
            line = b"CSeq: 77 " + method.encode()
        if name == b"Content-Length":
            line = b"Content-Length: %d" % len(body)
        if name == b"Via":
            line = line[: line.index(b"branch=")] + b"branch=z9hG4bKstranger" + method.encode()
        for old, new in changes.items():
            line = line.replace(old, new)
        fields.append(line)
    fields.append(b"Contact: <sip:evil@203.0.113.66>")
    if method == "REFER":
        fields.append(b"Refer-To: <sip:elsewhere@203.0.113.66>")
    if body:
        fields.append(b"Content-Type: application/sdp")
    return b"\r\n".join([lines[0], *fields]) + b"\r\n\r\n" + body


METHODS = ["BYE", "INVITE", "UPDATE", "REFER", "INFO", "CANCEL", "PRACK", "NOTIFY", "MESSAGE"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("what", ["source", "from-tag", "to-tag", "call-id", "cseq"])
def test_a_stranger_changes_nothing(method: str, what: str) -> None:
    net, alice, bob = pair(config=UaConfig(allow=(*UaConfig().allow, *METHODS)))
    a, b = established(net, alice, bob)
    before = msgspec.json.encode(bob.ua.snapshot(b))
    events = len(bob.log)
    state = bob.ua.snapshot(b)
    assert state.dialog is not None
    source = ("192.0.2.1", 5060)
    changes: dict[bytes, bytes] = {}
    if what == "source":
        source = ("203.0.113.66", 5060)
    elif what == "from-tag":
        changes[state.dialog.remote_tag.encode()] = b"guessed"
    elif what == "to-tag":
        changes[state.dialog.local_tag.encode()] = b"guessed"
    elif what == "call-id":
        changes[b"Call-ID: "] = b"Call-ID: x"
    else:
        changes[b"CSeq: 77"] = b"CSeq: 1"
    net.inject(bob, request_of_alice(net, method, changes, OFFER_2), source)
    net.run(1)
    assert msgspec.json.encode(bob.ua.snapshot(b)) == before
    assert len(bob.log) == events
    assert not net.starts("SIP/2.0 200", "192.0.2.2")[2:], "only the call's own 200"
    alice.ua.bye(a, now=net.now)
    net.run(60)
    assert [e.by for e in bob.seen(LegEnded)] == ["remote"]


@pytest.mark.parametrize("what", ["source", "tag", "call-id", "cseq", "branch"])
def test_a_strangers_cancel_changes_nothing(what: str) -> None:
    net, alice, bob = pair()
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.run(0.5)
    invite = net.starts("INVITE")[0][1].split(b"\r\n\r\n")[0] + b"\r\n\r\n"
    cancel = invite.replace(b"INVITE sip", b"CANCEL sip").replace(b"1 INVITE", b"1 CANCEL")
    head = [line for line in cancel.split(b"\r\n") if not line.startswith(b"Content-")]
    cancel = b"\r\n".join(head)
    source = ("192.0.2.1", 5060)
    if what == "source":
        source = ("203.0.113.66", 5060)
    elif what == "tag":
        cancel = cancel.replace(b";tag=", b";tag=x")
    elif what == "call-id":
        cancel = cancel.replace(b"Call-ID: ", b"Call-ID: x")
    elif what == "cseq":
        cancel = cancel.replace(b"1 CANCEL", b"2 CANCEL")
    else:
        cancel = cancel.replace(b"branch=z9hG4bK", b"branch=z9hG4bKx")
    net.inject(bob, cancel, source)
    net.run(1)
    assert bob.names == ["LegInvited"]
    assert bob.ua.legs
    alice.ua.cancel("a", now=net.now)
    net.run(1)
    assert bob.names == ["LegInvited", "LegCancelled"]


def test_a_strangers_acknowledgement_does_not_confirm() -> None:
    net, alice, bob = pair()
    net.drop = lambda host, data: data.startswith(b"ACK")
    answers(bob)
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.run(2)
    ack = net.starts("ACK")[0][1]
    net.inject(bob, ack, ("203.0.113.66", 5060))
    assert not bob.seen(LegConfirmed)
    net.inject(bob, ack, ("192.0.2.1", 5060))
    assert bob.seen(LegConfirmed)


def test_a_new_port_of_the_same_host_is_followed() -> None:
    """NAT: the phone's address was bound anew."""
    net, alice, bob = pair()
    a, b = established(net, alice, bob)
    del net.endpoints["192.0.2.1", 5060]
    alice.port = 40_000
    net.endpoints["192.0.2.1", 40_000] = alice
    state = alice.ua.snapshot(a)
    alice.ua.set_flow(a, alice.flow_to(bob))
    alice.ua.send(a, "INFO", now=net.now)
    net.run(1)
    bob.ua.bye(b, now=net.now)
    net.run(1)
    assert alice.seen(LegEnded)
    assert state.dialog is not None


def test_a_repeated_bye_after_takeover_is_harmless() -> None:
    net, alice, bob = pair()
    a, _ = established(net, alice, bob)
    alice.ua.bye(a, now=net.now)
    net.flush()
    bye = net.starts("BYE")[0][1]
    net.run(1)
    bob.ua = UserAgent(UaConfig(), net.token)
    net.inject(bob, bye, ("192.0.2.1", 5060))
    net.run(1)
    assert bob.names.count("LegEnded") == 1


def test_wrong_moments_raise() -> None:
    net, alice, bob = pair()

    def all_calls(ua: UserAgent, leg: str) -> None:
        for call in (
            lambda: ua.provisional(leg, 180, now=net.now),
            lambda: ua.accept(leg, ANSWER, now=net.now),
            lambda: ua.reject(leg, 486, now=net.now),
            lambda: ua.cancel(leg, now=net.now),
            lambda: ua.ack(leg, now=net.now),
            lambda: ua.accept_offer(leg, ANSWER, now=net.now),
            lambda: ua.reject_offer(leg, 488, now=net.now),
        ):
            with pytest.raises(StateError):
                call()

    a, b = established(net, alice, bob)
    all_calls(alice.ua, a)
    all_calls(bob.ua, b)
    all_calls(bob.ua, "unknown")
    alice.ua.bye(a, now=net.now)
    with pytest.raises(StateError):
        alice.ua.bye(a, now=net.now)
    with pytest.raises(StateError):
        alice.ua.snapshot(a)


def test_strict_source_can_be_switched_off_for_a_leg() -> None:
    net, alice, bob = pair()
    _a, b = established(net, alice, bob)
    bob.ua.trust_hosts(b, None)
    net.inject(bob, request_of_alice(net, "BYE", {}), ("198.51.100.7", 5060))
    net.run(1)
    ended: list[Event] = bob.seen(LegEnded)
    assert len(ended) == 1


def test_foreign_encodings_can_be_stored() -> None:
    """An old phone's ISO 8859-1 in its display name must not keep a leg from being taken over."""
    net, _, bob = pair()
    data = (Path(__file__).parent / "crashers" / "latin-1.sip").read_bytes()
    net.inject(bob, data, ("192.0.2.1", 5060))
    [invited] = bob.seen(LegInvited)
    replace_process(net, bob)
    bob.ua.accept(invited.leg, ANSWER, now=net.now)
    net.flush()
    [(_, answer)] = net.starts("SIP/2.0 200")
    assert b'From: "M\xfcller" <sip:a@b>;tag=1' in answer
