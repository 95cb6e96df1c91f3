"""Carries out what call machines decide: the shell around `sip.call`.

It maps legs to calls, turns the user agent's events into the machine's, and its actions into SIP
messages, engine commands, messages to other roles and stored state.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec
import redis.exceptions
import structlog

from comms.bus import acd
from comms.bus import sip as bus
from comms.bus.records import CallRecord, Direction
from comms.bus.records import Quality as LegQuality
from comms.bus.streams import Codec, Keys
from comms.directory import Device, Directory, Trunk
from sip.call import dialplan, model
from sip.call.machine import CallMachine
from sip.call.session import describe_or_none, remote, text_of
from sip.core import events as ua_events
from sip.core.errors import StateError
from sip.core.leg import LegState
from sip.core.timers import Timer, TimerWheel
from sip.core.ua import UserAgent
from sip.identity import caller_of, identity_headers
from sip.location import Location
from sip.media.engine import DtmfEvent, EngineEvent, Local, MediaError, Quality
from sip.media.pool import EnginePool
from sip.media.prompts import PromptError, PromptStore
from sip.state import Committer
from sip.trunks import Trunks

_log = structlog.get_logger(__name__)

_journal: Codec[acd.Command] = Codec(acd.Command)
_events: Codec[bus.Event] = Codec(bus.Event)
_records: Codec[CallRecord] = Codec(CallRecord)
#: entries kept in the stream of telephony's events; live views read far faster than that
_EVENTS_KEPT = 10_000


class StoredCall(msgspec.Struct):
    """What is stored of a call: the machine's state and that of its legs' dialogs."""

    call: model.Call
    legs: list[LegState]


@dataclass(slots=True)
class CallStats:
    """Counters for the metrics."""

    started: int = 0
    answered: int = 0
    ended: int = 0
    taken_over: int = 0
    reanchored: int = 0


class Calls:
    """All calls of one worker. It is the machines' `Context`, too."""

    def __init__(
        self,
        *,
        worker: str,
        ring_seconds: float,
        keys: Keys,
        directory: Directory,
        agent: UserAgent,
        location: Location,
        trunks: Trunks,
        pool: EnginePool,
        prompts: PromptStore,
        committer: Committer,
        client: Any,
        token: Callable[[], str],
        clock: Callable[[], float],
        pump: Callable[[], None],
    ) -> None:
        self.worker = worker
        self.ring_seconds = ring_seconds
        self.directory = directory
        self.stats = CallStats()
        self._keys = keys
        self._ua = agent
        self._location = location
        self._trunks = trunks
        self._pool = pool
        self._prompts = prompts
        self._committer = committer
        self._client = client
        self._token = token
        self._clock = clock
        self._pump = pump
        self._machines: dict[str, CallMachine] = {}
        self._legs: dict[str, CallMachine] = {}
        self._timer_of: dict[str, Timer] = {}
        #: when calls want to be asked next; `handle_timers` must be called then
        self.timers = TimerWheel()
        self._engaged: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._now = clock()

    def __len__(self) -> int:
        return len(self._machines)

    # --- the machines' context -------------------------------------------------------------------

    def token(self) -> str:
        """A new unguessable id."""
        return self._token()

    def devices(self, person: str) -> list[model.Target]:
        """The registered devices of a person."""
        entry = self.directory.people.get(person)
        if entry is None:
            return []
        targets = []
        for user in entry.devices:
            device = self.directory.devices[user]
            targets += [
                model.Target(
                    flow=binding.flow,
                    uri=binding.contact,
                    person=person,
                    device=user,
                    number=entry.extension,
                    route=binding.path,
                    strict=not (device.behind_nat or binding.nat),
                )
                for binding in self._location.of(user).values()
                if binding.expires > self._now
            ]
        return targets

    def trunk(self, name: str, number: str) -> model.Target | None:
        """Where a trunk is to be invited for `number`."""
        return self._trunks.target(name, number, self._now)

    def duration(self, prompt: str, language: str) -> float:
        """How long a prompt is, in seconds; a missing one takes no time."""
        try:
            return self._prompts.duration(prompt, language)
        except PromptError:
            return 0.0

    # --- new calls -------------------------------------------------------------------------------

    def invited(
        self, event: ua_events.LegInvited, device: Device | None, trunk: Trunk | None, user: str
    ) -> None:
        """Start a call for an INVITE whose sender is known: a device of the house or a trunk."""
        now = self._now = self._clock()
        directory = self.directory
        direction: Direction
        if device is not None:
            person = directory.people.get(device.person or "")
            route = dialplan.route_from_device(user, device, directory)
            number: str | None = person.extension if person else device.user
            name = person.name if person else ""
            direction = "internal"
            language = person.language if person else "de"
            strict = not (device.behind_nat or _behind_nat(event))
        else:
            person = None
            route = dialplan.route_from_trunk(user, directory)
            number, name = caller_of(event.request, directory)
            direction, language, strict = "inbound", "de", True
        call = model.Call(
            id=self._token(),
            direction=direction,
            started=now,
            media=model.Media(session=""),
            a=event.leg,
            from_number=number,
            from_name=name,
            to_number=dialplan.digits(user) or None,
            from_person=person.id if person else None,
            language=language,
        )
        call.media.session = call.id
        call.legs[event.leg] = model.Leg(
            id=event.leg,
            role="caller",
            started=now,
            state="ringing",
            person=call.from_person,
            device=device.user if device else None,
            number=number,
            strict=strict,
        )
        machine = self._start(call)
        sdp = _text(event.sdp)
        self._handle(machine, model.Invited(event.leg, sdp, route))

    def originate(self, command: bus.Originate) -> None:
        """Ring a person's own phones and then call a number for them; stale orders are ignored."""
        now = self._now = self._clock()
        person = self.directory.people.get(command.person)
        if person is None or command.expires < now or command.call in self._machines:
            return
        call = model.Call(
            id=command.call,
            direction="internal",
            started=now,
            media=model.Media(session=command.call),
            from_number=person.extension,
            from_name=person.name,
            from_person=person.id,
            language=person.language,
        )
        machine = self._start(call)
        self._handle(machine, model.Originated(person.id, command.to))

    def _start(self, call: model.Call) -> CallMachine:
        machine = CallMachine(call, self)
        self._machines[call.id] = machine
        self.stats.started += 1
        for leg in call.legs:
            self._legs[leg] = machine
        return machine

    # --- what happens ----------------------------------------------------------------------------

    def leg_event(self, event: ua_events.UaEvent) -> None:
        """Take an event of a leg from the user agent; legs of finished calls are passed over."""
        leg: str = event.leg  # type: ignore[union-attr]
        machine = self._legs.get(leg)
        if machine is None:
            if isinstance(event, ua_events.LegReinvited):
                self._guarded(self._ua.reject_offer, leg, 481)
            elif isinstance(event, ua_events.LegRequest):
                self._ua.respond(event.txn, 481, now=self._clock())
            return
        translate = _TRANSLATED.get(type(event))
        if translate is not None:
            self._handle(machine, translate(event))
        elif isinstance(event, ua_events.LegRequest):
            self._in_dialog(event.txn, event.request.method)

    def _in_dialog(self, txn: ua_events.Txn, method: str) -> None:
        """Answer INFO (keys by RFC 4733 are what counts) and refuse what is not served."""
        self._ua.respond(txn, 200 if method == "INFO" else 405, now=self._clock())

    def queue_event(self, event: acd.Event) -> None:
        """Take an event of the queue role; those for other workers are passed over."""
        if isinstance(event, acd.OfferEnded) and not event.work:
            event = self._of_forgotten_offer(event)
        if getattr(event, "owner", None) != self.worker:
            return
        work: str = event.work  # type: ignore[union-attr]
        machine = self._machines.get(work.partition(".")[0])
        if machine is not None:
            self._handle(machine, model.QueueSaid(event))  # type: ignore[arg-type]
        elif isinstance(event, acd.OfferMade):
            self.tell(acd.OfferRefused(event.offer, "failed"))
        elif isinstance(event, acd.WorkAssigned):
            self.tell(acd.WorkEnded(work))

    def _of_forgotten_offer(self, event: acd.OfferEnded) -> acd.OfferEnded:
        """Find the call of an offer that the queue role itself does not know any more."""
        for machine in self._machines.values():
            call = machine.call
            if event.offer in call.offers and call.work is not None:
                return msgspec.structs.replace(event, work=call.work, owner=self.worker)
        return event

    def command(self, command: bus.Command) -> None:
        """Take an order of another role."""
        if isinstance(command, bus.Originate):
            self.originate(command)
            return
        machine = self._machines.get(command.call)
        if machine is not None:
            self._handle(machine, model.HangUpRequested())

    def engine_event(self, event: EngineEvent) -> None:
        """Take an event of a media engine."""
        machine = self._machines.get(_call_of(event.session))
        if machine is None or machine.call.media.session != event.session:
            return
        if isinstance(event, DtmfEvent):
            self._handle(machine, model.Dtmf(event.side, event.digit))
        else:
            self._handle(machine, model.MediaSilent())
        self._pump()

    def engine_lost(self, engine: str) -> None:
        """An engine's process is gone: its calls go to another one."""
        lost = [m for m in self._machines.values() if m.call.media.engine == engine]
        _log.warning("engine-lost", engine=engine, calls=len(lost))
        for machine in lost:
            self.stats.reanchored += 1
            self._handle(machine, model.EngineLost())
        self._pump()

    def handle_timers(self, now: float) -> None:
        """Let every call do what is due."""
        for call_id in self.timers.pop_due(now):
            machine = self._machines.get(call_id)
            self._timer_of.pop(call_id, None)
            if machine is None:
                continue
            for name in machine.due(now):
                self._handle(machine, model.TimerDue(name))
            self._arm(machine)

    # --- doing it --------------------------------------------------------------------------------

    def _handle(self, machine: CallMachine, event: model.Event) -> None:
        now = self._now = self._clock()
        actions = machine.handle(event, now)
        for action in actions:
            _DO[type(action)](self, machine, action, now)
        self._engage(machine)
        self._arm(machine)

    def _arm(self, machine: CallMachine) -> None:
        call_id = machine.call.id
        due = machine.next_timer() if call_id in self._machines else None
        timer = self._timer_of.get(call_id)
        if timer is not None:
            if timer.when == due:
                return
            self.timers.cancel(timer)
            del self._timer_of[call_id]
        if due is not None:
            self._timer_of[call_id] = self.timers.start(due, call_id)

    def _engage(self, machine: CallMachine) -> None:
        """Tell the queue role how many calls outside of queues the call's agents hold."""
        before, after = machine.counted, machine.engaged()
        if before == after:
            return
        machine.counted = after
        for person in before ^ after:
            self._engaged[person] += 1 if person in after else -1
            count = self._engaged[person]
            if not count:
                del self._engaged[person]
            entry = self.directory.people.get(person)
            if entry is not None and entry.agent:
                self.tell(acd.SetEngaged(person, count))

    def tell(self, command: acd.Command) -> None:
        """Say something to the queue role."""
        self._committer.write("XADD", self._keys.acd_journal, "*", "m", _journal.encode(command))

    def _guarded(self, order: Callable[..., None], leg: str, *args: Any, **kwargs: Any) -> None:
        """Give the user agent an order; a leg that ended a moment ago is no error."""
        try:
            order(leg, *args, now=self._now, **kwargs)
        except StateError as error:
            _log.debug("leg-gone", error=error.id)

    def _do_provisional(self, _: CallMachine, do: model.Provisional, now: float) -> None:
        self._guarded(self._ua.provisional, do.leg, do.status, sdp=_bytes(do.sdp))

    def _do_accept(self, _: CallMachine, do: model.Accept, now: float) -> None:
        self.stats.answered += 1
        self._guarded(self._ua.accept, do.leg, do.sdp.encode())

    def _do_reject(self, _: CallMachine, do: model.Reject, now: float) -> None:
        headers = (("Retry-After", str(do.retry_after)),) if do.retry_after else ()
        self._guarded(self._ua.reject, do.leg, do.status, headers=headers)

    def _do_invite(self, machine: CallMachine, do: model.Invite, now: float) -> None:
        target = do.target
        from_, to, headers = identity_headers(do, self.directory)
        trunk = target.trunk
        credentials = (trunk.user, trunk.password) if trunk is not None and trunk.user else None
        self._legs[do.leg] = machine
        order = ua_events.OutgoingInvite(
            request_uri=target.uri,
            to=to,
            from_=from_,
            flow=target.flow,
            sdp=do.sdp.encode(),
            route=target.route,
            headers=headers,
            credentials=credentials,
        )
        self._ua.invite(do.leg, order, now=now)

    def _do_cancel(self, _: CallMachine, do: model.Cancel, now: float) -> None:
        # RFC 3326; phones take it as "answered elsewhere" and show no missed call
        reason = 'SIP;cause=200;text="Call completed elsewhere"' if do.answered_elsewhere else None
        try:
            self._ua.cancel(do.leg, now=now, reason=reason)
        except StateError:
            # it answered in the same turn, and the machine will not hear of that any more
            self._guarded(self._ua.bye, do.leg, reason=reason)

    def _do_bye(self, _: CallMachine, do: model.Bye, now: float) -> None:
        reason = None
        if do.cause != "completed":
            reason = f'Q.850;cause={_Q850.get(do.cause, 16)};text="{do.cause}"'
        self._guarded(self._ua.bye, do.leg, reason=reason)

    def _do_reinvite(self, _: CallMachine, do: model.Reinvite, now: float) -> None:
        self._guarded(self._ua.reinvite, do.leg, do.sdp.encode())

    def _do_accept_offer(self, _: CallMachine, do: model.AcceptOffer, now: float) -> None:
        self._guarded(self._ua.accept_offer, do.leg, do.sdp.encode())

    def _do_reject_offer(self, _: CallMachine, do: model.RejectOffer, now: float) -> None:
        self._guarded(self._ua.reject_offer, do.leg, do.status)

    def _do_open_media(self, machine: CallMachine, do: model.OpenMedia, now: float) -> None:
        call = machine.call
        # an engine that lost its sessions may still hold one of that name when it was only slow
        moving = call.media.local_a is not None
        session = f"{call.id}.{call.media.generation + 1}" if moving else call.id
        call.media.session = session
        self._spawn(self._open(machine, session, do))

    async def _open(self, machine: CallMachine, session: str, do: model.OpenMedia) -> None:
        call = machine.call
        try:
            engine = self._pool.place(session)
            local_a, local_b = await engine.open(session, do.a, do.b)
        except MediaError as error:
            _log.warning("media-not-opened", error=error.code)
            self._handle(machine, model.MediaFailed(error.code))
            self._pump()
            return
        if call.phase == "ended" or call.media.session != session:
            await self._quiet(engine.delete(session))
            self._pool.forget(session)
            return
        ready = model.MediaReady(
            engine.name, (local_a.host, local_a.port), (local_b.host, local_b.port)
        )
        self._handle(machine, ready)
        self._pump()

    def _do_set_remote(self, machine: CallMachine, do: model.SetRemote, now: float) -> None:
        session = machine.call.media.session
        engine = self._pool.where(session)
        if engine is not None:
            self._spawn(self._quiet(engine.set_remote(session, do.side, do.remote)))

    def _do_play(self, machine: CallMachine, do: model.Play, now: float) -> None:
        session = machine.call.media.session
        engine = self._pool.where(session)
        if engine is not None:
            try:
                path = self._prompts.path(do.prompt, do.language)
            except PromptError as error:
                _log.error("prompt-missing", error=str(error))
                return
            self._spawn(self._quiet(engine.play(session, do.side, path, do.times)))

    def _do_stop(self, machine: CallMachine, do: model.StopPlaying, now: float) -> None:
        session = machine.call.media.session
        engine = self._pool.where(session)
        if engine is not None:
            self._spawn(self._quiet(engine.stop(session, do.side)))

    def _do_tell(self, _: CallMachine, do: model.Tell, now: float) -> None:
        self.tell(do.command)

    def _do_ask_position(self, machine: CallMachine, do: model.AskPosition, now: float) -> None:
        self._spawn(self._ask_position(machine, do))

    async def _ask_position(self, machine: CallMachine, do: model.AskPosition) -> None:
        position = 0
        try:
            rank = await self._client.zrank(self._keys.acd_order(do.queue), do.work)
        except (redis.exceptions.RedisError, OSError):
            rank = None
        if rank is not None:
            position = int(rank) + 1
        if machine.call.work == do.work:
            self._handle(machine, model.Position(position))
            self._pump()

    def _do_publish(self, _: CallMachine, do: model.Publish, now: float) -> None:
        view = do.view
        event = _events.encode(bus.CallChanged(view))
        self._committer.write(
            "XADD", self._keys.sip_events, "MAXLEN", "~", _EVENTS_KEPT, "*", "m", event
        )
        stored = None if view.state == "ended" else msgspec.json.encode(view)
        self._committer.put(self._keys.sip_calls_view, view.call, stored)

    def _do_save(self, machine: CallMachine, _: model.Save, now: float) -> None:
        call = machine.call
        legs = []
        for leg in call.legs.values():
            if leg.state == "ended":
                continue
            try:
                legs.append(self._ua.snapshot(leg.id))
            except StateError:
                continue
        stored = msgspec.json.encode(StoredCall(call, legs))
        self._committer.put(self._keys.calls(self.worker), call.id, stored)

    def _do_finish(self, machine: CallMachine, do: model.Finish, now: float) -> None:
        call = machine.call
        self.stats.ended += 1
        for leg in call.legs:
            self._legs.pop(leg, None)
        del self._machines[call.id]
        self._spawn(self._finish(call, do.record))

    async def _finish(self, call: model.Call, record: CallRecord) -> None:
        """Close the media, then write the record and forget the call in one commit."""
        engine = self._pool.where(call.media.session)
        quality: Quality | None = None
        if engine is not None:
            try:
                quality = await engine.delete(call.media.session)
            except MediaError:
                quality = None
            self._pool.forget(call.media.session)
        record = _with_quality(record, call, quality)
        self._committer.put(self._keys.calls(self.worker), call.id, None)
        self._committer.write("XADD", self._keys.records, "*", "m", _records.encode(record))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _quiet(self, work: Awaitable[Any]) -> None:
        """Give an engine an order; a lost engine is reported once for all its calls."""
        try:
            await work
        except MediaError as error:
            _log.debug("media-order-failed", error=error.code)

    # --- taking over -----------------------------------------------------------------------------

    async def restore(self) -> None:
        """Go on with the calls that the former worker of this name held."""
        stored = await self._client.hgetall(self._keys.calls(self.worker))
        works: list[str] = []
        restored: list[CallMachine] = []
        for raw in stored.values():
            try:
                entry = msgspec.json.decode(raw, type=StoredCall)
            except msgspec.ValidationError as error:
                _log.error("stored-call-unreadable", error=str(error)[:120])
                continue
            machine = CallMachine(entry.call, self)
            self._machines[entry.call.id] = machine
            for leg in entry.call.legs:
                self._legs[leg] = machine
            for state in entry.legs:
                self._ua.restore(state, self._clock())
            restored.append(machine)
            if entry.call.work is not None:
                works.append(entry.call.work)
        for machine in restored:
            media = machine.call.media
            self._engage(machine)
            self._handle(machine, model.TakenOver())
            if machine.call.phase == "ended" or media.engine is None:
                continue
            if not self._adopt(machine.call):
                self._handle(machine, model.EngineLost())
        self.stats.taken_over += len(restored)
        self.tell(acd.OwnerRestarted(self.worker, tuple(works)))
        if restored:
            _log.info("calls-taken-over", calls=len(restored))

    def _adopt(self, call: model.Call) -> bool:
        """Go on with the engine session of a stored call; returns whether its engine has it."""
        media = call.media
        if media.engine is None or media.local_a is None or media.local_b is None:
            return False
        remotes = []
        for leg in (call.legs.get(call.a), call.legs.get(call.b or "")):
            described = describe_or_none(leg.sdp) if leg is not None else None
            strict = leg is None or leg.strict
            remotes.append(remote(described, strict) if described is not None else None)
        try:
            self._pool.adopt(
                media.session, media.engine, Local(*media.local_a), Local(*media.local_b), *remotes
            )
        except MediaError:
            return False
        return True

    async def drain(self) -> None:
        """Wait for what is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)


def _text(sdp: bytes | None) -> str | None:
    return None if sdp is None else text_of(sdp)


def _bytes(sdp: str | None) -> bytes | None:
    return None if sdp is None else sdp.encode()


def _call_of(session: str) -> str:
    return session.partition(".")[0]


def _behind_nat(event: ua_events.LegInvited) -> bool:
    """Whether the phone believes to be somewhere else than its packets come from."""
    host = event.request.via.host.strip("[]")
    return host != event.flow.remote[0] and event.request.via.received is not None


#: ITU-T Q.850 causes for Reason header fields (RFC 3326); 16 is normal clearing
_Q850 = {"max-duration": 102, "media-lost": 41, "phone-lost": 27}


def _with_quality(record: CallRecord, call: model.Call, quality: Quality | None) -> CallRecord:
    if quality is None:
        return record
    legs = []
    for leg in record.legs:
        side = quality.a if leg.leg == call.a else quality.b if leg.leg == call.b else None
        if side is not None:
            counted = LegQuality(side.packets, side.lost, side.jitter_ms)
            leg = msgspec.structs.replace(leg, quality=counted)
        legs.append(leg)
    return msgspec.structs.replace(record, legs=tuple(legs))


#: the user agent's events as the call machine knows them
_TRANSLATED: dict[type, Callable[[Any], model.Event]] = {
    ua_events.LegCancelled: lambda e: model.LegCancelled(e.leg),
    ua_events.LegConfirmed: lambda e: model.LegConfirmed(e.leg, _text(e.sdp)),
    ua_events.LegProvisional: lambda e: model.LegRinging(e.leg, e.status, _text(e.sdp)),
    ua_events.LegAnswered: lambda e: model.LegAnswered(e.leg, _text(e.sdp)),
    ua_events.LegFailed: lambda e: model.LegFailed(e.leg, e.status),
    ua_events.LegEnded: lambda e: model.LegEnded(
        e.leg, lost=e.by in ("timeout", "lost", "transport")
    ),
    ua_events.LegReinvited: lambda e: model.LegReinvited(e.leg, _text(e.sdp)),
    ua_events.LegOfferAnswered: lambda e: model.LegOfferAnswered(e.leg, _text(e.sdp)),
    ua_events.LegOfferFailed: lambda e: model.LegOfferFailed(e.leg, e.status),
}

_DO: dict[type, Callable[[Calls, CallMachine, Any, float], None]] = {
    model.Provisional: Calls._do_provisional,
    model.Accept: Calls._do_accept,
    model.Reject: Calls._do_reject,
    model.Invite: Calls._do_invite,
    model.Cancel: Calls._do_cancel,
    model.Bye: Calls._do_bye,
    model.Reinvite: Calls._do_reinvite,
    model.AcceptOffer: Calls._do_accept_offer,
    model.RejectOffer: Calls._do_reject_offer,
    model.OpenMedia: Calls._do_open_media,
    model.SetRemote: Calls._do_set_remote,
    model.Play: Calls._do_play,
    model.StopPlaying: Calls._do_stop,
    model.Tell: Calls._do_tell,
    model.AskPosition: Calls._do_ask_position,
    model.Publish: Calls._do_publish,
    model.Save: Calls._do_save,
    model.Finish: Calls._do_finish,
}
