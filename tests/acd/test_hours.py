"""Opening hours: intervals, exceptions, public holidays, and the days the clocks change."""

from __future__ import annotations

import datetime
import zoneinfo

import pytest
from support.queues import agent, desk, only

from acd.engine import InvalidConfiguration
from acd.engine.hours import Calendar, check_hours, midnight_after, public_holidays
from comms.bus.acd import (
    Configure,
    Hours,
    OfferMade,
    Overflow,
    QueueChanged,
    QueueConfig,
    WorkOverflowed,
    WorkRejected,
)

OFFICE = (((480, 720), (780, 1080)),) * 5 + ((), ())
ALL_DAY = (((0, 1440),),) * 7


def at(text: str, zone: str = "Europe/Berlin", fold: int = 0) -> float:
    when = datetime.datetime.fromisoformat(text).replace(fold=fold)
    return when.replace(tzinfo=zoneinfo.ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("moment", "is_open", "changes"),
    [
        ("2026-03-04T07:59:59", False, "2026-03-04T08:00"),
        ("2026-03-04T08:00", True, "2026-03-04T12:00"),
        ("2026-03-04T12:00", False, "2026-03-04T13:00"),
        ("2026-03-04T17:59:59", True, "2026-03-04T18:00"),
        ("2026-03-04T18:00", False, "2026-03-05T00:00"),
        ("2026-03-07T10:00", False, "2026-03-08T00:00"),
    ],
)
def test_several_intervals_a_day(moment, is_open, changes):
    calendar = Calendar(Hours(weekly=OFFICE))
    assert calendar.is_open(at(moment)) is is_open
    assert calendar.next_change(at(moment)) == at(changes)


def test_touching_and_overlapping_intervals_are_one():
    week = (((480, 720), (720, 900), (840, 1080)),) * 7
    assert Calendar(Hours(weekly=week)).next_change(at("2026-03-04T08:30")) == at(
        "2026-03-04T18:00"
    )


def test_without_hours_always_open():
    calendar = Calendar(None)
    assert calendar.is_open(at("2026-12-25T03:00"))


@pytest.mark.parametrize(
    ("state", "day", "is_open"),
    [
        ("NW", "2026-06-04", False),  # Corpus Christi is a holiday in North Rhine-Westphalia
        ("BE", "2026-06-04", True),  # but not in Berlin
        ("BE", "2026-03-08", False),  # International Women's Day, a Sunday
        ("BE", "2027-03-08", False),  # and a Monday
        ("NW", "2027-03-08", True),
        ("NW", "2026-12-25", False),
        (None, "2026-12-25", True),
        ("AT-9", "2026-10-26", False),  # Austria's national day, in Vienna
    ],
)
def test_public_holidays_of_the_state(state, day, is_open):
    calendar = Calendar(Hours(weekly=ALL_DAY, holidays=state))
    assert calendar.is_open(at(f"{day}T10:00")) is is_open


def test_exception_goes_before_week_and_holiday():
    exceptions = {"2026-12-24": ((480, 720),), "2026-12-25": ((600, 660),), "2026-12-28": ()}
    calendar = Calendar(Hours(weekly=OFFICE, holidays="NW", exceptions=exceptions))
    assert calendar.is_open(at("2026-12-24T11:59"))
    assert not calendar.is_open(at("2026-12-24T14:00"))
    assert calendar.is_open(at("2026-12-25T10:30"))
    assert not calendar.is_open(at("2026-12-28T10:00"))


def test_eight_is_eight_on_both_sides_of_the_change_of_clocks():
    calendar = Calendar(Hours(weekly=(((480, 1080),),) * 7))
    for day in ("2026-03-28", "2026-03-29", "2026-10-24", "2026-10-25"):
        assert not calendar.is_open(at(f"{day}T07:59"))
        assert calendar.is_open(at(f"{day}T08:00"))
        assert calendar.next_change(at(f"{day}T08:00")) == at(f"{day}T18:00")


def test_the_day_of_23_and_the_day_of_25_hours():
    zone = "Europe/Berlin"
    spring, autumn = at("2026-03-29T00:00"), at("2026-10-25T00:00")
    assert midnight_after(spring, zone) - spring == 23 * 3600
    assert midnight_after(autumn, zone) - autumn == 25 * 3600


