"""Complaints in other systems' trackers that concern queues; each must not happen here."""

from __future__ import annotations

from collections import Counter

import pytest
from support.queues import Desk, agent, desk, only

from comms.bus.acd import (
    OfferAccepted,
    OfferEnded,
    OfferMade,
    OfferRefused,
    Overflow,
    OwnerRestarted,
    QueueConfig,
    SetAgentState,
    SetEngaged,
    SetReachable,
    WorkAssigned,
    WorkClosed,
    WorkEnded,
    WorkLeft,
    WrapUpEnded,
    WrapUpOver,
)


@pytest.fixture
def two() -> Desk:
    d = desk(agent("anna", "zentrale"), agent("mehmet", "zentrale"))
    d.on_duty("anna", "mehmet")
    return d


def test_asterisk_176_two_agents_answer_one_call():
    """Both lift at the same moment: the first has the call, the second's phone is released."""
    d = desk(
        agent("anna", "zentrale"),
        agent("mehmet", "zentrale"),
        queues=(QueueConfig("zentrale", strategy="ring-all"),),
    )
    d.on_duty("anna", "mehmet")
    d.arrive("w1")
    first, second = d.ringing["anna"].offer, d.ringing["mehmet"].offer
    events = d.tell(OfferAccepted(first)) + d.tell(OfferAccepted(second))
    assert [e.agent for e in only(events, WorkAssigned)] == ["anna"]
    ended = [e for e in only(events, OfferEnded) if e.offer == second]
    assert ended
    assert {(e.outcome, e.agent, e.owner) for e in ended} == {("withdrawn", "mehmet", "sip-1")}
    assert d.activity("mehmet") == "available"


@pytest.mark.parametrize(
    "way",
    ["hang-up", "refused", "timed-out", "unreachable", "engaged", "break", "owner-restarted"],
)
def test_freeswitch_1973_2540_agents_stuck_ringing(two, way):
    """However an offer ends, the agent is free for the next one or where they chose to be."""
    two.arrive("w1")
    ways = {
        "hang-up": lambda: two.tell(WorkLeft("w1")),
        "refused": lambda: two.tell(OfferRefused(two.ringing["anna"].offer, "failed")),
        "timed-out": lambda: two.pass_time(15),
        "unreachable": lambda: two.tell(SetReachable("anna", False)),
        "engaged": lambda: two.tell(SetEngaged("anna", 1)),
        "break": lambda: two.tell(SetAgentState("anna", "break")),
        "owner-restarted": lambda: two.tell(OwnerRestarted("sip-1", ())),
    }
    ways[way]()
    after = {"unreachable": "offline", "engaged": "busy", "break": "break"}
    assert two.activity("anna") == after.get(way, "available")
    two.tell(SetEngaged("anna", 0))
    two.tell(SetReachable("anna", True))
    two.tell(SetAgentState("anna", "available"))
    two.tell(SetAgentState("mehmet", "offline"))
    two.tell(WorkLeft("w1"))
    two.pass_time(2)
    assert [e.agent for e in only(two.arrive("w2"), OfferMade)] == ["anna"]


def test_freeswitch_2540_agents_stuck_in_a_conversation_whose_end_got_lost(two):
    """The role that held the call died and came back without it."""
    two.arrive("w1")
    two.accept("anna")
    two.tell(OwnerRestarted("sip-1", ()))
    assert two.activity("anna") == "wrap-up"
    two.pass_time(10)
    assert two.activity("anna") == "available"


def test_fusionpbx_2831_unregistered_agent_still_shown_as_available(two):
    two.tell(SetReachable("anna", False))
    assert two.activity("anna") == "offline"
    assert [e.agent for e in only(two.arrive("w1"), OfferMade)] == ["mehmet"]


