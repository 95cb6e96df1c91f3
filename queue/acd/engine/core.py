"""The decision engine: commands and `now` go in, events and one next timer come out.

It knows no clock, no network and no chance. Whoever applies the same commands at the same times
gets the same events, bit for bit; that is what lets another process take over by reading the
journal again, and what makes each decision explainable afterwards.

The order within one `apply`: opening hours and midnight first (they are about the clock alone),
then the command, then timers that fell due, then offers, then the views that changed. A command
so comes before a timer of the same moment: a phone that was answered in the last millisecond of
its time-out has been answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from comms.bus.acd import (
    AgentRemoved,
    AgentView,
    Command,
    Configure,
    Event,
    LeaveReason,
    OfferAccepted,
    OfferEnded,
    OfferMade,
    OfferRefused,
    OwnerRestarted,
    QueueRemoved,
    QueueView,
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
    WorkView,
    WrapUpEnded,
    WrapUpOver,
)

from .configuration import check
from .errors import InvalidConfiguration, InvalidSnapshot
from .floor import NEVER, Floor
from .index import QueueIndex
from .matching import Match
from .model import VERSION, Agent, GoneOffer, GoneWork, Offer, QueueDay, State, Work
from .tables import AgentInput, WorkInput, presence
from .timers import Timer

#: Work that an agent lets pass again and again is passed over up to 2**this times.
MOST_DOUBLINGS = 4
#: How many people's registrations and engagements are kept beyond the configured agents.
MOST_PEOPLE = 100_000

_DECODER = msgspec.msgpack.Decoder(State)
_ENCODER = msgspec.msgpack.Encoder()


class Engine(Floor):
    """Decides which waiting work is offered to which agent.

    `apply` takes one command at a time; `next_timer` says when a `Tick` is needed at the latest.
    Commands that are late, repeated or about something unknown change nothing.
    """

    def __init__(self) -> None:
        self._load(State())
        self._handlers: dict[type, Callable[[Any], None]] = {
            Configure: self._configure,
            WorkArrived: self._work_arrived,
            WorkLeft: self._work_left,
            OfferAccepted: self._offer_accepted,
            OfferRefused: self._offer_refused,
            WorkEnded: self._work_ended,
            WrapUpEnded: self._wrap_up_ended,
            SetAgentState: self._set_agent_state,
            SetReachable: self._set_reachable,
            SetEngaged: self._set_engaged,
            OwnerRestarted: self._owner_restarted,
            Tick: lambda _: None,
        }

    # --- interface ------------------------------------------------------------------------

    def apply(self, command: Command, now: float) -> list[Event]:
        """Carry out a command at `now` (UTC epoch seconds) and return what came of it.

        Time never goes backwards: an earlier `now` counts as the last one.

        Raises:
            InvalidConfiguration: a `Configure` cannot be carried out; nothing has changed.
        """
        if type(command) is Configure:
            problems = check(command)
            if problems:
                raise InvalidConfiguration(problems)
        state = self._state
        now = state.now = max(state.now, now)
        self._out: list[Event] = []
        if self._clock_due <= now:
            self._clock(now)
        self._handlers[type(command)](command)
        for timer in self._timers.due(now):
            self._fire(timer, now)
        if self._lanes:
            self._offer_work()
        self._show()
        return self._out

    def next_timer(self) -> float | None:
        """Return when the next `Tick` is due (UTC epoch seconds), None if nothing is pending."""
        first = self._timers.next()
        if self._clock_due == NEVER:
            return first
        return self._clock_due if first is None else min(first, self._clock_due)

    def position(self, work: str) -> int:
        """Return the place of work in its queue, from 1; 0 if it does not wait."""
        found = self._state.works.get(work)
        if found is None or found.state == "assigned":
            return 0
        return self._index.position(found)

    def works(self) -> int:
        """Return how many pieces of work there are: waiting, ringing and assigned."""
        return len(self._state.works)

    def snapshot(self) -> bytes:
        """Return everything that `restore` needs to go on in another process."""
        return _ENCODER.encode(self._state)

    @classmethod
    def restore(cls, raw: bytes) -> Engine:
        """Return an engine that goes on from a snapshot.

        Raises:
            InvalidSnapshot: the bytes are no snapshot of this version.
        """
        try:
            state = _DECODER.decode(raw)
        except msgspec.DecodeError as error:
            raise InvalidSnapshot("the snapshot cannot be decoded") from error
        if state.version != VERSION:
            raise InvalidSnapshot(f"the snapshot has version {state.version}, not {VERSION}")
        engine = cls()
        engine._load(state)
        return engine

    def views(self) -> tuple[list[WorkView], list[AgentView], list[QueueView]]:
        """Return all live views as the events so far have made them."""
        return (
            list(self._work_views.values()),
            list(self._agent_views.values()),
            list(self._queue_views.values()),
        )

    # --- timers ---------------------------------------------------------------------------

    def _fire(self, timer: Timer, now: float) -> None:
        state = self._state
        if not self._means_something(timer):
            return
        if timer.kind == "offer":
            self._missed(state.offers[timer.subject], "timed-out", "no-answer")
        elif timer.kind == "wrap-up":
            self._end_wrap_up(state.agents[timer.subject])
        elif timer.kind == "rest":
            agent = state.agents[timer.subject]
            if agent.state == "available" and not self._index.is_free(agent.id):
                self._free(agent)
        elif timer.kind == "relax":
            work = state.works[timer.subject]
            self._index.relax(work)
            self._lanes[self._index.lane_of(work)] = None
        else:
            work = state.works[timer.subject]
            if not self._overflow_if_due(work):
                self._arm_overflow(work)

    # --- presence -------------------------------------------------------------------------

    def _settle(self, agent: Agent) -> None:
        """Bring an agent's state in line with what they chose and what their phones say."""
        state = self._state
        reachable = agent.id in state.reachable
        now_is = presence(agent.chosen, reachable, state.engaged.get(agent.id, 0))
        if agent.state == "offered" and now_is != "available":
            assert agent.offer is not None
            offer = state.offers[agent.offer]
            reason = "unreachable" if now_is == "offline" and not reachable else now_is
            self._end_offer(offer, "withdrawn", reason)
            self._back_to_place(state.works[offer.work])
        given: dict[str, AgentInput] = {
            "offline": "go-offline",
            "available": "go-available",
            "break": "go-break",
            "engaged": "go-engaged",
        }
        self._agent(agent, given[now_is])
        self._agents_changed[agent.id] = None

    def _set_agent_state(self, command: SetAgentState) -> None:
        agent = self._state.agents.get(command.agent)
        if agent is None or (agent.chosen, agent.reason) == (command.state, command.reason):
            return
        agent.missed = 0
        self._choose(agent, command)

    def _choose(self, agent: Agent, command: SetAgentState) -> None:
        before = agent.state
        agent.chosen = command.state
        agent.reason = command.reason
        if command.state == "offline" and agent.state == "wrap-up":
            # Whoever logs off has no wrap-up left to do; a break waits until it is over.
            self._end_wrap_up(agent)
        self._settle(agent)
        if agent.state == before and before in ("break", "offline"):
            agent.since = self._state.now

    def _set_reachable(self, command: SetReachable) -> None:
        state = self._state
        if command.reachable == (command.agent in state.reachable):
            return
        if not command.reachable:
            del state.reachable[command.agent]
        elif command.agent in state.agents or len(state.reachable) < MOST_PEOPLE:
            state.reachable[command.agent] = True
        if command.agent in state.agents:
            self._settle(state.agents[command.agent])

    def _set_engaged(self, command: SetEngaged) -> None:
        state = self._state
        calls = max(0, command.calls)
        if calls == state.engaged.get(command.agent, 0):
            return
        if calls == 0:
            del state.engaged[command.agent]
        elif command.agent in state.agents or len(state.engaged) < MOST_PEOPLE:
            state.engaged[command.agent] = calls
        if command.agent in state.agents:
            self._settle(state.agents[command.agent])

    # --- work comes and goes --------------------------------------------------------------

    def _work_arrived(self, command: WorkArrived) -> None:
        state = self._state
        if command.work in state.works:
            return
        before = state.gone_works.get(command.work)
        if before is not None and before.outcome == "abandoned":
            # A late copy of its arrival: the caller has gone.
            return
        if before is None and command.continues is not None:
            before = state.gone_works.get(command.continues)
        queue = self._index.queues.get(command.queue)
        if queue is None:
            self._reject(command.work, command.queue, command.owner, "unknown-queue")
            return
        if not queue.calendar.is_open(state.now):
            self._reject(command.work, command.queue, command.owner, "closed")
            return
        if before is None:
            state.arrivals += 1
        work = Work(
            id=command.work,
            queue=command.queue,
            media=command.media,
            owner=command.owner,
            priority=command.priority,
            skills=command.skills,
            number=command.number,
            preferred=command.preferred_agent,
            # Work that moves on through a menu or a transfer keeps its place in time.
            since=before.since if before and before.outcome != "answered" else state.now,
            seniority=before.seniority if before else state.arrivals,
            entered=state.now,
            visited=[command.queue],
        )
        target = self._room_for(work, queue)
        if target is None:
            self._reject(command.work, command.queue, command.owner, "full")
            return
        self._count_offered(command.queue)
        state.works[work.id] = work
        if target is not queue:
            work.visited.append(target.config.name)
            self._enter(work, target.config.name)
            self._out.append(WorkOverflowed(work.id, work.owner, command.queue, target.config.name))
            self._count_offered(target.config.name)
        else:
            self._enter(work, command.queue)

    def _room_for(self, work: Work, queue: QueueIndex) -> QueueIndex | None:
        """Return the queue that takes arriving work: this one, its overflow, or None if full."""
        length = len(queue.order)
        lane = self._index.lane(queue, self._index.needs(queue, work.skills, work.since))
        if lane.free:
            return queue
        for rule in queue.config.overflow:
            if rule.longer_than is not None and length >= rule.longer_than:
                target = self._index.queues.get(rule.to)
                if target is not None and self._admits(target):
                    return target
        limit = queue.config.max_waiting
        return queue if limit is None or length < limit else None

    def _admits(self, queue: QueueIndex) -> bool:
        limit = queue.config.max_waiting
        return queue.calendar.is_open(self._state.now) and (
            limit is None or len(queue.order) < limit
        )

    def _enter(self, work: Work, queue: str) -> None:
        work.queue = queue
        self._index.add(work)
        self._lanes[self._index.lane_of(work)] = None
        self._works_changed[work.id] = None
        self._arm(work)

    def _reject(self, work: str, queue: str, owner: str, reason: Any) -> None:
        self._out.append(WorkRejected(work, queue, owner, reason))

    def _count_offered(self, queue: str) -> None:
        self._state.days[queue].offered += 1
        self._queues_changed[queue] = None

    def _overflow_if_due(self, work: Work) -> bool:
        """Move waiting work to another queue if it has waited long enough; return whether."""
        if work.state != "waiting":
            return False
        now = self._state.now
        for rule in self._index.queues[work.queue].config.overflow:
            if rule.after is None or work.entered + rule.after > now or rule.to in work.visited:
                continue
            target = self._index.queues.get(rule.to)
            if target is None or not self._admits(target):
                continue
            source = work.queue
            self._work(work, "overflow")
            self._index.remove(work)
            work.visited.append(rule.to)
            work.entered = now
            work.asked = {}
            self._enter(work, rule.to)
            self._out.append(WorkOverflowed(work.id, work.owner, source, rule.to))
            self._count_offered(rule.to)
            return True
        return False

    def _work_left(self, command: WorkLeft) -> None:
        work = self._state.works.get(command.work)
        if work is None:
            return
        if work.state == "assigned":
            # The caller hung up while the acceptance was on its way.
            self._finish(work, "leave")
        else:
            self._close(work, command.reason, "leave")

    def _work_ended(self, command: WorkEnded) -> None:
        work = self._state.works.get(command.work)
        if work is None:
            return
        if work.state == "assigned":
            self._finish(work, "end")
        else:
            self._close(work, "abandoned", "end")

    def _close(self, work: Work, outcome: LeaveReason, given: WorkInput) -> None:
        """Close work that nobody answered; whatever rings for it stops."""
        state = self._state
        rang = max((state.now - state.offers[o].made for o in work.offers), default=0.0)
        for offer in list(work.offers):
            self._end_offer(state.offers[offer], "withdrawn", outcome)
        self._work(work, given)
        if outcome == "abandoned":
            state.days[work.queue].abandoned += 1
            self._queues_changed[work.queue] = None
        self._forget(work, outcome)
        self._out.append(
            WorkClosed(
                work.id,
                work.queue,
                work.owner,
                outcome,
                waited=_seconds(state.now - work.since),
                rang=_seconds(rang),
            )
        )

    def _finish(self, work: Work, given: WorkInput) -> None:
        """Close work that was answered; its agent's wrap-up begins."""
        state = self._state
        talked = _seconds(state.now - work.answered)
        self._work(work, given)
        self._forget(work, "answered")
        self._out.append(
            WorkClosed(
                work.id,
                work.queue,
                work.owner,
                "answered",
                waited=_seconds(work.answered - work.since),
                rang=work.rang,
                talked=talked,
                agent=work.agent,
            )
        )
        agent = state.agents.get(work.agent or "")
        if agent is None or agent.work != work.id:
            return
        agent.talked = _seconds(agent.talked + talked)
        agent.work = None
        config = state.configs.get(work.queue)
        self._agent(agent, "conversation-over")
        if config is None or config.wrap_up <= 0:
            self._agent(agent, "wrap-up-over")
            self._settle(agent)
            return
        agent.wrapping = work.id
        agent.wrap_from = state.now
        agent.wrap_until = state.now + config.wrap_up
        self._timers.add(agent.wrap_until, "wrap-up", agent.id)

    def _forget(self, work: Work, outcome: str) -> None:
        self._state.gone_works.put(work.id, GoneWork(outcome, work.since, work.seniority))
        del self._state.works[work.id]
        self._work_views.pop(work.id, None)

    def _wrap_up_ended(self, command: WrapUpEnded) -> None:
        agent = self._state.agents.get(command.agent)
        if agent is not None and agent.state == "wrap-up":
            self._end_wrap_up(agent)

    def _end_wrap_up(self, agent: Agent) -> None:
        seconds = _seconds(self._state.now - agent.wrap_from)
        assert agent.wrapping is not None
        self._out.append(WrapUpOver(agent.wrapping, agent.id, seconds))
        agent.wrapping = None
        self._agent(agent, "wrap-up-over")
        self._settle(agent)

    def _owner_restarted(self, command: OwnerRestarted) -> None:
        state = self._state
        held, rings = set(command.works), set(command.offers)
        for work in [w for w in state.works.values() if w.owner == command.owner]:
            if work.id not in held:
                if work.state == "assigned":
                    self._finish(work, "end")
                else:
                    self._close(work, "failed", "leave")
                continue
            lost = [o for o in work.offers if o not in rings]
            for offer in lost:
                self._end_offer(state.offers[offer], "refused", "failed")
            if lost:
                self._back_to_place(work)

    # --- offers ---------------------------------------------------------------------------

    def _offer_work(self) -> None:
        lanes = self._lanes
        while (match := self._matcher.next(lanes)) is not None:
            self._make_offers(match)
        lanes.clear()

    def _make_offers(self, match: Match) -> None:
        state = self._state
        work = match.work
        timeout = state.configs[work.queue].offer_timeout
        self._out.append(match.decision)
        self._work(work, "offer")
        self._works_changed[work.id] = None
        for agent_id in match.agents:
            state.offered += 1
            # The time keeps the name unique even if the journal were lost and began anew.
            name = f"{int(state.now * 1000):x}-{state.offered}"
            due = state.now + timeout
            offer = Offer(name, work.id, work.queue, agent_id, work.owner, state.now, due)
            state.offers[name] = offer
            work.offers.append(name)
            times = work.times[agent_id] = work.times.get(agent_id, 0) + 1
            # Also moves the agent to the end, where the strategy sequential looks.
            work.asked.pop(agent_id, None)
            work.asked[agent_id] = 2 ** min(times - 1, MOST_DOUBLINGS)
            agent = state.agents[agent_id]
            agent.offer = name
            self._agent(agent, "offer")
            self._timers.add(due, "offer", name)
            self._out.append(OfferMade(name, work.id, work.queue, agent_id, work.owner, timeout))

    def _end_offer(self, offer: Offer, outcome: Any, reason: str | None) -> None:
        """End one offer; the caller sees to the work."""
        state = self._state
        del state.offers[offer.id]
        accepted = outcome == "accepted"
        state.gone_offers.put(offer.id, GoneOffer(offer.work, offer.agent, offer.owner, accepted))
        state.works[offer.work].offers.remove(offer.id)
        self._works_changed[offer.work] = None
        agent = state.agents[offer.agent]
        agent.offer = None
        self._agent(agent, "assign" if accepted else "offer-over")
        self._out.append(
            OfferEnded(offer.id, offer.work, offer.agent, offer.owner, outcome, reason)
        )

    def _back_to_place(self, work: Work) -> None:
        """Return work to its place once nothing rings for it any more."""
        if work.offers:
            return
        self._work(work, "offers-over")
        if not self._overflow_if_due(work):
            self._lanes[self._index.lane_of(work)] = None

    def _missed(self, offer: Offer, outcome: Any, reason: str) -> None:
        """End an offer that the agent declined or let pass."""
        state = self._state
        agent, work = state.agents[offer.agent], state.works[offer.work]
        config = state.configs[offer.queue]
        # Before the offer ends, or the agent would be free for an instant.
        agent.rest_until = state.now + config.refusal_pause
        if config.refusal_pause > 0:
            self._timers.add(agent.rest_until, "rest", agent.id)
        self._end_offer(offer, outcome, reason)
        self._back_to_place(work)
        if reason == "declined":
            # Somebody sits there.
            agent.missed = 0
            return
        agent.missed += 1
        if 0 < config.missed_offers_limit <= agent.missed:
            agent.missed = 0
            self._choose(agent, SetAgentState(agent.id, "break", "missed-offers"))

    def _offer_refused(self, command: OfferRefused) -> None:
        offer = self._state.offers.get(command.offer)
        if offer is not None:
            self._missed(offer, "refused", command.reason)

    def _offer_accepted(self, command: OfferAccepted) -> None:
        state = self._state
        offer = state.offers.get(command.offer)
        if offer is None:
            gone = state.gone_offers.get(command.offer)
            if gone is None:
                gone = GoneOffer("", "", "", False)
            if not gone.accepted:
                # Somebody lifted too late: their phone must be released.
                self._out.append(
                    OfferEnded(
                        command.offer, gone.work, gone.agent, gone.owner, "withdrawn", "over"
                    )
                )
            return
        work, agent = state.works[offer.work], state.agents[offer.agent]
        for other in [o for o in work.offers if o != offer.id]:
            self._end_offer(state.offers[other], "withdrawn", "answered-elsewhere")
        work.answered = state.now
        work.rang = _seconds(state.now - offer.made)
        work.agent = agent.id
        agent.work = work.id
        agent.calls += 1
        agent.missed = 0
        self._end_offer(offer, "accepted", None)
        self._work(work, "accept")
        waited = _seconds(state.now - work.since)
        limit = state.configs[work.queue].service_level_seconds
        state.days[work.queue].count_answer(waited, waited <= limit)
        self._queues_changed[work.queue] = None
        self._out.append(WorkAssigned(offer.id, work.id, agent.id, work.owner))

    # --- configuration --------------------------------------------------------------------

    def _configure(self, command: Configure) -> None:
        state = self._state
        configs = {q.name: q for q in command.queues}
        wanted = {a.agent: a for a in command.agents}
        if configs == state.configs and wanted == {a.id: a.config for a in state.agents.values()}:
            return
        self._withdraw_what_ceases(configs, wanted)
        for agent in [a for a in state.agents.values() if a.id not in wanted]:
            if agent.wrapping is not None:
                seconds = _seconds(state.now - agent.wrap_from)
                self._out.append(WrapUpOver(agent.wrapping, agent.id, seconds))
            del state.agents[agent.id]
            self._agent_views.pop(agent.id, None)
            self._out.append(AgentRemoved(agent.id))
        for name in [n for n in state.configs if n not in configs]:
            del state.days[name]
            self._queue_views.pop(name, None)
            self._out.append(QueueRemoved(name))
        state.configs = configs
        for name in configs:
            state.days.setdefault(name, QueueDay())
        talking = {w.agent: w for w in state.works.values() if w.agent is not None}
        for agent_id, config in wanted.items():
            known = state.agents.get(agent_id)
            if known is not None:
                known.config = config
                continue
            new = Agent(agent_id, config, since=state.now, idle_since=state.now)
            held = talking.get(agent_id)
            if held is not None:
                new.state, new.work = "talking", held.id
            state.agents[agent_id] = new
        events = self._out
        self._rebuild()
        self._out = events
        self._clock(state.now)
        for queue in self._index.queues.values():
            self._lanes.update(dict.fromkeys(queue.lanes.values()))
        for agent in state.agents.values():
            self._settle(agent)
        self._works_changed.update(dict.fromkeys(state.works))
        self._queues_changed.update(dict.fromkeys(configs))

    def _withdraw_what_ceases(self, configs: dict[str, Any], wanted: dict[str, Any]) -> None:
        """End offers and close waiting work whose agent, queue or membership goes."""
        state = self._state
        for offer in list(state.offers.values()):
            config = wanted.get(offer.agent)
            member = config is not None and any(m.queue == offer.queue for m in config.queues)
            if not member or offer.queue not in configs:
                self._end_offer(offer, "withdrawn", "removed")
                work = state.works[offer.work]
                if not work.offers:
                    self._work(work, "offers-over")
        for work in [w for w in state.works.values() if w.queue not in configs]:
            if work.state != "assigned":
                self._work(work, "leave")
                self._forget(work, "rejected")
                self._reject(work.id, work.queue, work.owner, "unknown-queue")
                waited = _seconds(state.now - work.since)
                self._out.append(WorkClosed(work.id, work.queue, work.owner, "rejected", waited))


def _seconds(duration: float) -> float:
    """Return a duration in whole milliseconds, the precision of the journal's clock."""
    return round(duration, 3)
