"""Simulated people: agents who answer after a human moment, citizens who wait with patience.

Every delay and whim comes from one seeded source a person, so that a run can be repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import Literal

from sip.simphone.audio import Frames, babble_frames
from sip.simphone.endpoint import Account, Endpoint, SimCall, SimError

Outcome = Literal["talked", "gave-up", "refused", "failed"]


@dataclass(frozen=True, slots=True)
class Span:
    """A random duration in seconds: mostly near `usual`, never outside `least` to `most`."""

    least: float
    usual: float
    most: float

    def draw(self, chance: random.Random) -> float:
        """Return a duration (triangular distribution)."""
        return chance.triangular(self.least, self.most, self.usual)


@dataclass(frozen=True, slots=True)
class Manners:
    """How an agent deals with calls."""

    ring: Span = Span(1.2, 2.5, 7.0)
    talk: Span = Span(8.0, 16.0, 45.0)
    #: shares of calls that are refused, and that ring until the queue takes them back
    decline: float = 0.04
    miss: float = 0.03


@dataclass(frozen=True, slots=True)
class Temper:
    """How a citizen deals with waiting."""

    patience: Span = Span(25.0, 90.0, 240.0)
    talk: Span = Span(15.0, 40.0, 120.0)
    #: share of citizens who hang up at once, as wrong numbers and second thoughts do
    fickle: float = 0.03


class Meetings:
    """Lets a citizen know that a simulated agent took the call.

    Ears would tell speech from music. Here the agent's phone says whose call it answered, by the
    number it was shown.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Event] = {}

    def expect(self, number: str, person: asyncio.Event) -> None:
        """Set `person` when somebody answers the call of `number`."""
        self._waiting[_digits(number)] = person

    def met(self, number: str) -> None:
        """Somebody answered the call that showed `number`."""
        event = self._waiting.pop(_digits(number), None)
        if event is not None:
            event.set()

    def forget(self, number: str) -> None:
        """The call of `number` is over."""
        self._waiting.pop(_digits(number), None)


def _digits(number: str) -> str:
    """Return what is the same in all ways of writing an outside number."""
    return "".join(filter(str.isdigit, number))[-9:]


class SimPhone:
    """An agent's phone with the agent: registers, answers, talks, hangs up."""

    def __init__(
        self,
        endpoint: Endpoint,
        user: str,
        password: str,
        *,
        manners: Manners | None = None,
        chance: random.Random | None = None,
        voice: Frames | None = None,
        meetings: Meetings | None = None,
    ) -> None:
        self.account: Account = endpoint.account(user, password, self._rings)
        self._manners = manners or Manners()
        self._chance = chance or random.Random(user)
        self._voice = voice or babble_frames(self._chance.randrange(1 << 16), _pitch(self._chance))
        self._meetings = meetings
        self._calls: set[asyncio.Task[None]] = set()
        self.answered = 0
        self.declined = 0
        self._talking = False

    async def start(self) -> None:
        """Register and stay registered.

        Raises:
            SimError: the registrar refuses.
        """
        await self.account.register()

    def _rings(self, call: SimCall) -> None:
        task = asyncio.create_task(self._take(call))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _take(self, call: SimCall) -> None:
        if self._talking:
            call.refuse(486)
            return
        call.ring()
        whim = self._chance.random()
        if whim < self._manners.miss:
            await call.ended.wait()
            return
        if await call.until_ended(self._manners.ring.draw(self._chance)):
            return
        if whim < self._manners.miss + self._manners.decline:
            call.refuse(603)
            self.declined += 1
            return
        self._talking = True
        try:
            if not await call.answer(self._voice):
                return
            self.answered += 1
            if self._meetings is not None:
                self._meetings.met(call.caller)
            if not await call.until_ended(self._manners.talk.draw(self._chance)):
                call.hang_up()
                await call.until_ended(5.0)
        finally:
            self._talking = False

    async def stop(self) -> None:
        """Hang up, take the registration back."""
        for task in tuple(self._calls):
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        with contextlib.suppress(SimError):
            await self.account.unregister()


class SimCitizen:
    """Somebody outside who calls through the trunk."""

    def __init__(
        self,
        endpoint: Endpoint,
        number: str,
        *,
        temper: Temper | None = None,
        chance: random.Random | None = None,
        meetings: Meetings | None = None,
        keys: str = "",
    ) -> None:
        """`number` is the citizen's own, in E.164; `keys` are pressed in the queue's menu."""
        self._endpoint = endpoint
        self.number = number
        self._temper = temper or Temper()
        self._chance = chance or random.Random(number)
        self._meetings = meetings or Meetings()
        self._keys = keys

    async def call(self, to: str) -> Outcome:
        """Call `to` (E.164), wait with patience, talk, hang up; return how it went."""
        chance = self._chance
        try:
            call = await self._endpoint.call(to, self.number)
        except SimError:
            return "failed"
        voice = babble_frames(chance.randrange(12), _pitch(chance))
        self._meetings.expect(self.number, call.person)
        try:
            patience = self._temper.patience.draw(chance)
            if chance.random() < self._temper.fickle:
                patience = chance.uniform(1.0, 4.0)
            # A queue answers at once and plays: the citizen is silent until a person speaks.
            if not await call.until_answered(patience):
                call.hang_up()
                return "refused" if call.ended.is_set() else "gave-up"
            if self._keys and not await call.until_ended(chance.uniform(4.0, 9.0)):
                call.press(self._keys)
            if not await call.until_person(patience):
                return "gave-up" if not call.ended.is_set() else "refused"
            call.say(voice)
            await call.until_ended(self._temper.talk.draw(chance))
            return "talked"
        finally:
            self._meetings.forget(self.number)
            if not call.ended.is_set():
                call.hang_up()
                await call.until_ended(5.0)
            call.close()


def _pitch(chance: random.Random) -> float:
    """Return a voice's pitch in hertz, somewhere between a low and a high adult voice."""
    return chance.choice((105.0, 120.0, 135.0, 180.0, 200.0, 220.0))
