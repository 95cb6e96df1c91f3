"""Rules for people, devices, numbers and queues. Pure: what a rule needs to know is an argument."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import get_args
from zoneinfo import available_timezones

import holidays
import msgspec

from comms.bus import acd
from comms.problems import FieldProblem, Invalid

#: numbers that reach the emergency services in Germany
EMERGENCY_NUMBERS = ("110", "112")
ROLES = ("citizen", "staff", "agent", "supervisor", "administrator")

_NUMBER = re.compile(r"[0-9]{2,8}")
_PERSON = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_QUEUE = re.compile(r"[a-z][a-z0-9-]*")
_SIP_USER = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def check_number(number: str, outside_prefix: str = "0", field: str = "number") -> None:
    """Check an internal number against the dial plan.

    Raises:
        Invalid: with code `not-a-number`, `emergency-number` or `outside-prefix`.
    """
    if not _NUMBER.fullmatch(number):
        raise Invalid(FieldProblem(field, "not-a-number", "use 2 to 8 digits"))
    for emergency in EMERGENCY_NUMBERS:
        if number.startswith(emergency):
            raise Invalid(
                FieldProblem(
                    field,
                    "emergency-number",
                    f"no internal number may start with {emergency}: a phone that dials digit by "
                    "digit would reach it instead of the emergency services, or would keep a "
                    "person in need waiting for further digits",
                )
            )
    if outside_prefix and number.startswith(outside_prefix):
        raise Invalid(
            FieldProblem(
                field,
                "outside-prefix",
                f"no internal number may start with {outside_prefix}: "
                "it is dialled before outside numbers",
            )
        )


def check_person_id(id_: str) -> None:
    """Check a person's id, which is the user name too.

    Raises:
        Invalid: code `not-an-id`.
    """
    if len(id_) > 64 or not _PERSON.fullmatch(id_):
        raise Invalid(
            FieldProblem(
                "id", "not-an-id", "use a-z, 0-9 and single . _ - between them, at most 64"
            )
        )


def check_roles(roles: Collection[str]) -> None:
    """Check that there is a role and that all are known.

    Raises:
        Invalid: code `unknown-role` or `no-role`.
    """
    if not roles:
        raise Invalid(FieldProblem("roles", "no-role", "give at least one role"))
    if unknown := sorted(set(roles) - set(ROLES)):
        raise Invalid(
            FieldProblem("roles", "unknown-role", f"{unknown[0]!r} is none of {', '.join(ROLES)}")
        )


def check_queue_name(name: str) -> None:
    """Check a queue's name.

    Raises:
        Invalid: code `not-a-name`.
    """
    if len(name) > 40 or not _QUEUE.fullmatch(name):
        raise Invalid(
            FieldProblem("name", "not-a-name", "use a-z, 0-9 and -, a letter first, at most 40")
        )


def check_sip_user(user: str) -> None:
    """Check a device's SIP user name.

    Raises:
        Invalid: code `not-a-user`.
    """
    if not _SIP_USER.fullmatch(user):
        raise Invalid(FieldProblem("user", "not-a-user", "use 1 to 64 of A-Z, a-z, 0-9 and . _ -"))


def check_rules(rules: acd.QueueConfig, queues: Collection[str]) -> None:
    """Check a queue's rules beyond their types; `queues` are the names of all others.

    Raises:
        Invalid: codes `unknown-queue`, `overflow-to-itself`, `overflow-without-limit`,
            `unknown-timezone`, `unknown-holidays`, `bad-hours`, `unknown-strategy`.
    """
    problems: list[FieldProblem] = []
    if rules.strategy not in get_args(acd.Strategy):
        problems.append(FieldProblem("strategy", "unknown-strategy", "is no strategy"))
    for index, overflow in enumerate(rules.overflow):
        field = f"overflow.{index}"
        if overflow.to == rules.name:
            problems.append(
                FieldProblem(field, "overflow-to-itself", "a queue cannot overflow into itself")
            )
        elif overflow.to not in queues:
            problems.append(FieldProblem(field, "unknown-queue", f"{overflow.to!r} is no queue"))
        if overflow.after is None and overflow.longer_than is None:
            problems.append(
                FieldProblem(field, "overflow-without-limit", "give `after` or `longer_than`")
            )
    if rules.hours is not None:
        problems += _hours_problems(rules.hours)
    if problems:
        raise Invalid(*problems)


def parse_hours(raw: Mapping[str, object] | None) -> acd.Hours | None:
    """Return opening hours given as JSON.

    Raises:
        Invalid: code `bad-hours`.
    """
    if raw is None:
        return None
    if unknown := sorted(set(raw) - set(acd.Hours.__struct_fields__)):
        raise Invalid(FieldProblem("hours", "bad-hours", f"{unknown[0]!r} is unknown"))
    try:
        return msgspec.convert(dict(raw), acd.Hours)
    except msgspec.ValidationError as error:
        raise Invalid(FieldProblem("hours", "bad-hours", str(error))) from None


def parse_overflow(raw: Collection[Mapping[str, object]]) -> tuple[acd.Overflow, ...]:
    """Return overflow rules given as JSON.

    Raises:
        Invalid: code `bad-overflow`.
    """
    rules = []
    for index, item in enumerate(raw):
        field = f"overflow.{index}"
        if unknown := sorted(set(item) - set(acd.Overflow.__struct_fields__)):
            raise Invalid(FieldProblem(field, "bad-overflow", f"{unknown[0]!r} is unknown"))
        try:
            rules.append(msgspec.convert(dict(item), acd.Overflow))
        except msgspec.ValidationError as error:
            raise Invalid(FieldProblem(field, "bad-overflow", str(error))) from None
    return tuple(rules)


def _hours_problems(hours: acd.Hours) -> list[FieldProblem]:
    problems = []
    if hours.timezone not in available_timezones():
        problems.append(
            FieldProblem("hours.timezone", "unknown-timezone", f"{hours.timezone!r} is unknown")
        )
    if hours.holidays is not None:
        known = holidays.country_holidays("DE").subdivisions
        if hours.holidays not in known:
            problems.append(
                FieldProblem(
                    "hours.holidays", "unknown-holidays", f"give one of {', '.join(known)}"
                )
            )
    if len(hours.weekly) != 7:
        problems.append(FieldProblem("hours.weekly", "bad-hours", "give seven days, Monday first"))
    for index, day in enumerate(hours.weekly):
        problems += _day_problems(f"hours.weekly.{index}", day)
    for date, day in hours.exceptions.items():
        if not _DATE.fullmatch(date):
            problems.append(
                FieldProblem("hours.exceptions", "bad-hours", "dates are written YYYY-MM-DD")
            )
        problems += _day_problems(f"hours.exceptions.{date}", day)
    return problems


def _day_problems(field: str, day: tuple[tuple[int, int], ...]) -> list[FieldProblem]:
    last = 0
    for start, end in day:
        if not last <= start < end <= 1440:
            return [
                FieldProblem(
                    field,
                    "bad-hours",
                    "intervals are minutes after midnight, in order, from 0 to 1440",
                )
            ]
        last = end
    return []
