"""Whom each strategy asks."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest
from support.queues import Desk, agent, desk, only

from comms.bus.acd import (
    Decision,
    Membership,
    OfferEnded,
    OfferMade,
    OfferRefused,
    QueueConfig,
    SetAgentState,
    Strategy,
    WorkAssigned,
    WorkEnded,
)

NAMES = ("anna", "mehmet", "tom", "olena")


def staffed(strategy: Strategy, *members: Membership, **more: float) -> Desk:
    """A queue with Anna, Mehmet, Tom and Olena, free in this order, a second apart."""
    members = members or tuple(Membership("zentrale", position=n) for n in range(4))
    queue = QueueConfig("zentrale", strategy=strategy, wrap_up=0, **more)
    agents = [agent(n, m) for n, m in zip(NAMES, members, strict=True)]
    d = desk(*agents, queues=(queue,))
    for name in NAMES:
        d.on_duty(name)
        d.pass_time(1)
    return d


def asked(d: Desk, work: str) -> list[str]:
    return [e.agent for e in only(d.arrive(work), OfferMade)]


def serve(d: Desk, work: str, talk: float = 10.0) -> str:
    """Let one piece of work be answered and ended; return who had it."""
    (name,) = asked(d, work)
    d.accept(name)
    d.pass_time(talk)
    d.tell(WorkEnded(work))
    return name


def refuse(d: Desk, name: str) -> list[str]:
    """Let an agent decline; return who is asked then."""
    events = d.tell(OfferRefused(d.ringing[name].offer, "declined"))
    return [e.agent for e in only(events, OfferMade)]


def test_longest_idle():
    d = staffed("longest-idle")
    assert [serve(d, f"w{n}") for n in range(6)] == [*NAMES, "anna", "mehmet"]


def test_longest_idle_counts_from_the_end_of_the_last_conversation_of_any_queue():
    d = desk(
        agent("anna", "kfz", "pass"),
        agent("mehmet", "kfz"),
        queues=(QueueConfig("kfz", wrap_up=0), QueueConfig("pass", wrap_up=0)),
    )
    d.on_duty("anna", "mehmet")
    d.pass_time(100)
    d.arrive("w1", "pass")
    d.accept("anna")
    d.pass_time(1)
    d.tell(WorkEnded("w1"))
    assert [e.agent for e in only(d.arrive("w2", "kfz"), OfferMade)] == ["mehmet"]


def test_an_offer_that_came_to_nothing_does_not_make_one_less_idle():
    d = staffed("longest-idle")
    d.arrive("w1")
    refuse(d, "anna")
    d.accept("mehmet")
    d.pass_time(5)
    assert asked(d, "w2") == ["anna"]


def test_fewest_calls():
    d = staffed("fewest-calls")
    d.tell(SetAgentState("tom", "break"))
    d.tell(SetAgentState("olena", "break"))
    assert [serve(d, f"w{n}") for n in range(4)] == ["anna", "mehmet", "anna", "mehmet"]
    d.tell(SetAgentState("tom", "available"))
    assert [serve(d, f"v{n}") for n in range(3)] == ["tom", "tom", "anna"]


def test_least_talk_time():
    d = staffed("least-talk-time")
    assert serve(d, "w1", talk=100) == "anna"
    assert serve(d, "w2", talk=10) == "mehmet"
    assert serve(d, "w3", talk=30) == "tom"
    assert serve(d, "w4", talk=20) == "olena"
    assert [serve(d, f"v{n}", talk=9) for n in range(4)] == ["mehmet", "mehmet", "olena", "mehmet"]


def test_round_robin_remembers_whose_turn_it_is():
    d = staffed("round-robin")
    assert [serve(d, f"w{n}") for n in range(3)] == ["anna", "mehmet", "tom"]
    # Tom is free again and asked last; after him comes Olena, then the first.
    assert [serve(d, f"v{n}") for n in range(2)] == ["olena", "anna"]


def test_round_robin_goes_on_behind_somebody_who_has_left():
    d = staffed("round-robin")
    assert serve(d, "w1") == "anna"
    assert serve(d, "w2") == "mehmet"
    d.tell(SetAgentState("mehmet", "offline"))
    assert serve(d, "w3") == "tom"


def test_linear_always_begins_at_the_top():
    d = staffed("linear")
    assert [serve(d, f"w{n}") for n in range(3)] == ["anna"] * 3
    d.arrive("w9")
    assert refuse(d, "anna") == ["mehmet"]
    assert refuse(d, "mehmet") == ["tom"]


def test_linear_and_sequential_differ_in_who_became_free_meanwhile():
    asked_then = {}
    for strategy in ("linear", "sequential"):
        d = staffed(strategy)
        d.tell(SetAgentState("anna", "break"))
        d.arrive("w1")
        d.tell(SetAgentState("anna", "available"))
        asked_then[strategy] = refuse(d, "mehmet")
    assert asked_then == {"linear": ["anna"], "sequential": ["tom"]}


def test_sequential_goes_down_the_tiers_and_starts_again():
    tiers = [Membership("zentrale", tier=t) for t in (2, 1, 3, 1)]
    d = staffed("sequential", *tiers, refusal_pause=0)
    d.arrive("w1")
    order = []
    for _ in range(5):
        (name,) = d.ringing
        order.append(name)
        d.tell(OfferRefused(d.ringing[name].offer, "declined"))
    assert order == ["mehmet", "olena", "anna", "tom", "mehmet"]


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_everybody_else_is_asked_before_anybody_twice(strategy):
    d = staffed(strategy, refusal_pause=0)
    d.arrive("w1")
    first = []
    while len(first) < 4:
        for name in list(d.ringing):
            first.append(name)
            d.tell(OfferRefused(d.ringing[name].offer, "declined"))
    assert sorted(first[:4]) == sorted(NAMES)
    # And then again.
    assert d.ringing


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_lower_tiers_first(strategy):
    tiers = [Membership("zentrale", tier=t) for t in (3, 2, 1, 2)]
    d = staffed(strategy, *tiers)
    assert asked(d, "w1") == ["tom"]


class TestRingAll:
    def test_first_to_answer_has_it_and_the_others_stop(self):
        d = staffed("ring-all")
        assert asked(d, "w1") == list(NAMES)
        assert d.view.works["w1"].agents == NAMES
        offers = {n: d.ringing[n].offer for n in NAMES}
        events = d.accept("tom")
        assert [e.agent for e in only(events, WorkAssigned)] == ["tom"]
        ended = {e.agent: (e.outcome, e.reason) for e in only(events, OfferEnded)}
        assert ended.pop("tom") == ("accepted", None)
        assert ended == dict.fromkeys(offers.keys() - {"tom"}, ("withdrawn", "answered-elsewhere"))
        assert [d.activity(n) for n in NAMES] == ["available", "available", "busy", "available"]

    def test_one_refusal_leaves_the_others_ringing(self):
        d = staffed("ring-all")
        d.arrive("w1")
        assert refuse(d, "anna") == []
        assert set(d.ringing) == {"mehmet", "tom", "olena"}
        assert d.view.works["w1"].state == "offered"

    def test_who_becomes_free_joins_in(self):
        d = staffed("ring-all")
        d.tell(SetAgentState("anna", "break"))
        d.arrive("w1")
        events = d.tell(SetAgentState("anna", "available"))
        assert [e.agent for e in only(events, OfferMade)] == ["anna"]
        assert d.view.works["w1"].agents == ("mehmet", "tom", "olena", "anna")

    def test_who_refused_does_not_join_again_at_once(self):
        d = staffed("ring-all", refusal_pause=0)
        d.arrive("w1")
        assert refuse(d, "anna") == []

    def test_next_tier_rings_when_the_first_has_refused(self):
        tiers = [Membership("zentrale", tier=t) for t in (1, 1, 2, 2)]
        d = staffed("ring-all", *tiers)
        assert asked(d, "w1") == ["anna", "mehmet"]
        assert refuse(d, "anna") == []
        assert sorted(refuse(d, "mehmet")) == ["olena", "tom"]

    def test_several_calls_ring_one_after_the_other(self):
        d = staffed("ring-all")
        d.arrive("w1")
        assert asked(d, "w2") == []
        d.accept("anna")
        assert {o.work for o in d.ringing.values()} == {"w2"}
        assert set(d.ringing) == {"mehmet", "tom", "olena"}

    def test_caller_hangs_up(self):
        d = staffed("ring-all")
        d.arrive("w1")
        d.tell(WorkEnded("w1"))
        assert not d.ringing
        assert {d.activity(n) for n in NAMES} == {"available"}


class TestRandom:
    def test_shares_follow_the_weights(self):
        weights = [Membership("zentrale", weight=w) for w in (1, 2, 3, 4)]
        d = staffed("random", *weights)
        got = Counter(serve(d, f"w{n}", talk=0) for n in range(2000))
        for name, weight in zip(NAMES, (1, 2, 3, 4), strict=True):
            assert abs(got[name] - 200 * weight) < 90, got

    def test_shares_follow_the_weights_among_many(self):
        members = [Membership("zentrale", weight=1 + n % 2) for n in range(60)]
        d = desk(
            *(agent(f"a{n}", m) for n, m in enumerate(members)),
            queues=(QueueConfig("zentrale", strategy="random", wrap_up=0),),
        )
        d.on_duty(*(f"a{n}" for n in range(60)))
        got = Counter(int(serve(d, f"w{n}", talk=0)[1:]) % 2 for n in range(1500))
        assert abs(got[1] - 1000) < 75, got

    def test_the_same_journal_draws_the_same(self):
        draws = []
        for _ in range(2):
            d = staffed("random")
            draws.append([serve(d, f"w{n}") for n in range(50)])
        assert draws[0] == draws[1]
        assert len(set(draws[0])) == 4


@pytest.mark.parametrize("strategy", get_args(Strategy))
def test_decision_names_strategy_and_keys(strategy):
    d = staffed(strategy)
    (decision,) = only(d.arrive("w1"), Decision)
    assert decision.strategy == strategy
    for candidate in decision.candidates:
        assert len(candidate.key) >= 2
