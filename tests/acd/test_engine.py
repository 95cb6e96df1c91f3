"""The way of work through the engine, and commands that come late, twice or from nowhere."""

from __future__ import annotations

import time

import pytest
from support.queues import BEGIN, Desk, agent, desk, only

from acd.engine import Engine, InvalidSnapshot
from comms.bus.acd import (
    AgentChanged,
    Candidate,
    Configure,
    Decision,
    Membership,
    OfferAccepted,
    OfferEnded,
    OfferMade,
    OfferRefused,
    Overflow,
    OwnerRestarted,
    QueueChanged,
    QueueConfig,
    Relax,
    SetAgentState,
    SetEngaged,
    SetReachable,
    Tick,
    WorkArrived,
    WorkAssigned,
    WorkClosed,
    WorkEnded,
    WorkLeft,
    WorkOverflowed,
    WorkRejected,
    WrapUpEnded,
    WrapUpOver,
)


@pytest.fixture
def two() -> Desk:
    """Anna and Mehmet at the switchboard, both free; Anna for longer."""
    d = desk(agent("anna", "zentrale"), agent("mehmet", "zentrale"))
    d.on_duty("anna")
    d.pass_time(1)
    d.on_duty("mehmet")
    return d


class TestOneCall:
    def test_from_arrival_to_the_end_of_wrap_up(self, two):
        events = two.arrive("w1", number="+4917012345")
        (offer,) = only(events, OfferMade)
        assert (offer.work, offer.agent, offer.owner, offer.timeout) == ("w1", "anna", "sip-1", 15)
        view = two.view.works["w1"]
        assert (view.state, view.agents, view.number) == ("offered", ("anna",), "+4917012345")
        assert two.activity("anna") == "offered"

        two.pass_time(4)
        events = two.accept("anna")
        assert [e.outcome for e in only(events, OfferEnded)] == ["accepted"]
        (assigned,) = only(events, WorkAssigned)
        assert (assigned.offer, assigned.agent, assigned.owner) == (offer.offer, "anna", "sip-1")
        assert two.view.works["w1"].state == "assigned"
        assert two.activity("anna") == "busy"

        two.pass_time(60)
        events = two.tell(WorkEnded("w1"))
        (closed,) = only(events, WorkClosed)
        assert closed == WorkClosed("w1", "zentrale", "sip-1", "answered", 4, 4, 60, "anna")
        assert two.activity("anna") == "wrap-up"
        assert two.view.agents["anna"].until == two.now + 10

        events = two.pass_time(10)
        assert only(events, WrapUpOver) == [WrapUpOver("w1", "anna", 10)]
        assert two.activity("anna") == "available"
        shown = two.view.queues["zentrale"]
        assert (shown.offered, shown.answered, shown.abandoned, shown.answered_in_time) == (
            1,
            1,
            0,
            1,
        )
        assert (shown.wait_mean, shown.wait_p90) == (4, 4)

    def test_refused_goes_to_the_other(self, two):
        two.arrive("w1")
        events = two.tell(OfferRefused(two.ringing["anna"].offer, "declined"))
        assert [(e.agent, e.outcome) for e in only(events, OfferEnded)] == [("anna", "refused")]
        assert [e.agent for e in only(events, OfferMade)] == ["mehmet"]

    def test_nobody_answers_back_to_the_same_place_and_round_again(self, two):
        for n in range(1, 4):
            two.arrive(f"w{n}")
            two.pass_time(1)
        # Both ring, for w1 and w2; w3 waits.
        assert [two.engine.position(w) for w in ("w1", "w2", "w3")] == [1, 2, 3]
        rank = two.view.works["w1"].rank
        events = two.pass_time(15)
        timed_out = [e for e in only(events, OfferEnded) if e.outcome == "timed-out"]
        assert {(e.work, e.agent) for e in timed_out} == {("w1", "anna"), ("w2", "mehmet")}
        assert [two.engine.position(w) for w in ("w1", "w2", "w3")] == [1, 2, 3]
        assert two.view.works["w1"].rank == rank

    def test_one_agent_alone_is_asked_again(self):
        d = desk(agent("anna", "zentrale"))
        d.on_duty("anna")
        d.arrive("w1")
        first = d.ringing["anna"].offer
        d.tell(OfferRefused(first, "declined"))
        assert not d.ringing
        d.pass_time(2)
        assert d.ringing["anna"].offer != first

    @pytest.mark.parametrize("when", ["waiting", "offered"])
    def test_caller_hangs_up(self, two, when):
        if when == "waiting":
            two.arrive("a")
            two.arrive("b")
        two.arrive("w1")
        two.pass_time(3)
        events = two.tell(WorkLeft("w1"))
        ended = only(events, OfferEnded)
        if when == "offered":
            assert [(e.agent, e.outcome, e.reason) for e in ended] == [
                ("anna", "withdrawn", "abandoned")
            ]
            assert two.activity("anna") == "available"
        else:
            assert ended == []
        (closed,) = only(events, WorkClosed)
        assert (closed.outcome, closed.waited) == ("abandoned", 3)
        assert "w1" not in two.view.works
        assert two.view.queues["zentrale"].abandoned == 1

    def test_caller_hangs_up_while_the_acceptance_is_on_its_way(self, two):
        two.arrive("w1")
        two.accept("anna")
        events = two.tell(WorkLeft("w1"))
        assert [e.outcome for e in only(events, WorkClosed)] == ["answered"]
        assert two.activity("anna") == "wrap-up"

    def test_no_wrap_up(self):
        d = desk(agent("anna", "zentrale"), queues=(QueueConfig("zentrale", wrap_up=0),))
        d.on_duty("anna")
        d.arrive("w1")
        d.accept("anna")
        d.tell(WorkEnded("w1"))
        assert d.activity("anna") == "available"

    def test_wrap_up_ended_early(self, two):
        two.arrive("w1")
        two.accept("anna")
        two.tell(WorkEnded("w1"))
        two.pass_time(3)
        assert only(two.tell(WrapUpEnded("anna")), WrapUpOver) == [WrapUpOver("w1", "anna", 3)]
        assert two.activity("anna") == "available"
        assert not only(two.tell(WrapUpEnded("anna")), WrapUpOver)