def test_an_hour_that_does_not_exist_counts_as_later():
    # On 2026-03-29 the clock goes from 2:00 to 3:00; "2:30" is 3:30 then.
    calendar = Calendar(Hours(weekly=(((150, 300),),) * 7))
    assert not calendar.is_open(at("2026-03-29T03:15"))
    assert calendar.is_open(at("2026-03-29T03:30"))


def test_the_hour_that_comes_twice_is_open_both_times():
    calendar = Calendar(Hours(weekly=(((120, 240),),) * 7))
    assert calendar.is_open(at("2026-10-25T02:30", fold=0))
    assert calendar.is_open(at("2026-10-25T02:30", fold=1))


def test_zone_is_the_queues_own():
    calendar = Calendar(Hours(timezone="America/New_York", weekly=OFFICE))
    assert calendar.is_open(at("2026-03-04T09:00", "America/New_York"))
    assert not calendar.is_open(at("2026-03-04T09:00"))


@pytest.mark.parametrize(
    "hours",
    [
        Hours(timezone="Europe/Musterstadt"),
        Hours(timezone="../etc/passwd"),
        Hours(holidays="XX"),
        Hours(holidays="DE-ATLANTIS"),
        Hours(weekly=OFFICE[:5]),
        Hours(weekly=(((600, 600),),) * 7),
        Hours(weekly=(((600, 1441),),) * 7),
        Hours(weekly=(((-1, 5),),) * 7),
        Hours(exceptions={"24.12.2026": ()}),
    ],
)
def test_wrong_hours_are_refused_and_change_nothing(hours):
    assert len(check_hours(hours)) >= 1
    d = desk(agent("anna", "zentrale"))
    with pytest.raises(InvalidConfiguration):
        d.tell(Configure((QueueConfig("zentrale", hours=hours),), ()))
    assert d.activity("anna") == "offline"


def test_holidays_are_computed_for_any_year():
    assert datetime.date(2031, 10, 3) in public_holidays("NW", 2031)


def test_queue_opens_and_closes_by_the_clock():
    config = QueueConfig("zentrale", hours=Hours(weekly=OFFICE, holidays="NW"))
    d = desk(agent("anna", "zentrale"), queues=(config,))
    d.on_duty("anna")
    assert d.view.queues["zentrale"].open
    d.arrive("w1")
    d.arrive("w2")
    events = d.pass_time(at("2026-03-04T12:30") - d.now)
    assert [e.view.open for e in only(events, QueueChanged)][-1] is False
    assert [e.reason for e in only(d.arrive("w3"), WorkRejected)] == ["closed"]
    # Who came in time is served.
    assert {"w1", "w2"} <= set(d.view.works)
    d.pass_time(at("2026-03-04T13:00") - d.now)
    assert d.view.queues["zentrale"].open
    assert not only(d.arrive("w4"), WorkRejected)


def test_a_late_tick_does_not_turn_callers_away():
    config = QueueConfig("zentrale", hours=Hours(weekly=OFFICE))
    d = desk(agent("anna", "zentrale"), queues=(config,))
    d.now = at("2026-03-05T08:00")
    assert not only(d.arrive("w1"), WorkRejected)
    assert d.view.queues["zentrale"].open


def test_overflow_waits_for_its_target_to_open():
    d = desk(
        agent("anna", "abend"),
        queues=(
            QueueConfig("zentrale", overflow=(Overflow("abend", after=60),)),
            QueueConfig("abend", hours=Hours(weekly=(((660, 1080),),) * 7)),
        ),
    )
    d.on_duty("anna")
    d.arrive("w1")
    assert not only(d.pass_time(at("2026-03-04T10:59:59") - d.now), WorkOverflowed)
    events = d.pass_time(10)
    assert [e.to_queue for e in only(events, WorkOverflowed)] == ["abend"]
    assert [e.agent for e in only(events, OfferMade)] == ["anna"]


def test_counters_begin_anew_at_local_midnight():
    d = desk(agent("anna", "zentrale"), queues=(QueueConfig("zentrale", wrap_up=0),))
    d.on_duty("anna")
    d.arrive("w1")
    d.accept("anna")
    d.pass_time(at("2026-03-04T23:59:59") - d.now)
    assert d.view.queues["zentrale"].answered == 1
    d.pass_time(2)
    shown = d.view.queues["zentrale"]
    assert (shown.offered, shown.answered, shown.wait_mean, shown.wait_p90) == (0, 0, None, None)
    assert d.view.shows(d.engine)
