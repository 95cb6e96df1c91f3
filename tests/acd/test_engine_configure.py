"""What the engine does when its configuration changes or a role starts again."""

from __future__ import annotations

import pytest
from support.queues import Desk, agent, desk, only

from acd.engine import InvalidConfiguration
from comms.bus.acd import (
    AgentRemoved,
    Configure,
    OfferAccepted,
    OfferEnded,
    OfferMade,
    Overflow,
    OwnerRestarted,
    QueueConfig,
    QueueRemoved,
    Relax,
    WorkArrived,
    WorkClosed,
    WorkEnded,
    WorkRejected,
)


@pytest.fixture
def two() -> Desk:
    """Anna and Mehmet at the switchboard, both free; Anna for longer."""
    d = desk(agent("anna", "zentrale"), agent("mehmet", "zentrale"))
    d.on_duty("anna")
    d.pass_time(1)
    d.on_duty("mehmet")
    return d


class TestOwnerRestarted:
    def test_what_it_no_longer_holds_is_closed(self, two):
        two.arrive("w1")
        two.arrive("w2")
        two.arrive("w3")
        two.tell(WorkArrived("other", "zentrale", owner="sip-2"))
        two.accept("anna")
        events = two.tell(OwnerRestarted("sip-1", ("w3",)))
        closed = {e.work: e.outcome for e in only(events, WorkClosed)}
        assert closed == {"w1": "answered", "w2": "failed"}
        assert [(e.agent, e.outcome) for e in only(events, OfferEnded)] == [("mehmet", "withdrawn")]
        assert set(two.view.works) == {"w3", "other"}
        assert two.activity("anna") == "wrap-up"
        # Mehmet is free again at once, for the oldest that is left.
        assert two.ringing["mehmet"].work == "w3"

    def test_offers_it_lost_are_refused_and_not_counted_as_missed(self, two):
        two.arrive("w1")
        offer = two.ringing["anna"].offer
        events = two.tell(OwnerRestarted("sip-1", ("w1",), (offer,)))
        assert events == []
        events = two.tell(OwnerRestarted("sip-1", ("w1",)))
        assert [(e.offer, e.outcome, e.reason) for e in only(events, OfferEnded)] == [
            (offer, "refused", "failed")
        ]
        assert [e.work for e in only(events, OfferMade)] == ["w1"]
        assert two.engine._state.agents["anna"].missed == 0