class TestLateRepeatedUnknown:
    def test_second_acceptance_of_the_same_offer_changes_nothing(self, two):
        two.arrive("w1")
        offer = two.ringing["anna"].offer
        two.accept("anna")
        assert two.tell(OfferAccepted(offer)) == []
        two.tell(WorkEnded("w1"))
        assert two.tell(OfferAccepted(offer)) == []

    def test_acceptance_after_the_caller_hung_up_releases_the_phone(self, two):
        two.arrive("w1")
        offer = two.ringing["anna"]
        two.tell(WorkLeft("w1"))
        events = two.tell(OfferAccepted(offer.offer))
        assert events == [OfferEnded(offer.offer, "w1", "anna", "sip-1", "withdrawn", "over")]

    def test_acceptance_after_the_time_out_releases_the_phone(self, two):
        two.arrive("w1")
        offer = two.ringing["anna"].offer
        two.pass_time(15)
        events = two.tell(OfferAccepted(offer))
        assert [(e.offer, e.outcome) for e in only(events, OfferEnded)] == [(offer, "withdrawn")]
        assert two.view.works["w1"].agents == ("mehmet",)

    def test_acceptance_in_the_last_instant_counts(self, two):
        two.arrive("w1")
        offer = two.ringing["anna"].offer
        events = two.tell(OfferAccepted(offer), two.now + 15.2)
        assert only(events, WorkAssigned)

    def test_acceptance_of_what_never_was(self, two):
        (ended,) = two.tell(OfferAccepted("no-such-offer"))
        assert isinstance(ended, OfferEnded)
        assert (ended.offer, ended.outcome) == ("no-such-offer", "withdrawn")

    def test_late_refusal_changes_nothing(self, two):
        two.arrive("w1")
        offer = two.ringing["anna"].offer
        two.accept("anna")
        assert two.tell(OfferRefused(offer, "no-answer")) == []
        assert two.activity("anna") == "busy"

    def test_repeated_arrival(self, two):
        two.arrive("w1")
        assert two.arrive("w1") == []
        two.accept("anna")
        assert two.arrive("w1") == []

    def test_late_copy_of_an_arrival_after_hanging_up(self, two):
        two.arrive("w1")
        two.tell(WorkLeft("w1"))
        assert two.arrive("w1") == []

    @pytest.mark.parametrize(
        "command",
        [
            WorkLeft("nobody"),
            WorkEnded("nobody"),
            OfferRefused("nothing", "busy"),
            WrapUpEnded("nobody"),
            WrapUpEnded("anna"),
            SetAgentState("nobody", "available"),
            SetAgentState("anna", "available"),
            SetReachable("nobody", True),
            SetReachable("anna", True),
            SetEngaged("nobody", 2),
            SetEngaged("anna", 0),
            SetEngaged("anna", -1),
            OwnerRestarted("sip-9", ("w1",)),
            Tick(),
        ],
    )
    def test_nothing_comes_of_it(self, two, command):
        assert two.tell(command) == []
        assert two.tell(command) == []
        assert two.view.shows(two.engine)

    def test_ended_twice(self, two):
        two.arrive("w1")
        two.accept("anna")
        two.tell(WorkEnded("w1"))
        until = two.view.agents["anna"].until
        two.pass_time(1)
        assert two.tell(WorkEnded("w1")) == []
        assert two.view.agents["anna"].until == until

    def test_unknown_queue(self, two):
        events = two.arrive("w1", "kein-amt")
        assert events == [WorkRejected("w1", "kein-amt", "sip-1", "unknown-queue")]

    def test_time_never_goes_backwards(self, two):
        two.arrive("w1")
        two.pass_time(5)
        since = two.now
        two.tell(Tick())
        two.tell(OfferAccepted(two.ringing["anna"].offer), BEGIN)
        assert two.view.agents["anna"].since == since


