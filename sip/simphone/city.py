"""Who of Musterstadt is simulated, and when which citizens call."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from comms.seed import HEAD_NUMBER, PEOPLE, QUEUES, login_password, sip_password

TIME_ZONE = ZoneInfo("Europe/Berlin")


@dataclass(frozen=True, slots=True)
class Agent:
    """Somebody with a telephone who serves queues."""

    user: str
    password: str
    #: SIP user name and its password
    device: str
    sip_password: str


def agents() -> tuple[Agent, ...]:
    """Return the agents of Musterstadt's queues, by extension."""
    serving = {member.person for queue in QUEUES for member in queue.members}
    return tuple(
        Agent(
            person.id,
            login_password(person.extension),
            person.extension,
            sip_password(person.extension),
        )
        for person in PEOPLE
        if person.extension is not None and person.id in serving
    )


_NUMBERS = (("+493023125", 3), ("+496990009", 3), ("+494066969", 3), ("+4917139200", 2))

#: extension of a queue and how many of 100 citizens call it
_CALLED = {"150": 25, "160": 20, "170": 38, "180": 17}

#: what callers of the citizens' line press; many wait for a person without pressing anything
_KEYS = ("", "", "", "0", "1", "1", "2", "3")

#: how lively an hour is, from 0 to 23, compared with the busiest. The nights and weekends of a
#: demonstration are quieter, not quiet: whoever starts it then wants to see something too.
_HOURS = (
    *(0.6,) * 6, 0.65, 0.8, 1.0, 1.0, 1.0, 0.95,
    0.8, 0.85, 0.9, 0.9, 0.85, 0.8, 0.75, 0.7, 0.7, 0.65, 0.6, 0.6,
)  # fmt: skip


def liveliness(epoch: float) -> float:
    """Return how many calls come at this time, as a share (0.5 to 1) of the busiest hour's."""
    moment = datetime.fromtimestamp(epoch, TIME_ZONE)
    return max(0.5, _HOURS[moment.hour] * (0.8 if moment.weekday() >= 5 else 1.0))


def draw_queue(
    chance: random.Random, callers: int, on_the_line: Mapping[str, int]
) -> tuple[str, str] | None:
    """Return the number (E.164) that the next citizen calls, and the keys for its menu.

    `callers` are meant to be on the line in all; a queue that already has its share of them
    (`on_the_line` counts by number) is left alone, so that waiting stays bearable. None when all
    queues have theirs.
    """
    free = {
        extension: weight
        for extension, weight in _CALLED.items()
        if on_the_line.get(HEAD_NUMBER + extension, 0) < math.ceil(callers * weight / 100)
    }
    if not free:
        return None
    extension = chance.choices(tuple(free), tuple(free.values()))[0]
    keys = chance.choice(_KEYS) if extension == "150" else ""
    return HEAD_NUMBER + extension, keys


def draw_number(chance: random.Random) -> str:
    """Return a citizen's number of the ranges that are free for films and books.

    The Federal Network Agency gives 030 23125-000 to -999 and the like to nobody (2021, notice
    148), so a number of the demonstration never rings at somebody's home.
    """
    prefix, digits = chance.choice(_NUMBERS)
    return f"{prefix}{chance.randrange(10**digits):0{digits}d}"