class TestConfigure:
    def test_again_the_same_changes_nothing(self, two):
        again = Configure(
            (QueueConfig("zentrale"),), (agent("anna", "zentrale"), agent("mehmet", "zentrale"))
        )
        assert two.tell(again) == []

    def test_work_and_agents_that_remain_keep_their_state(self, two):
        two.arrive("w1")
        two.arrive("w2")
        two.arrive("w3")
        two.accept("anna")
        offer = two.ringing["mehmet"]
        config = Configure(
            (QueueConfig("zentrale", strategy="linear", priority=3), QueueConfig("kfz")),
            (agent("mehmet", "zentrale", "kfz"), agent("anna", "zentrale"), agent("tom", "kfz")),
        )
        events = two.tell(config)
        assert not only(events, OfferEnded)
        assert two.activity("anna") == "busy"
        assert two.view.works["w2"].rank[0] == -3
        two.tell(OfferAccepted(offer.offer))
        assert two.view.works["w2"].agents == ("mehmet",)
        assert two.view.shows(two.engine)

    def test_agent_removed_while_ringing(self, two):
        two.arrive("w1")
        events = two.tell(Configure((QueueConfig("zentrale"),), (agent("mehmet", "zentrale"),)))
        assert [(e.agent, e.outcome) for e in only(events, OfferEnded)] == [("anna", "withdrawn")]
        assert only(events, AgentRemoved) == [AgentRemoved("anna")]
        assert two.ringing["mehmet"].work == "w1"

    def test_agent_removed_in_conversation_and_back(self, two):
        two.arrive("w1")
        two.accept("anna")
        both = two.journal[0][0]
        two.tell(Configure((QueueConfig("zentrale"),), (agent("mehmet", "zentrale"),)))
        assert two.view.works["w1"].agents == ("anna",)
        two.tell(both)
        assert two.activity("anna") == "busy"
        two.tell(WorkEnded("w1"))
        assert two.activity("anna") == "wrap-up"
        two.pass_time(10)
        # Nobody chose a state for her since she is back.
        assert two.activity("anna") == "offline"

    def test_agent_removed_in_conversation_for_good(self, two):
        two.arrive("w1")
        two.accept("anna")
        two.tell(Configure((QueueConfig("zentrale"),), (agent("mehmet", "zentrale"),)))
        (closed,) = only(two.tell(WorkEnded("w1")), WorkClosed)
        assert closed.agent == "anna"

    def test_queue_removed(self, two):
        two.arrive("w0")
        two.accept("anna")
        two.arrive("w1")
        two.arrive("w2")
        events = two.tell(
            Configure((QueueConfig("kfz"),), (agent("anna", "kfz"), agent("mehmet", "kfz")))
        )
        assert {e.work for e in only(events, WorkRejected)} == {"w1", "w2"}
        assert {e.outcome for e in only(events, WorkClosed)} == {"rejected"}
        assert only(events, QueueRemoved) == [QueueRemoved("zentrale")]
        assert two.activity("mehmet") == "available"
        assert set(two.view.works) == {"w0"}
        two.tell(WorkEnded("w0"))
        assert two.activity("anna") == "available"
        assert two.view.shows(two.engine)

    def test_no_longer_a_member(self, two):
        two.arrive("w1")
        events = two.tell(
            Configure((QueueConfig("zentrale"),), (agent("anna"), agent("mehmet", "zentrale")))
        )
        assert [(e.agent, e.outcome) for e in only(events, OfferEnded)] == [("anna", "withdrawn")]
        assert two.activity("anna") == "available"
        assert two.ringing["mehmet"].work == "w1"

    def test_new_skills_make_waiting_work_possible(self):
        d = desk(agent("anna", "kfz"), queues=(QueueConfig("kfz"),))
        d.on_duty("anna")
        d.arrive("w1", "kfz", skills={"tr": 1})
        assert not d.ringing
        d.tell(Configure((QueueConfig("kfz"),), (agent("anna", "kfz", skills={"tr": 1}),)))
        assert d.ringing["anna"].work == "w1"

    @pytest.mark.parametrize(
        "config",
        [
            Configure((QueueConfig("a"), QueueConfig("a")), ()),
            Configure((), (agent("anna"), agent("anna"))),
            Configure((QueueConfig("a"),), (agent("anna", "a", "a"),)),
            Configure((QueueConfig("a", offer_timeout=0),), ()),
            Configure((QueueConfig("a", wrap_up=float("nan")),), ()),
            Configure((QueueConfig("a", overflow=(Overflow("a", after=1),)),), ()),
            Configure((QueueConfig("a", overflow=(Overflow("b", after=1),)),), ()),
            Configure((QueueConfig("a"), QueueConfig("b", overflow=(Overflow("a"),))), ()),
            Configure((QueueConfig("a", relax=(Relax("x", -1),)),), ()),
        ],
    )
    def test_what_cannot_be_carried_out_changes_nothing(self, two, config):
        before = two.engine.snapshot()
        with pytest.raises(InvalidConfiguration) as caught:
            two.tell(config)
        assert caught.value.problems
        assert two.engine.snapshot() == before

    def test_membership_of_a_queue_to_come(self):
        d = desk(agent("anna", "zentrale", "kfz"))
        assert d.view.agents["anna"].queues == ("zentrale",)
        d.tell(
            Configure(
                (QueueConfig("zentrale"), QueueConfig("kfz")), (agent("anna", "zentrale", "kfz"),)
            )
        )
        assert d.view.agents["anna"].queues == ("zentrale", "kfz")