class TestPresence:
    def test_unreachable_is_never_shown_available_and_gets_no_offer(self):
        d = desk(agent("anna", "zentrale"))
        d.tell(SetAgentState("anna", "available"))
        d.arrive("w1")
        assert d.activity("anna") == "offline"
        assert not d.ringing
        d.tell(SetReachable("anna", True))
        assert d.ringing["anna"].work == "w1"

    def test_registration_is_known_before_the_agent_is_configured(self):
        d = Desk()
        d.tell(SetReachable("anna", True))
        d.tell(SetEngaged("anna", 1))
        d.tell(Configure((QueueConfig("zentrale"),), (agent("anna", "zentrale"),)))
        d.tell(SetAgentState("anna", "available"))
        assert d.activity("anna") == "busy"
        d.tell(SetEngaged("anna", 0))
        assert d.activity("anna") == "available"

    @pytest.mark.parametrize(
        ("command", "reason", "then"),
        [
            (SetReachable("anna", False), "unreachable", "offline"),
            (SetEngaged("anna", 1), "engaged", "busy"),
            (SetAgentState("anna", "break", "lunch"), "break", "break"),
            (SetAgentState("anna", "offline"), "offline", "offline"),
        ],
    )
    def test_who_leaves_loses_the_offer_to_the_next(self, two, command, reason, then):
        two.arrive("w1")
        events = two.tell(command)
        assert [(e.agent, e.outcome, e.reason) for e in only(events, OfferEnded)] == [
            ("anna", "withdrawn", reason)
        ]
        assert [e.agent for e in only(events, OfferMade)] == ["mehmet"]
        assert two.activity("anna") == then

    @pytest.mark.parametrize(
        "command",
        [SetReachable("anna", False), SetAgentState("anna", "break"), SetEngaged("anna", 1)],
    )
    def test_a_conversation_goes_on(self, two, command):
        two.arrive("w1")
        two.accept("anna")
        events = two.tell(command)
        assert not only(events, OfferEnded)
        assert two.activity("anna") == "busy"
        assert two.view.works["w1"].agents == ("anna",)

    def test_break_chosen_in_conversation_begins_after_wrap_up(self, two):
        two.arrive("w1")
        two.accept("anna")
        two.tell(SetAgentState("anna", "break", "lunch"))
        two.tell(WorkEnded("w1"))
        assert two.activity("anna") == "wrap-up"
        two.pass_time(10)
        view = two.view.agents["anna"]
        assert (view.activity, view.reason) == ("break", "lunch")

    def test_logging_off_ends_the_wrap_up(self, two):
        two.arrive("w1")
        two.accept("anna")
        two.tell(WorkEnded("w1"))
        two.pass_time(2)
        events = two.tell(SetAgentState("anna", "offline"))
        assert only(events, WrapUpOver) == [WrapUpOver("w1", "anna", 2)]
        assert two.activity("anna") == "offline"

    def test_reason_of_a_break_can_change(self, two):
        two.tell(SetAgentState("anna", "break", "lunch"))
        two.pass_time(5)
        events = two.tell(SetAgentState("anna", "break", "meeting"))
        (changed,) = only(events, AgentChanged)
        assert (changed.view.reason, changed.view.since) == ("meeting", two.now)

    def test_missed_offers_in_a_row_lead_to_a_break(self):
        d = desk(agent("anna", "zentrale"))
        d.on_duty("anna")
        d.arrive("w1")
        d.pass_time(15 + 2 + 15 + 2)
        assert d.activity("anna") == "offered"
        d.pass_time(15)
        view = d.view.agents["anna"]
        assert (view.activity, view.chosen, view.reason) == ("break", "break", "missed-offers")
        d.pass_time(3600)
        assert not d.ringing
        d.tell(SetAgentState("anna", "available"))
        assert d.ringing["anna"].work == "w1"

    def test_an_answer_or_a_refusal_by_hand_breaks_the_row(self):
        d = desk(agent("anna", "zentrale"))
        d.on_duty("anna")
        d.arrive("w1")
        d.pass_time(15 + 2 + 15 + 2)
        d.tell(OfferRefused(d.ringing["anna"].offer, "declined"))
        d.pass_time(2 + 15 + 2 + 15 + 2)
        assert d.activity("anna") == "offered"

    def test_limit_zero_never_sends_anybody_on_a_break(self):
        queue = QueueConfig("zentrale", missed_offers_limit=0)
        d = desk(agent("anna", "zentrale"), queues=(queue,))
        d.on_duty("anna")
        d.arrive("w1")
        d.pass_time(17 * 20)
        assert d.view.agents["anna"].chosen == "available"

    def test_a_phone_that_refuses_at_once_does_not_spin(self):
        """A phone on do-not-disturb answers within milliseconds; offers to it stay rare."""
        queue = QueueConfig("zentrale", missed_offers_limit=0)
        d = desk(agent("anna", "zentrale"), queues=(queue,))
        d.on_duty("anna")
        for n in range(50):
            d.arrive(f"w{n}")
        offers = 0
        while d.now < BEGIN + 60:
            while "anna" in d.ringing:
                offers += 1
                d.tell(OfferRefused(d.ringing["anna"].offer, "busy"))
            d.pass_time(0.1)
        assert offers <= 31


