"""The call machine: what happens to a call, decided.

A call has a caller (side a), whoever the caller talks to (side b), and a session in a media
engine between them. The machine takes events with `now` and returns actions; it knows neither
sockets nor clocks. `Call` is its whole memory and can be stored and taken over at any moment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comms.bus import acd
from comms.bus.records import Cause, Ended
from sip.call import dialplan, records, session
from sip.call.model import (
    Accept,
    AcceptOffer,
    Action,
    Bye,
    Call,
    Cancel,
    Context,
    Dtmf,
    EngineLost,
    Event,
    Finish,
    HangUpRequested,
    Invited,
    Leg,
    LegAnswered,
    LegCancelled,
    LegConfirmed,
    LegEnded,
    LegFailed,
    LegOfferAnswered,
    LegOfferFailed,
    LegReinvited,
    LegRinging,
    MediaFailed,
    MediaReady,
    MediaSilent,
    OpenMedia,
    Originated,
    Play,
    Position,
    Provisional,
    QueueSaid,
    Reinvite,
    Reject,
    RejectOffer,
    Save,
    StopPlaying,
    TakenOver,
    Target,
    Tell,
    TimerDue,
)
from sip.call.waiting import Waiting
from sip.core.errors import SipError
from sip.media.engine import Remote, Side

#: how long a call waits for an engine after its own was lost
REANCHOR_SECONDS = 5.0
_REANCHOR_RETRY = 0.2
_NOWHERE = Remote(host="0.0.0.0", port=0, payloads=(8,))

#: prompt that explains a failure to a caller who was already answered
_PROMPTS: dict[Cause, str] = {
    "busy": "busy",
    "declined": "busy",
    "no-answer": "unreachable",
    "unreachable": "unreachable",
    "unknown-number": "unknown-number",
    "closed": "closed",
    "queue-full": "queue-full",
}


class CallMachine(Waiting):
    """One call. `handle` is the only way in."""

    def __init__(self, call: Call, context: Context) -> None:
        super().__init__(call, context)
        self._route: dialplan.Route | None = None
        #: what `engaged` said when the queue role was told last
        self.counted: set[str] = set()

    # --- the way in -----------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Action]:
        """Take one event and return what is to be done, in order."""
        self._out = []
        self._now = now
        if self.call.phase != "ended":
            handler: Callable[[CallMachine, Any], None] = _HANDLERS[type(event)]
            handler(self, event)
        return self._out

    def next_timer(self) -> float | None:
        """Return when `due` wants to be asked next."""
        return min(self.call.timers.values(), default=None)

    def due(self, now: float) -> list[str]:
        """Take and return the names of the timers that are due, the earliest first."""
        timers = self.call.timers
        names = sorted((at, name) for name, at in timers.items() if at <= now)
        for _, name in names:
            del timers[name]
        return [name for _, name in names]

    def engaged(self) -> set[str]:
        """Return the people whom this call keeps from taking work of a queue."""
        call = self.call
        if call.phase == "ended":
            return set()
        people = {
            leg.person
            for leg in call.legs.values()
            if leg.person is not None and leg.state != "ended" and leg.offer is None
        }
        if call.from_person is not None:
            people.add(call.from_person)
        return people

    # --- beginnings -----------------------------------------------------------------------------

    def _invited(self, event: Invited) -> None:
        call = self.call
        leg = call.legs[call.a]
        route = event.route
        if isinstance(route, dialplan.Refused):
            self._reject_all(route.status, "not-permitted", route.reason)
            return
        if isinstance(route, dialplan.ToAnnouncement) and event.sdp is None:
            self._reject_all(route.status, records.cause_of(route.status))
            return
        remote = _NOWHERE
        if event.sdp is not None:
            try:
                described = session.describe(event.sdp)
            except SipError as error:
                self._reject_all(400, "failed", error.id)
                return
            if not described.encodings:
                self._reject_all(488, "failed", "no-common-audio")
                return
            leg.sdp = event.sdp
            leg.on_hold = not described.receives
            remote = session.remote(described, leg.strict) or _NOWHERE
        self._route = route
        self._do(OpenMedia(remote))

    def _originated(self, event: Originated) -> None:
        self.call.phase = "originating"
        self.call.dial = event.number
        self.call.to_number = event.number
        self._do(OpenMedia(_NOWHERE))

    def _media_ready(self, event: MediaReady) -> None:
        call = self.call
        media = call.media
        moved = media.local_a is not None
        media.engine, media.local_a, media.local_b = event.engine, event.local_a, event.local_b
        call.timers.pop("reanchor", None)
        call.timers.pop("no-engine", None)
        if moved:
            media.generation += 1
            self._reanchored()
        elif call.phase == "originating":
            self._ring_own_phones()
        elif self._route is not None:
            self._enter(self._route)

    def _media_failed(self, event: MediaFailed) -> None:
        call = self.call
        if call.media.local_a is None:
            self._give_up(503, "media-lost")
        elif "no-engine" in call.timers:
            call.timers["reanchor"] = self._now + _REANCHOR_RETRY
        else:
            self._end("system", "media-lost")

    def _ring_own_phones(self) -> None:
        call = self.call
        assert call.from_person is not None
        targets = self._ctx.devices(call.from_person)
        if not targets:
            self._end("system", "unreachable")
            return
        offer = session.house_offer(self._local("a"), session.HOUSE_ENCODINGS, self._origin(None))
        number = call.dial
        for target in targets:
            self._invite(target, "caller", offer, number, "")
        call.timers["no-answer"] = self._now + self._ctx.ring_seconds
        self._publish("ringing")
        self._do(Save())

    def _enter(self, route: dialplan.Route) -> None:
        """Take the call where its number leads, once the engine has a session for it."""
        call = self.call
        match route:
            case dialplan.ToPerson(person):
                call.to_person = person
                caller = call.legs[call.a].device
                targets = [t for t in self._ctx.devices(person) if t.device != caller]
                if not targets:
                    self._give_up(480, "unreachable")
                    return
                self._ring(targets)
            case dialplan.ToTrunk(number, trunks, emergency):
                call.direction = "outbound"
                call.emergency = emergency
                call.trunk_number = call.to_number = number
                call.trunks_left = tuple(t.name for t in trunks)
                self._next_trunk(503, "unreachable")
            case dialplan.ToQueue(queue):
                self._join_queue(queue)
            case dialplan.ToEcho():
                if not self._answer_caller():
                    return
                call.phase = "talking"
                call.connected_at = self._now
                # the engine's port for side b sends to itself, so that a hears a
                self._set_remote("b", Remote(*self._local("b"), payloads=(8, 0, 9), strict=True))
                self._limit_duration()
                self._publish("talking")
                self._do(Save())
            case dialplan.ToAnnouncement(prompt, status):
                call.final = status
                call.cause = records.cause_of(status)
                call.phase = "announcing"
                leg = call.legs[call.a]
                if leg.answered is None:
                    assert leg.sdp is not None
                    leg.told = session.playable(leg.sdp)
                    if not leg.told:
                        self._reject_all(status, call.cause)
                        return
                    sdp = session.answer_to(leg.sdp, self._local("a"), leg.told, self._origin(leg))
                    self._do(Provisional(call.a, 183, sdp))
                self._announce(prompt)
                self._do(Save())
            case dialplan.Refused(status, _):
                self._give_up(status, "not-permitted")

    def _ring(self, targets: list[Target]) -> None:
        call = self.call
        offer = self._offer_to_callee()
        for target in targets:
            self._invite(target, "callee", offer, call.from_number, call.from_name)
        call.phase = "ringing"
        if not call.emergency:
            call.timers["no-answer"] = self._now + self._ctx.ring_seconds
        self._publish("ringing")
        self._do(Save())

    def _next_trunk(self, status: int, cause: Cause) -> None:
        call = self.call
        assert call.trunk_number is not None
        while call.trunks_left:
            name, call.trunks_left = call.trunks_left[0], call.trunks_left[1:]
            target = self._ctx.trunk(name, call.trunk_number)
            if target is not None:
                self._ring([target])
                return
        self._give_up(status, cause)

    # --- callees ---------------------------------------------------------------------------------

    def _leg_ringing(self, event: LegRinging) -> None:
        call = self.call
        leg = call.legs.get(event.leg)
        if leg is None or leg.state == "ended":
            return
        leg.state = "ringing"
        if leg.offer is not None or call.phase != "ringing":
            return
        caller = call.legs[call.a]
        if caller.answered is not None:
            if "ringback" not in call.media.playlist:
                call.media.playlist = ("ringback",)
                self._do(Play("a", "ringback", call.language, None))
            return
        if event.sdp is None or caller.sdp is None:
            if call.early is None:
                self._do(Provisional(call.a, 180))
            return
        if call.early not in (None, leg.id):
            return
        described = session.describe_or_none(event.sdp)
        if described is None:
            return
        call.early = leg.id
        leg.sdp = event.sdp
        self._set_remote("b", session.remote(described, leg.strict))
        sdp = session.relay(event.sdp, self._local("a"), self._origin(caller))
        self._do(Provisional(call.a, event.status, sdp))

    def _leg_answered(self, event: LegAnswered) -> None:
        call = self.call
        leg = call.legs.get(event.leg)
        if leg is None or leg.state in ("answered", "ended"):
            return
        described = session.describe_or_none(event.sdp)
        leg.state = "answered"
        leg.answered = self._now
        if described is None or not described.encodings:
            self._do(Bye(leg.id, "failed"))
            self._leg_over(leg, 488)
            self._callee_failed(leg, 488)
            return
        leg.sdp = event.sdp
        leg.told = described.encodings
        leg.on_hold = not described.receives
        if leg.offer is not None:
            self._agent_answered(leg)
        elif call.phase == "originating":
            self._own_phone_answered(leg)
        elif call.phase == "ringing":
            self._connect(leg)
        else:
            self._do(Bye(leg.id, "cancelled"))
            self._leg_over(leg, None)

    def _own_phone_answered(self, leg: Leg) -> None:
        call = self.call
        call.a = leg.id
        call.answered = self._now
        call.timers.pop("no-answer", None)
        self._stop_ringing(except_leg=leg.id, elsewhere=True)
        assert leg.sdp is not None and call.dial is not None
        self._set_remote("a", session.remote(session.describe(leg.sdp), leg.strict))
        device = self._ctx.directory.devices.get(leg.device or "")
        call.phase = "routing"
        self._enter(dialplan.route_from_device(call.dial, device, self._ctx.directory))

    def _connect(self, leg: Leg) -> None:
        """Let the caller and the owner of `leg` talk."""
        call = self.call
        call.b = leg.id
        call.phase = "talking"
        call.connected_at = self._now
        call.to_person = leg.person or call.to_person
        for name in ("no-answer", "prompt", "announce"):
            call.timers.pop(name, None)
        call.offers.clear()
        self._stop_ringing(except_leg=leg.id, elsewhere=True)
        caller = call.legs[call.a]
        assert leg.sdp is not None
        described = session.describe(leg.sdp)
        if caller.answered is not None:
            call.media.playlist = ()
            self._do(StopPlaying("a"))
        self._set_remote("b", session.remote(described, leg.strict))
        if caller.answered is None:
            caller.answered = call.answered = self._now
            caller.state = "answered"
            caller.generation = call.media.generation
            caller.told = described.encodings
            sdp = session.relay(leg.sdp, self._local("a"), self._origin(caller))
            self._do(Accept(caller.id, sdp))
        elif not session.same_encoding(caller.told, described.encodings):
            self._reinvite(caller)
        if leg.generation != call.media.generation:
            self._reinvite(leg)
        if caller.on_hold:
            self._do(Play("b", "moh", call.language, None))
        self._limit_duration()
        self._publish("talking")
        self._do(Save())

    def _leg_failed(self, event: LegFailed) -> None:
        call = self.call
        leg = call.legs.get(event.leg)
        if leg is None or leg.state == "ended":
            return
        self._leg_over(leg, event.status)
        if leg.id in (call.a, call.b):
            # the dialog fell apart while it was answered (no ACK came, 481, 408)
            self._leg_gone(leg, lost=True)
        else:
            self._callee_failed(leg, event.status)

    def _callee_failed(self, leg: Leg, status: int) -> None:
        call = self.call
        if leg.offer is not None:
            self._agent_failed(leg, status)
            return
        if call.phase not in ("ringing", "originating"):
            return
        if status >= 600 and not call.emergency:
            self._stop_ringing()
        if any(other.state in ("inviting", "ringing") for other in self._rung()):
            return
        call.timers.pop("no-answer", None)
        best = records.best_status([other.status for other in self._rung()])
        if call.phase == "originating":
            self._end("callee", records.cause_of(best))
        elif call.trunks_left and (500 <= status < 600 or status == 408 or call.emergency):
            self._next_trunk(best, records.cause_of(best))
        else:
            self._give_up(best, records.cause_of(best))

    def _rung(self) -> list[Leg]:
        role = "caller" if self.call.phase == "originating" else "callee"
        return [leg for leg in self.call.legs.values() if leg.role == role and leg.offer is None]

    # --- endings ---------------------------------------------------------------------------------

    def _leg_cancelled(self, event: LegCancelled) -> None:
        leg = self.call.legs.get(event.leg)
        if leg is None or leg.id != self.call.a:
            return
        self._leg_over(leg, 487)
        self._end("caller", self.call.cause or "cancelled")

    def _leg_ended(self, event: LegEnded) -> None:
        leg = self.call.legs.get(event.leg)
        if leg is None or leg.state == "ended":
            return
        self._leg_over(leg, None)
        self._leg_gone(leg, event.lost)

    def _leg_gone(self, leg: Leg, lost: bool) -> None:
        call = self.call
        if leg.id == call.a:
            by: Ended = "system" if lost else "caller"
            if call.phase == "queued":
                self._end(by, "abandoned")
            else:
                self._end(by, "phone-lost" if lost else call.cause or "completed")
        elif leg.id == call.b:
            self._end("system" if lost else "callee", "phone-lost" if lost else "completed")
        elif leg.offer is not None:
            self._agent_failed(leg, 480)

    def _hang_up_requested(self, _: HangUpRequested) -> None:
        self._end("system", "completed" if self.call.connected_at else "cancelled")

    def _media_silent(self, _: MediaSilent) -> None:
        self._end("system", "media-lost")

    def _give_up(self, status: int, cause: Cause) -> None:
        """The caller cannot be connected: refuse, or explain if the call was answered already."""
        call = self.call
        caller = call.legs.get(call.a)
        self._stop_ringing()
        if caller is None or caller.answered is None:
            self._reject_all(status, cause)
            return
        call.cause = cause
        prompt = _PROMPTS.get(cause)
        if prompt is None or call.media.engine is None:
            self._end("system", cause)
            return
        call.phase = "announcing"
        self._announce(prompt)
        self._do(Save())

    def _reject_all(self, status: int, cause: Cause, reason: str | None = None) -> None:
        call = self.call
        caller = call.legs.get(call.a)
        if caller is not None and caller.state != "ended":
            retry = 5 if status == 503 else None
            self._do(Reject(caller.id, status, reason, retry))
            self._leg_over(caller, status)
        self._end("callee" if cause in ("busy", "declined", "no-answer") else "system", cause)

    def _end(self, by: Ended, cause: Cause) -> None:
        """End whatever is still there and write the record."""
        call = self.call
        call.cause = cause
        call.ended_by = by
        if call.work is not None:
            if call.b is not None and call.agent is not None:
                self._do(Tell(acd.WorkEnded(call.work)))
            else:
                reason: acd.LeaveReason = "abandoned" if cause == "abandoned" else "failed"
                self._do(Tell(acd.WorkLeft(call.work, reason)))
        for leg in call.legs.values():
            if leg.state == "ended":
                continue
            if leg.state == "answered" or leg.answered is not None:
                self._do(Bye(leg.id, cause))
            elif leg.id == call.a and leg.role == "caller" and call.dial is None:
                self._do(Reject(leg.id, 503 if cause == "media-lost" else 480, cause))
            else:
                self._do(Cancel(leg.id))
            self._leg_over(leg, None)
        call.phase = "ended"
        call.timers.clear()
        self._publish("ended")
        self._do(Finish(records.record(call, self._now)))

    def _leg_over(self, leg: Leg, status: int | None) -> None:
        leg.state = "ended"
        leg.ended = self._now
        if leg.answered is None:
            leg.status = status

    def _stop_ringing(self, except_leg: str | None = None, elsewhere: bool = False) -> None:
        """End every callee's leg but one: cancel what rings, hang up what answered too late."""
        for leg in self.call.legs.values():
            if leg.id in (except_leg, self.call.a) or leg.state == "ended":
                continue
            if leg.state == "answered":
                self._do(Bye(leg.id, "cancelled"))
            else:
                self._do(Cancel(leg.id, elsewhere))
            self._leg_over(leg, None)

    # --- changes during the call -----------------------------------------------------------------

    def _leg_confirmed(self, event: LegConfirmed) -> None:
        if event.sdp is None:
            return
        leg = self.call.legs.get(event.leg)
        if leg is None or leg.state == "ended":
            return
        self._take_answer(leg, event.sdp)
        if self.call.phase == "queued" and leg.id == self.call.a:
            self._play_again()
        self._do(Save())

    def _leg_reinvited(self, event: LegReinvited) -> None:
        call = self.call
        leg = call.legs.get(event.leg)
        side = self._side(event.leg)
        if leg is None or side is None or call.media.local_a is None:
            self._do(RejectOffer(event.leg, 488))
            return
        leg.generation = call.media.generation
        if event.sdp is None:
            self._do(AcceptOffer(leg.id, self._current_sdp(leg)))
            self._do(Save())
            return
        described = session.describe_or_none(event.sdp)
        usable = described and session.common(described.encodings, leg.told)
        if described is None or not usable:
            self._do(RejectOffer(leg.id, 488))
            return
        was = leg.on_hold
        leg.sdp = event.sdp
        leg.on_hold = not described.receives
        self._set_remote(side, session.remote(described, leg.strict))
        leg.version += 1
        answer = session.answer_to(event.sdp, self._local(side), usable, self._origin(leg))
        self._do(AcceptOffer(leg.id, answer))
        if was != leg.on_hold:
            self._music_on_hold(side, leg.on_hold)
        self._do(Save())

    def _music_on_hold(self, side: Side, on_hold: bool) -> None:
        """Side `side` put the other on hold, or took it back."""
        call = self.call
        if call.phase != "talking" or call.b is None:
            return
        other: Side = "b" if side == "a" else "a"
        if on_hold:
            self._do(Play(other, "moh", call.language, None))
        else:
            self._do(StopPlaying(other))
        held = any(call.legs[leg].on_hold for leg in (call.a, call.b))
        self._publish("held" if held else "talking")

    def _offer_answered(self, event: LegOfferAnswered) -> None:
        call = self.call
        leg = call.legs.get(event.leg)
        if leg is None or leg.state == "ended":
            return
        leg.offering = False
        if event.sdp is not None:
            self._take_answer(leg, event.sdp)
        if leg.generation != call.media.generation and self._side(leg.id) is not None:
            self._reinvite(leg)
        self._do(Save())

    def _take_answer(self, leg: Leg, sdp: str) -> None:
        described = session.describe_or_none(sdp)
        side = self._side(leg.id)
        if described is None or side is None:
            return
        leg.sdp = sdp
        leg.told = described.encodings or leg.told
        leg.on_hold = not described.receives
        self._set_remote(side, session.remote(described, leg.strict))

    def _offer_failed(self, event: LegOfferFailed) -> None:
        leg = self.call.legs.get(event.leg)
        if leg is None or leg.state == "ended":
            return
        leg.offering = False
        if leg.generation != self.call.media.generation:
            # the phone still sends to an engine that is gone: nobody would hear anything
            self._end("system", "media-lost")

    def _engine_lost(self, _: EngineLost) -> None:
        call = self.call
        call.media.engine = None
        call.timers["no-engine"] = self._now + REANCHOR_SECONDS
        self._reopen()

    def _reopen(self) -> None:
        call = self.call
        remotes: list[Remote | None] = []
        for leg_id in (call.a, call.b):
            leg = call.legs.get(leg_id) if leg_id else None
            described = session.describe_or_none(leg.sdp) if leg is not None else None
            strict = leg.strict if leg is not None else True
            remotes.append(session.remote(described, strict) if described is not None else None)
        self._do(OpenMedia(remotes[0] or _NOWHERE, remotes[1]))

    def _reanchored(self) -> None:
        """Another engine has the session: tell every answered phone where it is now."""
        call = self.call
        for leg_id in (call.a, call.b):
            leg = call.legs.get(leg_id) if leg_id else None
            if leg is not None and leg.answered is not None:
                self._reinvite(leg)
        if call.phase == "queued":
            self._play_again()
        elif call.phase == "talking" and call.b is not None:
            sides: tuple[tuple[str, Side], ...] = ((call.a, "b"), (call.b, "a"))
            for leg_id, listener in sides:
                if call.legs[leg_id].on_hold:
                    self._do(Play(listener, "moh", call.language, None))
        elif call.phase == "talking":
            self._set_remote("b", Remote(*self._local("b"), payloads=(8, 0, 9), strict=True))
        self._do(Save())

    def _reinvite(self, leg: Leg) -> None:
        if leg.offering:
            return
        leg.offering = True
        leg.generation = self.call.media.generation
        self._do(Reinvite(leg.id, self._current_sdp(leg)))

    def _current_sdp(self, leg: Leg) -> str:
        """Return the session that the phone of `leg` is to have now, as an offer."""
        call = self.call
        side = self._side(leg.id)
        assert side is not None
        peer = call.legs.get(call.b or "") if side == "a" else call.legs.get(call.a)
        local = self._local(side)
        leg.version += 1
        origin = self._origin(leg)
        if peer is not None and peer.sdp is not None and call.phase == "talking":
            return session.relay(peer.sdp, local, origin, active=True, previous=leg.sdp)
        return session.house_offer(local, leg.told or session.HOUSE_ENCODINGS, origin)

    # --- taking over, timers ---------------------------------------------------------------------

    def _taken_over(self, _: TakenOver) -> None:
        """Go on with a stored call: what was answered lives on, what only rang is ended."""
        call = self.call
        caller = call.legs.get(call.a)
        if caller is None or caller.answered is None or call.phase in ("routing", "ringing"):
            self._stop_ringing()
            self._give_up(503, "failed")
            return
        for leg in call.legs.values():
            leg.offering = False
        call.offers.clear()
        self._stop_ringing(except_leg=call.b)
        if call.phase == "queued":
            # in case the queue role never heard of it
            self._arrive()
            if not call.timers.keys() & {"prompt", "announce"}:
                call.timers["announce"] = self._now + 1.0
        self._publish(self._state())
        self._do(Save())

    def _timer_due(self, event: TimerDue) -> None:
        call = self.call
        match event.name:
            case "no-answer":
                self._stop_ringing()
                for leg in self._rung():
                    leg.status = leg.status or 480
                if call.phase == "originating":
                    self._end("system", "no-answer")
                else:
                    self._give_up(480, "no-answer")
            case "announced":
                self._announced()
            case "max-duration":
                self._end("system", "max-duration")
            case "reanchor":
                self._reopen()
            case "no-engine":
                call.timers.pop("reanchor", None)
                self._end("system", "media-lost")
            case "prompt":
                self._play_next()
            case "announce":
                self._announce_position()

    def _announced(self) -> None:
        call = self.call
        caller = call.legs[call.a]
        cause = call.cause or "failed"
        if caller.answered is None:
            self._reject_all(call.final or 480, cause)
        else:
            self._end("system", cause)


_HANDLERS: dict[type, Callable[[CallMachine, Any], None]] = {
    Invited: CallMachine._invited,
    Originated: CallMachine._originated,
    MediaReady: CallMachine._media_ready,
    MediaFailed: CallMachine._media_failed,
    EngineLost: CallMachine._engine_lost,
    LegRinging: CallMachine._leg_ringing,
    LegAnswered: CallMachine._leg_answered,
    LegFailed: CallMachine._leg_failed,
    LegConfirmed: CallMachine._leg_confirmed,
    LegCancelled: CallMachine._leg_cancelled,
    LegEnded: CallMachine._leg_ended,
    LegReinvited: CallMachine._leg_reinvited,
    LegOfferAnswered: CallMachine._offer_answered,
    LegOfferFailed: CallMachine._offer_failed,
    QueueSaid: CallMachine._queue_said,
    Position: CallMachine._position,
    Dtmf: CallMachine._dtmf,
    MediaSilent: CallMachine._media_silent,
    HangUpRequested: CallMachine._hang_up_requested,
    TimerDue: CallMachine._timer_due,
    TakenOver: CallMachine._taken_over,
}