@pytest.mark.parametrize(
    "disturbance",
    [
        SetAgentState("anna", "available"),
        SetAgentState("anna", "break"),
        SetReachable("anna", False),
        SetEngaged("anna", 1),
        WorkEnded("w1"),
        WorkLeft("w1"),
        OwnerRestarted("sip-1", ()),
    ],
)
def test_asterisk_1006_wrap_up_cut_short(two, disturbance):
    two.arrive("w1")
    two.accept("anna")
    two.tell(WorkEnded("w1"))
    until = two.view.agents["anna"].until
    two.pass_time(1)
    two.tell(disturbance)
    view = two.view.agents["anna"]
    assert (view.activity, view.until) == ("wrap-up", until)


def test_asterisk_607_wrap_up_lost_by_an_attended_transfer(two):
    """The agent calls a colleague meanwhile; when the citizen is handed over, wrap-up begins."""
    two.arrive("w1")
    two.accept("anna")
    two.tell(SetEngaged("anna", 1))
    two.pass_time(30)
    two.tell(WorkEnded("w1"))
    two.tell(SetEngaged("anna", 0))
    assert two.activity("anna") == "wrap-up"
    assert only(two.pass_time(10), WrapUpOver) == [WrapUpOver("w1", "anna", 10)]


def test_asterisk_1691_a_fairness_option_stopped_all_offers():
    """Everybody has refused everything: offers go on."""
    d = desk(
        *(agent(n, "zentrale") for n in ("anna", "mehmet", "tom")),
        queues=(QueueConfig("zentrale", missed_offers_limit=0),),
    )
    d.on_duty("anna", "mehmet", "tom")
    for n in range(5):
        d.arrive(f"w{n}")
    asked: Counter[tuple[str, str]] = Counter()
    for _ in range(60):
        for offer in list(d.ringing.values()):
            asked[offer.agent, offer.work] += 1
            d.tell(OfferRefused(offer.offer, "declined"))
        d.pass_time(2)
    assert len(asked) == 15
    assert min(asked.values()) >= 4


def test_asterisk_108_unfair_with_several_queues():
    """Agents who serve three queues get no more work than those who serve one."""
    queues = tuple(QueueConfig(q, wrap_up=0) for q in ("a", "b", "c"))
    d = desk(
        agent("all-1", "a", "b", "c"),
        agent("all-2", "a", "b", "c"),
        agent("one-a", "a"),
        agent("one-b", "b"),
        agent("one-c", "c"),
        queues=queues,
    )
    d.on_duty("all-1", "all-2", "one-a", "one-b", "one-c")
    talks: dict[str, float] = {}
    got: Counter[str] = Counter()
    for n in range(600):
        d.arrive(f"w{n}", "abc"[n % 3])
        for name, offer in list(d.ringing.items()):
            d.tell(OfferAccepted(offer.offer))
            got[name] += 1
            talks[offer.work] = d.now + 5
        d.pass_time(1)
        for work in [w for w, end in talks.items() if end <= d.now]:
            d.tell(WorkEnded(work))
            del talks[work]
    assert max(got.values()) <= 1.5 * min(got.values()), got


def test_fusionpbx_6743_position_gets_worse():
    """Offers that come to nothing and later callers never move anybody back."""
    d = desk(agent("anna", "zentrale"), agent("mehmet", "zentrale"))
    for n in range(8):
        d.arrive(f"w{n}")
    d.on_duty("anna", "mehmet")
    best = {f"w{n}": n + 1 for n in range(8)}
    for step in range(40):
        d.arrive(f"late{step}")
        for offer in list(d.ringing.values()):
            d.tell(OfferRefused(offer.offer, "no-answer" if step % 2 else "declined"))
        d.pass_time(2)
        if step == 20:
            d.tell(WorkLeft("w3"))
            best.pop("w3")
        for work in best:
            position = d.engine.position(work)
            assert position <= best[work]
            best[work] = position