class TestOrder:
    def test_oldest_first_over_all_queues(self):
        d = desk(agent("anna", "kfz", "pass"), queues=(QueueConfig("kfz"), QueueConfig("pass")))
        for n, queue in enumerate(["pass", "kfz", "kfz", "pass"]):
            d.arrive(f"w{n}", queue)
        served = _serve_all(d, "anna")
        assert served == ["w0", "w1", "w2", "w3"]

    def test_priority_goes_first_the_queues_and_its_own(self):
        d = desk(
            agent("anna", "kfz", "pass"),
            queues=(QueueConfig("kfz"), QueueConfig("pass", priority=5)),
        )
        d.arrive("old", "kfz")
        d.arrive("urgent", "kfz", priority=9)
        d.arrive("pass", "pass")
        d.arrive("pass-later", "pass")
        assert _serve_all(d, "anna") == ["urgent", "pass", "pass-later", "old"]

    def test_order_of_queues_in_the_configuration_does_not_matter(self):
        orders = []
        for names in (("kfz", "pass"), ("pass", "kfz")):
            d = desk(agent("anna", *names), queues=tuple(QueueConfig(n) for n in names))
            for n in range(6):
                d.arrive(f"w{n}", ("kfz", "pass")[n % 2])
            orders.append(_serve_all(d, "anna"))
        assert orders[0] == orders[1]

    def test_an_agent_of_several_queues_is_asked_for_one_thing_at_a_time(self):
        d = desk(agent("anna", "kfz", "pass"), queues=(QueueConfig("kfz"), QueueConfig("pass")))
        d.on_duty("anna")
        d.arrive("w1", "kfz")
        assert not only(d.arrive("w2", "pass"), OfferMade)

    def test_refused_work_does_not_block_what_waits_behind_it(self):
        d = desk(agent("anna", "zentrale"))
        d.arrive("w1")
        d.arrive("w2")
        d.on_duty("anna")
        d.tell(OfferRefused(d.ringing["anna"].offer, "declined"))
        d.pass_time(2)
        assert d.ringing["anna"].work == "w2"

    def test_refused_work_does_not_starve_behind_what_comes_later(self):
        d = desk(agent("anna", "zentrale"))
        d.arrive("w1")
        d.on_duty("anna")
        asked = 0
        for n in range(100):
            d.arrive(f"late{n}")
            asked += d.ringing["anna"].work == "w1"
            d.tell(OfferRefused(d.ringing["anna"].offer, "declined"))
            d.pass_time(2)
        assert asked >= 8
        assert len({o.work for o in only(d.events, OfferMade)}) >= 15

    def test_position_counts_work_that_rings(self, two):
        two.arrive("w1")
        two.arrive("w2")
        two.arrive("w3")
        assert [two.engine.position(f"w{n}") for n in (1, 2, 3, 4)] == [1, 2, 3, 0]
        two.accept("anna")
        assert [two.engine.position(f"w{n}") for n in (1, 2, 3)] == [0, 1, 2]


