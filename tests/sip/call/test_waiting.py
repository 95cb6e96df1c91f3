"""Calls that wait in a queue, decided by the call machine."""

from __future__ import annotations

import pytest
from support.calls import City, Driver, sdp

from comms.bus import acd
from sip.call import model


def waiting(**kwargs: object) -> Driver:
    return Driver(**kwargs).call("+492214710150", outside=True)  # type: ignore[arg-type]


def test_caller_is_answered_joins_and_hears_greeting_menu_position_music() -> None:
    drive = waiting()
    assert drive.only(model.Accept).leg == "a"
    (arrived,) = drive.told(acd.WorkArrived)
    assert (arrived.queue, arrived.owner, arrived.number) == (
        "buergertelefon",
        "sip-1",
        "+49301234",
    )
    drive.wait(6.5)
    assert drive.only(model.AskPosition) == model.AskPosition("buergertelefon", "c1")
    drive.tell(model.Position(3)).wait(4)
    assert [play.prompt for play in drive.all(model.Play)] == [
        "greeting",
        "menu",
        "position-3",
        "moh",
    ]
    assert drive.last(model.Play).times is None


def test_position_that_was_told_never_gets_worse() -> None:
    """fusionpbx#6743: 7th became 8th."""
    drive = waiting().wait(6.5).tell(model.Position(7)).wait(50)
    drive.tell(model.Position(8))
    assert [p.prompt for p in drive.all(model.Play) if p.prompt.startswith("position")] == [
        "position-7",
        "position-7",
    ]


def test_only_one_encoding_is_answered_so_that_no_transcoding_is_needed() -> None:
    drive = Driver().call("+492214710150", outside=True, offer=sdp(4000, "8 0 101"))
    assert "m=audio 20000 RTP/AVP 8 101" in drive.only(model.Accept).sdp


def test_agent_answers_and_is_connected_once_the_queue_assigned() -> None:
    drive = waiting().offer()
    leg = drive.rung("201")
    drive.tell(model.LegAnswered(leg, sdp(5000, "9 8 101")))
    assert drive.told(acd.OfferAccepted) == [acd.OfferAccepted("o1")]
    assert drive.machine.call.phase == "queued", "the queue has the last word"
    drive.done.clear()
    drive.assign()
    kinds = [type(action) for action in drive.done]
    assert kinds.index(model.StopPlaying) < kinds.index(model.SetRemote)
    assert drive.last(model.SetRemote).remote.port == 5000
    assert not drive.all(model.Reinvite)
    drive.wait(30).tell(model.LegEnded("a"))
    assert drive.told(acd.WorkEnded) == [acd.WorkEnded("c1")]
    record = drive.record
    assert (record.agent, record.queue, record.talking) == ("anna.schmidt", "buergertelefon", 30.0)
    assert record.cause == "completed"


def test_caller_is_moved_to_the_agents_encoding_where_they_differ() -> None:
    drive = waiting().offer()
    drive.tell(model.LegAnswered(drive.rung("201"), sdp(5000, "8 101"))).assign()
    assert "RTP/AVP 8 101" in drive.only(model.Reinvite).sdp


@pytest.mark.parametrize(
    ("status", "reason"),
    [(486, "busy"), (603, "declined"), (480, "unreachable"), (408, "no-answer"), (500, "failed")],
)
def test_refusals_are_reported_and_the_caller_waits_on(status: int, reason: str) -> None:
    drive = waiting().offer()
    drive.tell(model.LegFailed(drive.rung("201"), status))
    assert drive.told(acd.OfferRefused) == [acd.OfferRefused("o1", reason)]
    assert drive.machine.call.phase == "queued"
    drive.offer("mehmet.yilmaz", "o2")
    assert len(drive.all(model.Invite)) == 3


def test_an_agent_without_a_device_is_unreachable() -> None:
    city = City()
    city.registered.discard("anna.schmidt")
    drive = waiting(city=city).offer()
    assert drive.told(acd.OfferRefused) == [acd.OfferRefused("o1", "unreachable")]


def test_offer_that_timed_out_stops_ringing() -> None:
    drive = waiting().offer()
    ended = acd.OfferEnded("o1", "c1", "anna.schmidt", "sip-1", "timed-out")
    drive.tell(model.QueueSaid(ended))
    assert drive.only(model.Cancel).leg == drive.rung("201")
    assert not drive.machine.call.offers


