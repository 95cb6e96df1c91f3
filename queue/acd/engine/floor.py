"""State, indexes, timers and views, kept in step: what the commands work on."""

from __future__ import annotations

from comms.bus.acd import AgentChanged, Event, QueueChanged, WorkChanged

from .errors import ImpossibleTransition
from .hours import DEFAULT_ZONE, local_day, midnight_after
from .index import Index, Lane, can_be_asked
from .matching import Matcher
from .model import Agent, State, Work
from .tables import AGENT, WORK, AgentInput, WorkInput
from .timers import Timer, Timers
from .views import agent_view, queue_view, work_view

#: Work whose overflow target is closed or full asks again after so many seconds.
OVERFLOW_RETRY = 15.0
NEVER = float("inf")


class Floor:
    """Everything that is there, and the only ways to move an agent or work to another state."""

    def _load(self, state: State) -> None:
        self._state = state
        self._work_views = {w.id: work_view(state, w) for w in state.works.values()}
        self._agent_views = {a.id: agent_view(state, a) for a in state.agents.values()}
        self._queue_views = {
            name: queue_view(config, state.days[name]) for name, config in state.configs.items()
        }
        self._rebuild()

    def _rebuild(self) -> None:
        """Make indexes and timers anew from the state."""
        state = self._state
        self._index = Index(state)
        self._matcher = Matcher(state, self._index)
        self._timers = Timers(self._means_something)
        self._out: list[Event] = []
        #: what changed in this `apply`: lanes to match, views to show
        self._lanes: dict[Lane, None] = {}
        self._works_changed: dict[str, None] = {}
        self._agents_changed: dict[str, None] = {}
        self._queues_changed: dict[str, None] = {}
        for offer in state.offers.values():
            self._timers.add(offer.due, "offer", offer.id)
        for agent in state.agents.values():
            if agent.state == "wrap-up":
                self._timers.add(agent.wrap_until, "wrap-up", agent.id)
            if agent.rest_until > state.now:
                self._timers.add(agent.rest_until, "rest", agent.id)
        for work in state.works.values():
            if work.state != "assigned":
                self._arm(work)
        self._set_clock()

    def _set_clock(self) -> None:
        """Find when the clock next matters: an opening, a closing, a midnight."""
        now = self._state.now
        changes = [queue.calendar.next_change(now) for queue in self._index.queues.values()]
        if self._state.agents:
            changes.append(midnight_after(now, self._zone()))
        self._clock_due = min(changes, default=NEVER)

    def _zone(self) -> str:
        """Return the zone whose midnight resets the agents' counters: the first queue's."""
        return next((q.calendar.zone for q in self._index.queues.values()), DEFAULT_ZONE)

    def _clock(self, now: float) -> None:
        state = self._state
        for name, queue in self._index.queues.items():
            day = state.days[name]
            number = local_day(now, queue.calendar.zone)
            is_open = queue.calendar.is_open(now)
            if (number != day.day and day.reset(number)) or is_open != day.open:
                self._queues_changed[name] = None
            day.open = is_open
        today = local_day(now, self._zone())
        if today != state.day:
            state.day = today
            for agent in state.agents.values():
                # Keys of free agents contain the counters.
                free = self._index.is_free(agent.id)
                self._index.unfree(agent)
                agent.calls, agent.talked = 0, 0.0
                if free:
                    self._index.free(agent)
        self._set_clock()

    def _show(self) -> None:
        """Emit every view that differs from what was shown last."""
        state = self._state
        for name in self._works_changed:
            if name in state.works:
                view = work_view(state, state.works[name])
                if view != self._work_views.get(name):
                    self._work_views[name] = view
                    self._out.append(WorkChanged(view))
        for name in self._agents_changed:
            if name in state.agents:
                shown = agent_view(state, state.agents[name])
                if shown != self._agent_views.get(name):
                    self._agent_views[name] = shown
                    self._out.append(AgentChanged(shown))
        for name in self._queues_changed:
            if name in state.configs:
                facts = queue_view(state.configs[name], state.days[name])
                if facts != self._queue_views.get(name):
                    self._queue_views[name] = facts
                    self._out.append(QueueChanged(facts))
        self._works_changed.clear()
        self._agents_changed.clear()
        self._queues_changed.clear()

    # --- timers ---------------------------------------------------------------------------

    def _means_something(self, timer: Timer) -> bool:
        state = self._state
        if timer.kind == "offer":
            return timer.subject in state.offers
        if timer.kind in ("overflow", "relax"):
            work = state.works.get(timer.subject)
            return work is not None and work.state != "assigned" and work.queue == timer.queue
        agent = state.agents.get(timer.subject)
        if agent is None:
            return False
        if timer.kind == "wrap-up":
            return agent.state == "wrap-up" and agent.wrap_until == timer.due
        return agent.rest_until == timer.due

    def _arm(self, work: Work) -> None:
        """Arm the timers of work that waits or rings."""
        self._arm_overflow(work)
        now = self._state.now
        for relax in self._index.queues[work.queue].config.relax:
            if work.since + relax.after > now:
                self._timers.add(work.since + relax.after, "relax", work.id, work.queue)

    def _arm_overflow(self, work: Work) -> None:
        now = self._state.now
        for rule in self._index.queues[work.queue].config.overflow:
            if rule.after is not None and rule.to not in work.visited:
                due = work.entered + rule.after
                if due <= now:
                    due += OVERFLOW_RETRY * ((now - due) // OVERFLOW_RETRY + 1)
                self._timers.add(due, "overflow", work.id, work.queue)

    # --- state tables ---------------------------------------------------------------------

    def _agent(self, agent: Agent, given: AgentInput) -> None:
        """Give an agent's table an input and keep the index of free agents in step."""
        state = AGENT[agent.state][given]
        if state is None:
            raise ImpossibleTransition(f"agent: {given} while {agent.state}")
        if state == agent.state:
            return
        if agent.state == "available":
            self._index.unfree(agent)
        if state == "available" and agent.state != "offered":
            agent.idle_since = self._state.now
        agent.state = state
        agent.since = self._state.now
        self._agents_changed[agent.id] = None
        if state == "available" and can_be_asked(agent, self._state.now):
            self._free(agent)

    def _free(self, agent: Agent) -> None:
        self._index.free(agent)
        for lane in self._index.lanes_of(agent):
            if lane.waiting or lane.ringing:
                self._lanes[lane] = None

    def _work(self, work: Work, given: WorkInput) -> None:
        """Give the work's table an input and keep its place in the index in step."""
        stage = WORK[work.state][given]
        if stage is None:
            raise ImpossibleTransition(f"work: {given} while {work.state}")
        if stage == work.state:
            return
        if stage in ("assigned", "closed"):
            if work.state != "assigned":
                self._index.remove(work)
            work.state = stage
        else:
            self._index.take(work)
            work.state = stage
            self._index.put(work)
        self._works_changed[work.id] = None