class TestSkills:
    def test_levels(self):
        d = desk(
            agent("anna", "kfz", skills={"tr": 1}),
            agent("mehmet", "kfz", skills={"tr": 3, "kfz": 1}),
            agent("tom", "kfz"),
            queues=(QueueConfig("kfz"),),
        )
        d.on_duty("tom", "anna", "mehmet")
        events = d.arrive("w1", "kfz", skills={"tr": 2})
        assert [e.agent for e in only(events, OfferMade)] == ["mehmet"]
        (decision,) = only(events, Decision)
        rejected = {c.agent: c.rejected for c in decision.candidates}
        assert rejected == {"mehmet": None, "anna": "skills", "tom": "skills"}

    def test_skills_of_the_queue_and_of_the_work_add_up(self):
        d = desk(
            agent("anna", "kfz", skills={"kfz": 1}),
            agent("mehmet", "kfz", skills={"kfz": 1, "en": 1}),
            queues=(QueueConfig("kfz", skills={"kfz": 1}),),
        )
        d.on_duty("anna", "mehmet")
        assert [e.agent for e in only(d.arrive("w1", "kfz", skills={"en": 1}), OfferMade)] == [
            "mehmet"
        ]
        assert [e.agent for e in only(d.arrive("w2", "kfz"), OfferMade)] == ["anna"]

    def test_work_that_nobody_can_do_does_not_hold_up_the_rest(self):
        d = desk(agent("anna", "kfz"), queues=(QueueConfig("kfz"),))
        d.arrive("w1", "kfz", skills={"uk": 1})
        d.arrive("w2", "kfz")
        d.on_duty("anna")
        assert d.ringing["anna"].work == "w2"

    def test_requirements_relax_while_waiting(self):
        queue = QueueConfig("kfz", relax=(Relax("uk", 30, 1), Relax("uk", 60)))
        d = desk(agent("anna", "kfz"), agent("olena", "kfz", skills={"uk": 1}), queues=(queue,))
        d.on_duty("anna", "olena")
        d.arrive("w1", "kfz", skills={"uk": 3})
        d.arrive("w2", "kfz", skills={"uk": 3})
        assert not d.ringing
        events = d.pass_time(29) + d.pass_time(2)
        assert [(e.agent, e.work) for e in only(events, OfferMade)] == [("olena", "w1")]
        d.accept("olena")
        events = d.pass_time(30)
        assert [(e.agent, e.work) for e in only(events, OfferMade)] == [("anna", "w2")]

    def test_many_different_requirements_stay_bounded(self):
        d = desk(agent("anna", "kfz", skills={"s": 1000}), queues=(QueueConfig("kfz"),))
        for n in range(500):
            d.arrive(f"w{n}", "kfz", skills={"s": n})
            if n > 5:
                d.tell(WorkLeft(f"w{n}"))
        assert len(d.engine._index.queues["kfz"].lanes) <= 64
        assert _serve_all(d, "anna") == [f"w{n}" for n in range(6)]


