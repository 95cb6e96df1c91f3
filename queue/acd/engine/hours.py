"""Opening hours: several intervals a day, public holidays of a state, exceptions, time zones.

All times are local wall-clock times of the queue's zone, so that "8 to 18" stays 8 to 18 on both
days of the year on which the clocks change.
"""

from __future__ import annotations

import datetime
import functools
import zoneinfo

from comms.bus.acd import Hours

DEFAULT_ZONE = "Europe/Berlin"
_DAY_MINUTES = 1440


@functools.cache
def zone(name: str) -> zoneinfo.ZoneInfo:
    """Return the time zone of that name.

    Raises:
        ValueError: there is no such zone.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(f"unknown time zone {name!r}") from error


@functools.lru_cache(maxsize=256)
def public_holidays(subdivision: str, year: int) -> frozenset[datetime.date]:
    """Return the public holidays of a German state ("NW") or of "COUNTRY-SUBDIVISION" ("AT-9").

    Raises:
        ValueError: there is no such subdivision.
    """
    # Loaded when a queue asks for it: it takes as long as everything else of the role.
    import holidays

    country, _, part = subdivision.rpartition("-")
    try:
        found = holidays.country_holidays(country or "DE", subdiv=part, years=year)
    except (NotImplementedError, AttributeError) as error:
        raise ValueError(f"unknown state {subdivision!r}") from error
    return frozenset(day for day in found if day.year == year)


def midnight_after(now: float, name: str) -> float:
    """Return the epoch seconds of the next local midnight after `now`."""
    day = datetime.datetime.fromtimestamp(now, zone(name)).date() + datetime.timedelta(days=1)
    return _instant(day, 0, name)


def local_day(now: float, name: str) -> int:
    """Return the number of the local day (proleptic Gregorian ordinal)."""
    return datetime.datetime.fromtimestamp(now, zone(name)).date().toordinal()


class Calendar:
    """Answers from one queue's `Hours`; remembers the span for which its last answer holds."""

    def __init__(self, hours: Hours | None) -> None:
        self._hours = hours
        self.zone = hours.timezone if hours else DEFAULT_ZONE
        self._open = True
        #: the last answer holds in [from, until)
        self._from = self._until = 0.0

    def is_open(self, now: float) -> bool:
        """Return whether the queue takes new work at that moment."""
        if not self._from <= now < self._until:
            self._look(now)
        return self._open

    def next_change(self, now: float) -> float:
        """Return when to ask again: the next opening, closing or local midnight after `now`."""
        if not self._from <= now < self._until:
            self._look(now)
        return self._until

    def _look(self, now: float) -> None:
        self._from, self._until = now, midnight_after(now, self.zone)
        if self._hours is None:
            self._open = True
            return
        self._open = False
        day = datetime.datetime.fromtimestamp(now, zone(self.zone)).date()
        for start, end in self._intervals(day):
            opens, closes = _instant(day, start, self.zone), _instant(day, end, self.zone)
            if opens <= now < closes:
                self._open = True
                self._until = min(self._until, closes)
            elif now < opens:
                self._until = min(self._until, opens)

    def _intervals(self, day: datetime.date) -> list[tuple[int, int]]:
        """Return the day's intervals, sorted, with those that touch or overlap made one."""
        assert self._hours is not None
        chosen = self._hours.exceptions.get(day.isoformat())
        if chosen is None:
            state = self._hours.holidays
            if state is not None and day in public_holidays(state, day.year):
                return []
            chosen = self._hours.weekly[day.weekday()]
        merged: list[tuple[int, int]] = []
        for start, end in sorted(chosen):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged


def check_hours(hours: Hours) -> list[str]:
    """Return what is wrong with opening hours, in words; nothing if they can be used."""
    wrong = []
    try:
        zone(hours.timezone)
    except ValueError as error:
        wrong.append(str(error))
    if hours.holidays is not None:
        try:
            public_holidays(hours.holidays, 2026)
        except ValueError as error:
            wrong.append(str(error))
    if len(hours.weekly) != 7:
        wrong.append(f"the week has {len(hours.weekly)} days instead of 7")
    for day, intervals in hours.exceptions.items():
        try:
            datetime.date.fromisoformat(day)
        except ValueError:
            wrong.append(f"{day!r} is no date (YYYY-MM-DD)")
        wrong += _check_intervals(intervals)
    for intervals in hours.weekly:
        wrong += _check_intervals(intervals)
    return wrong


def _check_intervals(intervals: tuple[tuple[int, int], ...]) -> list[str]:
    return [
        f"interval {start}-{end} is not within 0-{_DAY_MINUTES} minutes"
        for start, end in intervals
        if not 0 <= start < end <= _DAY_MINUTES
    ]


def _instant(day: datetime.date, minutes: int, name: str) -> float:
    """Return the epoch seconds of a wall-clock time; one that the clocks skip counts as later."""
    if minutes == _DAY_MINUTES:
        day, minutes = day + datetime.timedelta(days=1), 0
    clock = datetime.time(minutes // 60, minutes % 60)
    return datetime.datetime.combine(day, clock, zone(name)).timestamp()
