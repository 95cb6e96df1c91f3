"""Calls between two user agents on a virtual clock, over good and bad networks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from netsim import Endpoint, Link, Net

from sip.core.errors import StateError
from sip.core.events import (
    Answer,
    Event,
    Failed,
    LegAnswered,
    LegCancelled,
    LegConfirmed,
    LegEnded,
    LegFailed,
    LegInvited,
    LegOfferAnswered,
    LegOfferFailed,
    LegPracked,
    LegProvisional,
    LegReinvited,
    LegRequest,
    OutgoingInvite,
    Request,
    UaConfig,
)

OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 8\r\n"
)
ANSWER = OFFER.replace(b"192.0.2.1", b"192.0.2.2")
OFFER_2 = OFFER.replace(b"- 1 1", b"- 1 2")
ANSWER_2 = ANSWER.replace(b"- 1 1", b"- 1 2")


def order(caller: Endpoint, callee: Endpoint, **changes: object) -> OutgoingInvite:
    base = OutgoingInvite(
        request_uri=f"sip:bob@{callee.host}:5060",
        to=f"<sip:bob@{callee.host}>",
        from_=f'"Alice" <sip:alice@{caller.host}>',
        flow=caller.flow_to(callee),
        sdp=OFFER,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def pair(
    seed: int = 1, link: Link | None = None, config: UaConfig | None = None, tcp: bool = False
) -> tuple[Net, Endpoint, Endpoint]:
    net = Net(seed, link)
    transport = "tcp" if tcp else "udp"
    return (
        net,
        net.endpoint("192.0.2.1", config, transport),  # type: ignore[arg-type]
        net.endpoint("192.0.2.2", config, transport),  # type: ignore[arg-type]
    )


def answers(endpoint: Endpoint, sdp: bytes = ANSWER, ring: bool = True) -> None:
    """Ring, answer after a second, agree to every change."""
    net = endpoint.net

    def react(event: Event) -> None:
        if isinstance(event, LegInvited):
            leg = event.leg
            if ring:
                endpoint.ua.provisional(leg, 180, now=net.now)

            def pick_up() -> None:
                if leg in endpoint.ua:
                    endpoint.ua.accept(leg, sdp, now=net.now)

            net.after(1.0, pick_up)
        elif isinstance(event, LegReinvited):
            endpoint.ua.accept_offer(event.leg, ANSWER_2, now=net.now)
        elif isinstance(event, Request):
            endpoint.ua.respond(event.txn, 200, now=net.now)

    endpoint.react = react


def established(net: Net, alice: Endpoint, bob: Endpoint, **changes: object) -> tuple[str, str]:
    """Bring a call up; returns the legs of both sides."""
    answers(bob)
    alice.ua.invite("a", order(alice, bob, **changes), now=net.now)
    net.run(4)
    assert alice.seen(LegAnswered), f"seed {net.seed}"
    assert bob.seen(LegConfirmed), f"seed {net.seed}"
    return "a", bob.seen(LegInvited)[0].leg


@pytest.mark.parametrize("tcp", [False, True])
def test_call_and_hang_up(tcp: bool) -> None:
    net, alice, bob = pair(tcp=tcp)
    _a, b = established(net, alice, bob)
    assert alice.names == ["LegProvisional", "LegAnswered"]
    assert bob.names == ["LegInvited", "LegConfirmed"]
    assert alice.seen(LegAnswered)[0].sdp == ANSWER
    assert bob.seen(LegInvited)[0].sdp == OFFER
    bob.ua.bye(b, now=net.now, reason="Q.850 ;cause=16")
    net.run(1)
    assert bob.seen(LegEnded)[0].by == "local"
    ended = alice.seen(LegEnded)[0]
    assert (ended.by, ended.reason) == ("remote", "Q.850 ;cause=16")
    net.run(60)
    net.assert_idle([alice, bob])


def test_a_whole_call_takes_eight_datagrams() -> None:
    net, alice, bob = pair()
    _, b = established(net, alice, bob)
    bob.ua.bye(b, now=net.now)
    net.run(60)
    starts = [data.split(b"\r\n")[0].split(b" ")[:2] for _, _, data in net.sent]
    assert [b" ".join(start).partition(b" sip:")[0] for start in starts] == [
        b"INVITE", b"SIP/2.0 100", b"SIP/2.0 180", b"SIP/2.0 200", b"ACK", b"BYE", b"SIP/2.0 200",
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(40))
def test_a_call_survives_a_bad_network(seed: int) -> None:
    """RFC 3261 §17: 30 % loss, repetitions and overtaking cost time, nothing else."""
    net, alice, bob = pair(seed, Link(loss=0.3, duplicate=0.2, jitter=0.6))
    answers(bob)
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.run(70)
    failed = alice.seen(LegFailed)
    if failed:
        # 64*T1 of bad luck; the other side must not be left with a call.
        assert failed[0].status in (408,), f"seed {seed}"
    else:
        assert len(alice.seen(LegAnswered)) == 1, f"seed {seed}"
        if "a" in alice.ua:
            alice.ua.bye("a", now=net.now)
    net.run(4000)
    assert len(bob.seen(LegInvited)) <= 1, f"seed {seed}"
    net.assert_idle([alice, bob])


def test_cancel_before_any_response_waits_for_one() -> None:
    """RFC 3261 §9.1"""
    net, alice, bob = pair()
    answers(bob)
    alice.ua.invite("a", order(alice, bob), now=net.now)
    alice.ua.cancel("a", now=net.now, reason="SIP ;cause=200")
    net.flush()
    assert not net.starts("CANCEL")
    net.run(0.5)
    assert len(net.starts("CANCEL")) == 1
    assert bob.seen(LegCancelled)[0].reason == "SIP ;cause=200"
    assert [(event.status) for event in alice.seen(LegFailed)] == [487]
    net.run(60)
    net.assert_idle([alice, bob])


def test_cancel_that_crosses_the_answer() -> None:
    """RFC 3261 §9.1, §15: the 200 is acknowledged and ended by BYE."""
    net, alice, bob = pair()

    def react(event: Event) -> None:
        if isinstance(event, LegInvited):
            bob.ua.provisional(event.leg, 180, now=net.now)
            net.after(0.5, lambda: bob.ua.accept(event.leg, ANSWER, now=net.now))

    bob.react = react
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.after(0.53, lambda: alice.ua.cancel("a", now=net.now))
    net.run(3)
    assert [event.status for event in alice.seen(LegFailed)] == [487]
    assert not alice.seen(LegAnswered)
    assert bob.names[-2:] == ["LegConfirmed", "LegEnded"]
    net.run(60)
    net.assert_idle([alice, bob])


@pytest.mark.parametrize("seed", range(60))
def test_caller_gives_up_at_every_moment(seed: int) -> None:
    """Whenever the caller gives up or hangs up, nothing is left on either side."""
    net, alice, bob = pair(seed, Link(loss=0.15, duplicate=0.1, jitter=0.1))
    answers(bob)
    alice.ua.invite("a", order(alice, bob), now=net.now)

    def give_up() -> None:
        if "a" in alice.ua:
            if alice.seen(LegAnswered):
                alice.ua.bye("a", now=net.now)
            else:
                alice.ua.cancel("a", now=net.now)

    net.after(seed * 0.035, give_up)
    net.run(4000)
    ends = [n for n in alice.names if n in ("LegFailed", "LegEnded")]
    assert len(ends) == 1, f"seed {seed}: {alice.names}"
    net.assert_idle([alice, bob])


@pytest.mark.parametrize("seed", range(60))
def test_callee_hangs_up_at_every_moment(seed: int) -> None:
    net, alice, bob = pair(seed, Link(loss=0.15, duplicate=0.1, jitter=0.1))
    answers(bob)
    alice.ua.invite("a", order(alice, bob), now=net.now)

    def give_up() -> None:
        for event in bob.seen(LegInvited):
            if event.leg in bob.ua:
                try:
                    bob.ua.bye(event.leg, now=net.now)
                except StateError:
                    bob.ua.reject(event.leg, 486, now=net.now)

    net.after(seed * 0.035, give_up)
    # An INVITE that was lost comes later than the first attempt.
    net.after(40, give_up)
    net.run(4000)
    net.assert_idle([alice, bob])


def test_rejection_and_its_acknowledgement() -> None:
    net, alice, bob = pair()

    def react(event: Event) -> None:
        if isinstance(event, LegInvited):
            bob.ua.reject(
                event.leg, 302, now=net.now, headers=[("Contact", "<sip:carol@192.0.2.3>")]
            )

    bob.react = react
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.run(1)
    failed = alice.seen(LegFailed)[0]
    assert failed.status == 302
    assert failed.response.contacts[0].uri == "sip:carol@192.0.2.3"
    assert len(net.starts("ACK")) == 1
    net.run(60)
    net.assert_idle([alice, bob])


def test_no_answer_at_all_is_408_after_64_t1() -> None:
    """RFC 3261 §17.1.1.2, timers A and B"""
    net, alice, bob = pair()
    net.drop = lambda host, data: True
    alice.ua.invite("a", order(alice, bob), now=net.now)
    start = net.now
    net.run(40)
    times = [round(when - start, 3) for when, _ in net.starts("INVITE")]
    assert times == [0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert alice.log[0][0] - start == 32.0
    assert alice.seen(LegFailed)[0].status == 408
    net.assert_idle([alice])


def test_broken_flow_is_503() -> None:
    net, alice, bob = pair(tcp=True)
    alice.ua.invite("a", order(alice, bob), now=net.now)
    alice.ua.flow_failed(alice.flow_to(bob), net.now)
    net.flush()
    assert alice.seen(LegFailed)[0].status == 503
    net.endpoints.pop(("192.0.2.2", 5060))
    net.run(40)
    net.assert_idle([alice])


def test_answer_is_repeated_until_acknowledged() -> None:
    """RFC 3261 §13.3.1.4: T1 doubling to T2, and every 200 gets its ACK."""
    net, alice, bob = pair()
    lost = 0

    def drop(host: str, data: bytes) -> bool:
        nonlocal lost
        if data.startswith(b"ACK") and lost < 3:
            lost += 1
            return True
        return False

    net.drop = drop
    answers(bob)
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.run(20)
    oks = [when for when, data in net.starts("SIP/2.0 200") if b"INVITE" in data]
    gaps = [round(b - a, 3) for a, b in pairwise(oks)]
    assert gaps == [0.5, 1.0, 2.0]
    assert len(alice.seen(LegAnswered)) == 1
    assert len(bob.seen(LegConfirmed)) == 1


def test_no_acknowledgement_ends_with_bye() -> None:
    net, alice, bob = pair()
    net.drop = lambda host, data: data.startswith(b"ACK")
    answers(bob)
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.run(60)
    assert bob.seen(LegFailed)[0].status == 408
    assert alice.seen(LegEnded)[0].by == "remote"
    net.run(60)
    net.assert_idle([alice, bob])


def test_offer_in_the_answer() -> None:
    net, alice, bob = pair()
    answers(bob, sdp=OFFER)

    def react(event: Event) -> None:
        if isinstance(event, LegAnswered):
            alice.ua.ack("a", sdp=ANSWER, now=net.now)

    alice.react = react
    alice.ua.invite("a", order(alice, bob, sdp=None), now=net.now)
    net.run(5)
    assert bob.seen(LegInvited)[0].sdp is None
    assert bob.seen(LegConfirmed)[0].sdp == ANSWER
    alice.ua.bye("a", now=net.now)
    net.run(60)
    net.assert_idle([alice, bob])


def test_reinvite_update_and_their_refusal() -> None:
    net, alice, bob = pair()
    a, _b = established(net, alice, bob)
    alice.ua.reinvite(a, OFFER_2, now=net.now)
    net.run(1)
    assert bob.seen(LegReinvited)[0].sdp == OFFER_2
    assert alice.seen(LegOfferAnswered)[0].sdp == ANSWER_2
    alice.ua.update(a, OFFER_2, now=net.now)
    net.run(1)
    assert bob.seen(LegReinvited)[1].request.method == "UPDATE"
    assert len(alice.seen(LegOfferAnswered)) == 2
    bob.react = lambda event: (
        bob.ua.reject_offer(event.leg, 488, now=net.now)
        if isinstance(event, LegReinvited)
        else None
    )
    alice.ua.reinvite(a, OFFER_2, now=net.now)
    net.run(1)
    assert alice.seen(LegOfferFailed)[0].status == 488
    assert "a" in alice.ua
    alice.ua.bye(a, now=net.now)
    net.run(60)
    net.assert_idle([alice, bob])


def test_offerless_reinvite() -> None:
    net, alice, bob = pair()
    a, b = established(net, alice, bob)

    def react(event: Event) -> None:
        if isinstance(event, LegOfferAnswered) and event.needs_ack:
            alice.ua.ack(a, sdp=ANSWER_2, now=net.now)

    alice.react = react
    alice.ua.reinvite(a, None, now=net.now)
    net.run(2)
    assert bob.seen(LegReinvited)[0].sdp is None
    assert bob.seen(LegOfferAnswered)[0].sdp == ANSWER_2
    bob.ua.bye(b, now=net.now)
    net.run(60)
    net.assert_idle([alice, bob])


@pytest.mark.parametrize("seed", range(20))
def test_glare_resolves(seed: int) -> None:
    """RFC 3261 §14.1: both re-INVITE at once, both get their way in the end."""
    net, alice, bob = pair(seed)
    a, b = established(net, alice, bob)

    def alice_reacts(event: Event) -> None:
        if isinstance(event, LegReinvited):
            alice.ua.accept_offer(event.leg, ANSWER_2, now=net.now)

    alice.react = alice_reacts
    alice.ua.reinvite(a, OFFER_2, now=net.now)
    bob.ua.reinvite(b, OFFER_2, now=net.now)
    start = net.now
    net.run(10)
    assert len(net.starts("SIP/2.0 491")) >= 2
    assert len(alice.seen(LegOfferAnswered)) == 1, f"seed {seed}"
    assert len(bob.seen(LegOfferAnswered)) == 1, f"seed {seed}"
    again = [when - start for when, data in net.starts("INVITE", "192.0.2.1") if when > start + 0.1]
    assert all(when >= 2.1 for when in again), f"seed {seed}"
    alice.ua.bye(a, now=net.now)
    net.run(60)
    net.assert_idle([alice, bob])


def test_forked_answers() -> None:
    """RFC 3261 §13.2.2.4: the first 200 wins, every other one is acknowledged and ended."""
    net, alice, bob = pair()
    carol = net.endpoint("192.0.2.3")
    answers(bob)
    answers(carol)
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.flush()
    invite = net.starts("INVITE")[0][1]
    # A proxy forks: the same INVITE reaches Carol too; her answers come to Alice, and it sends
    # Alice's requests to whom they are for.
    net.route = lambda flow, data: (
        ("192.0.2.3", 5060) if b"sip:192.0.2.3" in data.split(b"\r\n")[0] else flow.local
    )
    net.inject(carol, invite, ("192.0.2.1", 5060))
    net.run(4)
    assert len(alice.seen(LegAnswered)) == 1
    assert {len(bob.seen(LegEnded)), len(carol.seen(LegEnded))} == {0, 1}
    assert len(alice.seen(LegProvisional)) == 2
    alice.ua.bye("a", now=net.now)
    net.run(60)
    net.assert_idle([alice, bob, carol])


@pytest.mark.parametrize("seed", range(10))
def test_reliable_provisional_responses(seed: int) -> None:
    """RFC 3262, with loss."""
    net, alice, bob = pair(seed, Link(loss=0.2, jitter=0.1))

    def react(event: Event) -> None:
        if isinstance(event, LegInvited):
            bob.ua.provisional(event.leg, 183, sdp=ANSWER, reliable=True, now=net.now)
            bob.ua.provisional(event.leg, 180, reliable=True, now=net.now)
            bob.ua.accept(event.leg, None, now=net.now)

    bob.react = react
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.run(60)
    assert bob.seen(LegPracked), f"seed {seed}"
    assert alice.seen(LegProvisional)[0].sdp == ANSWER
    assert len(alice.seen(LegAnswered)) == 1
    pracked = next(i for i, name in enumerate(bob.names) if name == "LegPracked")
    assert "LegConfirmed" in bob.names[pracked:]
    alice.ua.bye("a", now=net.now)
    net.run(100)
    net.assert_idle([alice, bob])


def test_no_prack_ends_the_invite() -> None:
    net, alice, bob = pair()
    net.drop = lambda host, data: data.startswith(b"PRACK")
    bob.react = lambda event: (
        bob.ua.provisional(event.leg, 183, sdp=ANSWER, reliable=True, now=net.now)
        if isinstance(event, LegInvited)
        else None
    )
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.run(40)
    assert alice.seen(LegFailed)[0].status == 504
    assert bob.seen(LegFailed)[0].status == 504
    net.run(100)
    net.assert_idle([alice, bob])


@pytest.mark.parametrize("with_update", [True, False])
def test_session_refreshes_keep_a_call_alive(with_update: bool) -> None:
    """RFC 4028"""
    allow = UaConfig().allow
    if not with_update:
        allow = tuple(method for method in allow if method != "UPDATE")
    net, alice, bob = pair(config=UaConfig(session_expires=100, allow=allow))
    a, b = established(net, alice, bob)
    net.run(1000)
    assert a in alice.ua
    assert b in bob.ua
    method = "UPDATE" if with_update else "INVITE"
    refreshes = len(net.starts(method))
    assert 19 <= refreshes <= 22
    assert not alice.seen(LegOfferFailed)
    alice.ua.bye(a, now=net.now)
    net.run(60)
    net.assert_idle([alice, bob])


def test_a_dead_peer_is_noticed_on_both_sides() -> None:
    net, alice, bob = pair(config=UaConfig(session_expires=100))
    established(net, alice, bob)
    net.drop = lambda host, data: True
    start = net.now
    net.run(200)
    lost = alice.seen(LegEnded)[0]
    assert (lost.by, lost.status) == ("timeout", 408)
    gone = bob.seen(LegEnded)[0]
    assert gone.by == "timeout"
    when = next(t for t, e in bob.log if isinstance(e, LegEnded))
    assert 60 < when - start < 70
    net.run(60)
    net.assert_idle([alice, bob])


def test_too_short_a_session_is_raised() -> None:
    """RFC 4028 §6: 422 with Min-SE, and the second INVITE fits."""
    net = Net(1)
    alice = net.endpoint("192.0.2.1", UaConfig(session_expires=95))
    bob = net.endpoint("192.0.2.2", UaConfig(min_se=120))
    established(net, alice, bob)
    assert len(net.starts("SIP/2.0 422")) == 1
    assert b"Session-Expires: 120" in net.starts("INVITE")[1][1]


def test_requests_in_and_out_of_dialog() -> None:
    net, alice, bob = pair()
    a, _b = established(net, alice, bob)

    def react(event: Event) -> None:
        if isinstance(event, LegRequest):
            bob.ua.respond(event.txn, 200, now=net.now)

    bob.react = react
    txn = alice.ua.send(
        a, "INFO", now=net.now, body=b"Signal=5", content_type="application/dtmf-relay"
    )
    net.run(1)
    assert bob.seen(LegRequest)[0].request.body == b"Signal=5"
    assert [(e.txn, e.response.status) for e in alice.seen(Answer)] == [(txn, 200)]
    txn = alice.ua.send(a, "OPTIONS", now=net.now)
    net.run(1)
    assert alice.seen(Answer)[-1].response.status == 200
    net.drop = lambda host, data: True
    txn = alice.ua.send(a, "INFO", now=net.now)
    net.run(40)
    assert alice.seen(Failed) == [Failed(txn, "timeout")]


def test_bye_at_once_waits_for_the_acknowledgement() -> None:
    """RFC 3261 §15: the called side sends no BYE before the ACK."""
    net, alice, bob = pair()

    def react(event: Event) -> None:
        if isinstance(event, LegInvited):
            bob.ua.accept(event.leg, ANSWER, now=net.now)
            bob.ua.bye(event.leg, now=net.now)

    bob.react = react
    alice.ua.invite("a", order(alice, bob), now=net.now)
    net.run(3)
    lines = [data.split(b" ")[0] for _, _, data in net.sent]
    assert lines.index(b"ACK") < lines.index(b"BYE")
    assert alice.seen(LegEnded)[0].by == "remote"
    assert bob.names == ["LegInvited", "LegEnded"]
    net.run(60)
    net.assert_idle([alice, bob])


def test_both_hang_up_at_once() -> None:
    net, alice, bob = pair()
    a, b = established(net, alice, bob)
    alice.ua.bye(a, now=net.now)
    bob.ua.bye(b, now=net.now)
    net.run(60)
    assert len(alice.seen(LegEnded)) == 1
    assert len(bob.seen(LegEnded)) == 1
    net.assert_idle([alice, bob])


def test_a_reinvite_that_is_never_answered_ends() -> None:
    net, alice, bob = pair(config=UaConfig(session_expires=0))
    a, b = established(net, alice, bob)
    bob.react = None
    alice.ua.reinvite(a, OFFER_2, now=net.now)
    net.run(170)
    assert not alice.seen(LegOfferFailed)
    net.run(20)
    assert [event.status for event in alice.seen(LegOfferFailed)] == [487]
    assert bob.names[-1] == "LegOfferCancelled"
    bob.react = lambda event: (
        bob.ua.accept_offer(event.leg, ANSWER_2, now=net.now)
        if isinstance(event, LegReinvited)
        else None
    )
    alice.ua.reinvite(a, OFFER_2, now=net.now)
    net.run(2)
    assert alice.seen(LegOfferAnswered)
    bob.ua.bye(b, now=net.now)
    net.run(60)
    net.assert_idle([alice, bob])


@pytest.mark.parametrize("who", ["caller", "callee"])
def test_hanging_up_during_a_reinvite_leaves_nothing(who: str) -> None:
    net, alice, bob = pair()
    a, b = established(net, alice, bob)
    bob.react = None
    alice.ua.reinvite(a, OFFER_2, now=net.now)
    net.run(1)
    if who == "caller":
        alice.ua.bye(a, now=net.now)
    else:
        bob.ua.bye(b, now=net.now)
    net.run(100)
    assert len(alice.seen(LegEnded)) == 1
    assert len(bob.seen(LegEnded)) == 1
    # The called side refuses the re-INVITE before it hangs up; who hung up hears no more of it.
    assert len(alice.seen(LegOfferFailed)) == (who == "callee")
    net.assert_idle([alice, bob])