class TestLimits:
    def test_full(self):
        d = desk(agent("anna", "zentrale"), queues=(QueueConfig("zentrale", max_waiting=2),))
        d.arrive("w1")
        d.arrive("w2")
        assert [e.reason for e in only(d.arrive("w3"), WorkRejected)] == ["full"]
        d.tell(WorkLeft("w1"))
        assert not only(d.arrive("w4"), WorkRejected)

    def test_no_waiting_at_all_but_somebody_is_free(self):
        d = desk(agent("anna", "zentrale"), queues=(QueueConfig("zentrale", max_waiting=0),))
        d.on_duty("anna")
        assert only(d.arrive("w1"), OfferMade)
        assert [e.reason for e in only(d.arrive("w2"), WorkRejected)] == ["full"]

    def test_overflow_by_length(self):
        d = desk(
            agent("anna", "buerger"),
            queues=(
                QueueConfig("zentrale", overflow=(Overflow("buerger", longer_than=1),)),
                QueueConfig("buerger"),
            ),
        )
        d.on_duty("anna")
        d.arrive("w1")
        events = d.arrive("w2")
        assert only(events, WorkOverflowed) == [
            WorkOverflowed("w2", "sip-1", "zentrale", "buerger")
        ]
        assert [e.queue for e in only(events, OfferMade)] == ["buerger"]
        assert d.view.works["w2"].queue == "buerger"

    def test_overflow_by_time_keeps_seniority(self):
        d = desk(
            agent("anna", "buerger"),
            queues=(
                QueueConfig("zentrale", overflow=(Overflow("buerger", after=60),)),
                QueueConfig("buerger"),
            ),
        )
        d.arrive("old")
        d.pass_time(30)
        d.arrive("new", "buerger")
        events = d.pass_time(30)
        assert [e.work for e in only(events, WorkOverflowed)] == ["old"]
        view = d.view.works["old"]
        assert (view.queue, view.since) == ("buerger", BEGIN)
        assert (d.engine.position("old"), d.engine.position("new")) == (1, 2)
        d.on_duty("anna")
        assert d.ringing["anna"].work == "old"

    def test_overflow_never_goes_round_in_circles(self):
        d = desk(
            queues=(
                QueueConfig("a", overflow=(Overflow("b", after=5),)),
                QueueConfig("b", overflow=(Overflow("a", after=5),)),
            )
        )
        d.arrive("w1", "a")
        assert len(only(d.pass_time(600), WorkOverflowed)) == 1
        assert d.engine.next_timer() is None or d.engine.next_timer() > d.now + 60

    def test_no_overflow_while_it_rings_but_right_after(self):
        d = desk(
            agent("anna", "zentrale"),
            queues=(
                QueueConfig("zentrale", overflow=(Overflow("buerger", after=10),)),
                QueueConfig("buerger"),
            ),
        )
        d.on_duty("anna")
        d.arrive("w1")
        assert not only(d.pass_time(14), WorkOverflowed)
        assert only(d.pass_time(1), WorkOverflowed)

    def test_overflow_into_a_full_queue_stays(self):
        d = desk(
            queues=(
                QueueConfig("zentrale", overflow=(Overflow("buerger", longer_than=1),)),
                QueueConfig("buerger", max_waiting=0),
            )
        )
        d.arrive("w1")
        d.arrive("w2")
        assert d.view.works["w2"].queue == "zentrale"


class TestPreferredAgent:
    def test_is_asked_first(self, two):
        assert [e.agent for e in only(two.arrive("w1", preferred_agent="mehmet"), OfferMade)] == [
            "mehmet"
        ]

    def test_is_not_waited_for(self, two):
        two.tell(SetAgentState("mehmet", "break"))
        assert [e.agent for e in only(two.arrive("w1", preferred_agent="mehmet"), OfferMade)] == [
            "anna"
        ]

    @pytest.mark.parametrize("name", ["nobody", "tom"])
    def test_of_another_queue_or_unknown_is_ignored(self, name):
        d = desk(
            agent("anna", "kfz"),
            agent("tom", "pass"),
            queues=(QueueConfig("kfz"), QueueConfig("pass")),
        )
        d.on_duty("anna", "tom")
        assert [e.agent for e in only(d.arrive("w1", "kfz", preferred_agent=name), OfferMade)] == [
            "anna"
        ]


