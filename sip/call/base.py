"""What every part of the call machine uses: the call, its surroundings and the list of actions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from comms.bus.records import Cause, Ended
from comms.bus.sip import CallState, CallView
from comms.directory import CallQueue
from sip.call import session
from sip.call.model import (
    Accept,
    Action,
    Call,
    Context,
    Invite,
    Leg,
    Play,
    Publish,
    SetRemote,
    StopPlaying,
    Target,
)
from sip.core.offer_answer import Origin
from sip.media.engine import Remote, Side

#: silence after an announcement before the call is ended
_AFTER_PROMPT = 0.3


class CallBase(ABC):
    """One call and the actions that the event in hand has led to so far."""

    def __init__(self, call: Call, context: Context) -> None:
        self.call = call
        self._ctx = context
        self._out: list[Action] = []
        self._now = 0.0

    @abstractmethod
    def _connect(self, leg: Leg) -> None: ...

    @abstractmethod
    def _give_up(self, status: int, cause: Cause) -> None: ...

    @abstractmethod
    def _end(self, by: Ended, cause: Cause) -> None: ...

    @abstractmethod
    def _leg_over(self, leg: Leg, status: int | None) -> None: ...

    def _do(self, action: Action) -> None:
        self._out.append(action)

    def _invite(
        self,
        target: Target,
        role: Literal["caller", "callee"],
        sdp: str,
        number: str | None,
        name: str,
    ) -> Leg:
        call = self.call
        leg = Leg(
            id=self._ctx.token(),
            role=role,
            started=self._now,
            person=target.person,
            device=target.device,
            number=target.number,
            strict=target.strict,
            generation=call.media.generation,
        )
        call.legs[leg.id] = leg
        self._do(Invite(leg.id, target, sdp, number, name, call.emergency))
        return leg

    def _offer_to_callee(self) -> str:
        caller = self.call.legs[self.call.a]
        origin = self._origin(None)
        if caller.sdp is None:
            return session.house_offer(self._local("b"), session.HOUSE_ENCODINGS, origin)
        return session.relay(caller.sdp, self._local("b"), origin, active=True)

    def _answer_caller(self) -> bool:
        """Answer the caller ourselves (queue, echo), with one encoding that prompts exist in.

        Returns whether the call goes on: a phone that knows none of them is refused with 488.
        """
        call = self.call
        caller = call.legs[call.a]
        if caller.answered is not None:
            return True
        if caller.sdp is None:
            caller.told = session.HOUSE_ENCODINGS
            sdp = session.house_offer(self._local("a"), caller.told, self._origin(caller))
        else:
            caller.told = session.playable(caller.sdp)
            if not caller.told:
                self._give_up(488, "failed")
                return False
            sdp = session.answer_to(caller.sdp, self._local("a"), caller.told, self._origin(caller))
        caller.answered = call.answered = self._now
        caller.state = "answered"
        caller.generation = call.media.generation
        self._do(Accept(caller.id, sdp))
        return True

    def _origin(self, leg: Leg | None) -> Origin:
        """Return our o= line towards a leg; None stands for a leg that is about to be invited."""
        return Origin(str(int(self.call.started * 1000)), leg.version if leg is not None else 1)

    def _announce(self, prompt: str) -> None:
        call = self.call
        call.media.playlist = ()
        self._do(StopPlaying("a"))
        self._do(Play("a", prompt, call.language))
        call.timers["announced"] = (
            self._now + self._ctx.duration(prompt, call.language) + _AFTER_PROMPT
        )

    def _limit_duration(self) -> None:
        if not self.call.emergency:
            limit = self._ctx.directory.max_call_seconds
            self.call.timers["max-duration"] = self._now + limit

    def _set_remote(self, side: Side, remote: Remote | None) -> None:
        self._do(SetRemote(side, remote))

    def _side(self, leg_id: str) -> Side | None:
        if leg_id == self.call.a:
            return "a"
        return "b" if leg_id == self.call.b else None

    def _local(self, side: Side) -> tuple[str, int]:
        local = self.call.media.local_a if side == "a" else self.call.media.local_b
        assert local is not None
        return local

    def _queue_of(self, name: str) -> CallQueue | None:
        return self._ctx.directory.queues.get(name)

    def _state(self) -> CallState:
        call = self.call
        if call.phase == "queued":
            return "queued"
        if call.phase == "talking":
            on_hold = any(leg.on_hold for leg in call.legs.values() if leg.state == "answered")
            return "held" if on_hold else "talking"
        return "ended" if call.phase == "ended" else "ringing"

    def _publish(self, state: CallState) -> None:
        call = self.call
        since = call.connected_at or call.queued_at or call.started
        self._do(
            Publish(
                CallView(
                    call=call.id,
                    direction=call.direction,
                    state=state,
                    since=self._now if state == "ended" else since,
                    from_number=call.from_number,
                    to_number=call.to_number,
                    queue=call.queue,
                    from_person=call.from_person,
                    to_person=call.agent or call.to_person,
                    cause=call.cause if state == "ended" else None,
                )
            )
        )