def test_two_agents_never_get_one_call() -> None:
    """asterisk#176: the loser of a ring-all race is hung up, not connected."""
    drive = waiting().offer("anna.schmidt", "o1").offer("mehmet.yilmaz", "o2")
    first, second = drive.rung("201"), drive.rung("202")
    drive.tell(model.LegAnswered(first, sdp(5000)))
    drive.tell(model.LegAnswered(second, sdp(6000)))
    drive.assign("mehmet.yilmaz", "o2")
    assert [bye.leg for bye in drive.all(model.Bye)] == [first]
    assert drive.machine.call.b == second


def test_caller_hangs_up_while_an_agent_rings() -> None:
    drive = waiting().offer()
    drive.tell(model.LegEnded("a"))
    assert drive.only(model.Cancel).leg == drive.rung("201")
    assert drive.told(acd.WorkLeft) == [acd.WorkLeft("c1", "abandoned")]
    assert drive.record.cause == "abandoned"


def test_caller_hangs_up_between_answer_and_assignment() -> None:
    drive = waiting().offer()
    leg = drive.rung("201")
    drive.tell(model.LegAnswered(leg, sdp(5000))).tell(model.LegEnded("a"))
    assert [bye.leg for bye in drive.all(model.Bye)] == [leg]
    assert drive.record.cause == "abandoned"


def test_agent_hangs_up_between_answer_and_assignment() -> None:
    drive = waiting().offer()
    leg = drive.rung("201")
    drive.tell(model.LegAnswered(leg, sdp(5000))).tell(model.LegEnded(leg)).assign()
    assert drive.told(acd.WorkEnded) == [acd.WorkEnded("c1")]
    assert [bye.leg for bye in drive.all(model.Bye)] == ["a"]


def test_key_two_moves_to_the_other_queue() -> None:
    drive = waiting()
    drive.tell(model.Dtmf("a", "2"))
    assert drive.told(acd.WorkLeft) == [acd.WorkLeft("c1", "menu")]
    assert [a.queue for a in drive.told(acd.WorkArrived)] == ["buergertelefon", "kfz"]
    moved = drive.told(acd.WorkArrived)[1]
    assert (moved.work, moved.continues) == ("c1.1", "c1"), "the place in time is kept"


def test_a_late_event_of_the_queue_that_was_left_is_refused() -> None:
    drive = waiting()
    drive.tell(model.Dtmf("a", "2"))
    stale = acd.OfferMade("o9", "c1", "buergertelefon", "anna.schmidt", "sip-1", 15.0)
    drive.tell(model.QueueSaid(stale))
    assert drive.told(acd.OfferRefused) == [acd.OfferRefused("o9", "failed")]


@pytest.mark.parametrize(
    ("reason", "prompt", "cause"),
    [("closed", "closed", "closed"), ("full", "queue-full", "queue-full")],
)
def test_a_queue_that_does_not_take_the_call_says_why(reason: str, prompt: str, cause: str) -> None:
    drive = waiting()
    rejected = acd.WorkRejected("c1", "buergertelefon", "sip-1", reason)  # type: ignore[arg-type]
    drive.tell(model.QueueSaid(rejected))
    assert drive.last(model.Play).prompt == prompt
    drive.wait(5)
    assert drive.record.cause == cause
    assert not drive.told(acd.WorkLeft), "the queue did not have it"


def test_engine_lost_while_waiting_starts_the_music_again() -> None:
    drive = waiting().wait(6.5).tell(model.Position(1)).wait(5)
    drive.done.clear()
    drive.tell(model.EngineLost()).media("media-2", 30000)
    assert drive.only(model.Reinvite).leg == "a"
    assert drive.last(model.Play).prompt == "moh"


def test_takeover_keeps_the_caller_waiting_and_drops_what_rang() -> None:
    drive = waiting().offer()
    drive.done.clear()
    drive.tell(model.TakenOver())
    assert drive.all(model.Cancel)
    assert drive.machine.call.phase == "queued"
    assert not drive.machine.call.offers
    assert drive.told(acd.WorkArrived), "in case the queue role never heard of it"


def test_people_in_calls_outside_of_queues_are_engaged_those_in_queue_calls_are_not() -> None:
    drive = Driver().call("201")
    assert drive.machine.engaged() == {"kim.lee", "anna.schmidt"}
    drive.tell(model.LegEnded("a"))
    queued = waiting().offer()
    queued.tell(model.LegAnswered(queued.rung("201"), sdp(5000))).assign()
    assert queued.machine.engaged() == set()