@pytest.mark.parametrize("reason", ["menu", "transferred"])
@pytest.mark.parametrize("name", ["w1", "w1.1"])
def test_fusionpbx_6743_place_lost_on_re_entry(reason, name):
    """Who is sent on to another queue keeps their place in time, under whatever name."""
    d = desk(queues=(QueueConfig("buerger"), QueueConfig("kfz")))
    d.arrive("w1", "buerger")
    d.pass_time(60)
    d.arrive("w2", "kfz")
    d.tell(WorkLeft("w1", reason))
    d.arrive(name, "kfz", continues="w1")
    assert (d.engine.position(name), d.engine.position("w2")) == (1, 2)
    assert d.now - d.view.works[name].since == 60


def test_fusionpbx_6743_place_lost_on_overflow():
    d = desk(
        queues=(
            QueueConfig("buerger", overflow=(Overflow("zentrale", after=30),)),
            QueueConfig("zentrale"),
        )
    )
    d.arrive("w1", "buerger")
    d.pass_time(10)
    d.arrive("w2", "zentrale")
    d.pass_time(20)
    assert (d.engine.position("w1"), d.engine.position("w2")) == (1, 2)


def test_wazo_404_phantom_calls_after_a_transfer(two):
    """Nothing is left of work that was handed on, whatever is still said about it."""
    two.arrive("w1")
    offer = two.ringing["anna"].offer
    two.accept("anna")
    two.tell(WorkEnded("w1"))
    for late in (WorkLeft("w1", "transferred"), WorkEnded("w1"), OfferAccepted(offer)):
        assert two.tell(late) == []
    assert two.view.works == {}
    assert two.view.shows(two.engine)


def test_freepbx_124_time_after_a_transfer_counted_to_the_first_agent(two):
    two.arrive("w1")
    two.accept("anna")
    two.pass_time(20)
    (first,) = only(two.tell(WorkEnded("w1")), WorkClosed)
    two.arrive("w1")
    two.accept("mehmet")
    two.pass_time(300)
    (second,) = only(two.tell(WorkEnded("w1")), WorkClosed)
    assert (first.agent, first.talked) == ("anna", 20)
    assert (second.agent, second.talked) == ("mehmet", 300)


def test_fusionpbx_5778_false_missed_calls():
    """Whoever was not the quickest, or whose caller hung up, has missed nothing."""
    d = desk(
        agent("anna", "zentrale"),
        agent("mehmet", "zentrale"),
        queues=(QueueConfig("zentrale", strategy="ring-all", wrap_up=0),),
    )
    d.on_duty("anna", "mehmet")
    for n in range(6):
        d.arrive(f"w{n}")
        if n % 2:
            d.tell(WorkLeft(f"w{n}"))
        else:
            d.accept("anna")
            d.tell(WorkEnded(f"w{n}"))
    assert d.view.agents["mehmet"].chosen == "available"
    assert {e.outcome for e in only(d.events, OfferEnded) if e.agent == "mehmet"} == {"withdrawn"}


def test_zammad_2177_pop_ups_reach_every_agent(two):
    """An offer is addressed to one agent; nobody else is told to ring."""
    assert [e.agent for e in only(two.arrive("w1"), OfferMade)] == ["anna"]


@pytest.mark.parametrize("media", ["voice", "chat", "video", "callback"])
def test_chatwoot_12571_one_medium_stands_outside(two, media):
    """Every medium waits in the same order."""
    two.arrive("w1", media=media)
    two.arrive("w2")
    two.arrive("w3", media=media)
    assert [two.engine.position(f"w{n}") for n in (1, 2, 3)] == [1, 2, 3]
    assert two.ringing["anna"].work == "w1"


def test_chatwoot_14508_unanswered_work_returns_to_the_queue(two):
    two.arrive("w1", media="chat")
    two.pass_time(15)
    assert two.ringing["mehmet"].work == "w1"
    two.tell(WrapUpEnded("anna"))
    assert two.engine.position("w1") == 1