class TestDecisions:
    def test_names_everybody_and_why(self):
        names = ["anna", "mehmet", "tom", "olena", "julia", "paul", "ida", "kurt"]
        d = desk(*(agent(n, "zentrale") for n in names))
        d.on_duty("tom", "anna", "mehmet", "olena", "julia", "paul", "kurt")
        d.tell(SetAgentState("olena", "break"))
        d.tell(SetEngaged("julia", 1))
        d.tell(SetReachable("paul", False))
        d.arrive("w0", preferred_agent="kurt")
        d.accept("kurt")
        events = d.arrive("w1")
        (decision,) = only(events, Decision)
        assert decision.chosen == ("anna",)
        assert {c.agent: c.rejected for c in decision.candidates} == {
            "anna": None,
            "mehmet": "later-in-order",
            "tom": "later-in-order",
            "olena": "break",
            "julia": "engaged",
            "paul": "unreachable",
            "ida": "offline",
            "kurt": "busy",
        }
        assert decision.candidates[0] == Candidate("anna", (1, BEGIN, 1))
        assert decision.others == 0

    def test_stays_small_with_many_agents(self):
        d = desk(*(agent(f"a{n}", "zentrale") for n in range(1000)))
        d.on_duty(*(f"a{n}" for n in range(500)))
        (decision,) = only(d.arrive("w1"), Decision)
        assert len(decision.candidates) <= 50
        assert decision.others == 1000 - len(decision.candidates)


class TestSnapshot:
    def test_restored_engine_goes_on_the_same(self, two):
        two.arrive("w1")
        two.arrive("w2")
        two.arrive("w3")
        two.accept("anna")
        copy = Engine.restore(two.engine.snapshot())
        assert copy.snapshot() == two.engine.snapshot()
        assert copy.next_timer() == two.engine.next_timer()
        due = copy.next_timer()
        assert due is not None
        assert copy.apply(Tick(), due) == two.engine.apply(Tick(), due)

    @pytest.mark.parametrize("raw", [b"", b"\xc1", b"junk", b"\x80" * 3])
    def test_what_is_no_snapshot(self, raw):
        with pytest.raises(InvalidSnapshot):
            Engine.restore(raw)

    def test_of_another_version(self, two):
        two.engine._state.version = 99
        with pytest.raises(InvalidSnapshot):
            Engine.restore(two.engine.snapshot())

    def test_memory_of_ended_things_is_bounded(self):
        d = desk(agent("anna", "zentrale"))
        sizes = []
        for n in range(9000):
            d.engine.apply(WorkArrived(f"w{n:05}", "zentrale", owner="sip-1"), d.now)
            d.engine.apply(WorkLeft(f"w{n:05}"), d.now)
            if n in (4500, 4500 + 4096):
                sizes.append(len(d.engine.snapshot()))
        assert sizes[1] < sizes[0] * 1.1


def test_nothing_shown_that_did_not_change(two):
    two.arrive("w1")
    events = two.accept("anna")
    assert len(only(events, AgentChanged)) == 1
    assert len(only(events, QueueChanged)) == 1


def test_a_decision_looks_at_a_few_things_only():
    """With 10,000 waiting and 1,000 agents; a scan of either would take milliseconds.

    The benchmark `bench/decisions.py` measures it properly.
    """
    d = desk(*(agent(f"a{n}", "zentrale") for n in range(1000)))
    for n in range(10_000):
        d.engine.apply(WorkArrived(f"w{n}", "zentrale", owner="sip-1"), d.now)
    times = []
    for n in range(200):
        d.engine.apply(SetReachable(f"a{n}", True), d.now)
        began = time.thread_time()
        events = d.engine.apply(SetAgentState(f"a{n}", "available"), d.now)
        times.append(time.thread_time() - began)
        assert only(events, OfferMade)
    assert sorted(times)[100] < 0.0005


def _serve_all(d: Desk, name: str) -> list[str]:
    """Let one agent serve everything that waits; return the order."""
    served = []
    d.on_duty(name)
    while name in d.ringing:
        work = d.ringing[name].work
        served.append(work)
        d.accept(name)
        d.tell(WorkEnded(work))
        d.tell(WrapUpEnded(name))
    return served


def test_membership_tiers_go_before_the_strategy():
    d = desk(
        agent("anna", Membership("zentrale", tier=2)),
        agent("mehmet", Membership("zentrale", tier=1)),
    )
    d.on_duty("anna")
    d.pass_time(100)
    d.on_duty("mehmet")
    assert [e.agent for e in only(d.arrive("w1"), OfferMade)] == ["mehmet"]
    assert [e.agent for e in only(d.arrive("w2"), OfferMade)] == ["anna"]
