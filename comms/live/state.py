"""The newest state of queues, agents, work and calls, folded from the roles' events. Pure.

`LiveState.apply` takes an event and returns what changed as `Change`s, each with the view before
and after, so that a live connection can be told the difference as its person may see it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from comms.bus import acd
from comms.bus import sip as sip_bus

Outcome = Literal["answered", "abandoned", "transferred", "menu", "failed", "rejected", "moved"]


@dataclass(frozen=True, slots=True)
class WorkChange:
    """A piece of work; None: there was or is none."""

    before: acd.WorkView | None
    after: acd.WorkView | None
    #: how it left, where `after` is None
    outcome: Outcome = "failed"


@dataclass(frozen=True, slots=True)
class AgentChange:
    """An agent."""

    before: acd.AgentView | None
    after: acd.AgentView | None


@dataclass(frozen=True, slots=True)
class QueueChange:
    """A queue's own facts."""

    before: acd.QueueView | None
    after: acd.QueueView | None


@dataclass(frozen=True, slots=True)
class CallChange:
    """A call; `after` is the last view, with state `ended`, when it is over."""

    before: sip_bus.CallView | None
    after: sip_bus.CallView


@dataclass(frozen=True, slots=True)
class CurrencyChange:
    """Whether the queue role answers."""

    current: bool


Change = WorkChange | AgentChange | QueueChange | CallChange | CurrencyChange


@dataclass(slots=True)
class LiveState:
    """Newest views by id."""

    works: dict[str, acd.WorkView] = field(default_factory=dict)
    agents: dict[str, acd.AgentView] = field(default_factory=dict)
    queues: dict[str, acd.QueueView] = field(default_factory=dict)
    calls: dict[str, sip_bus.CallView] = field(default_factory=dict)
    current: bool = True
    #: queue -> ids of its work; kept beside `works`, so that one queue is shown without all others
    by_queue: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        works: Iterable[acd.WorkView],
        agents: Iterable[acd.AgentView],
        queues: Iterable[acd.QueueView],
        calls: Iterable[sip_bus.CallView],
        current: bool = True,
    ) -> LiveState:
        """Return the state that these views make."""
        state = cls(current=current)
        for work in works:
            state._put_work(work)
        state.agents = {view.agent: view for view in agents}
        state.queues = {view.queue: view for view in queues}
        state.calls = {view.call: view for view in calls if view.state != "ended"}
        return state

    def apply(self, event: acd.Event | sip_bus.Event) -> list[Change]:
        """Take one event in; return what changed."""
        match event:
            case acd.WorkChanged(view=work):
                before = self._take_work(work.work)
                self._put_work(work)
                return [] if before == work else [WorkChange(before, work)]
            case acd.WorkClosed():
                return self._close(event.work, event.outcome)
            case acd.WorkRejected():
                return self._close(event.work, "rejected")
            case acd.AgentChanged(view=agent):
                known = self.agents.get(agent.agent)
                self.agents[agent.agent] = agent
                return [] if known == agent else [AgentChange(known, agent)]
            case acd.AgentRemoved():
                gone = self.agents.pop(event.agent, None)
                return [] if gone is None else [AgentChange(gone, None)]
            case acd.QueueChanged(view=queue):
                facts = self.queues.get(queue.queue)
                self.queues[queue.queue] = queue
                return [] if facts == queue else [QueueChange(facts, queue)]
            case acd.QueueRemoved():
                removed = self.queues.pop(event.queue, None)
                return [] if removed is None else [QueueChange(removed, None)]
            case sip_bus.CallChanged(view=call):
                return self._call(call)
            case _:
                # Offers, assignments, decisions and registrations show in the views of work and
                # agents.
                return []

    def set_current(self, current: bool) -> list[Change]:
        """Note whether the queue role answers."""
        if self.current == current:
            return []
        self.current = current
        return [CurrencyChange(current)]

    def _call(self, call: sip_bus.CallView) -> list[Change]:
        before = self.calls.pop(call.call, None)
        if call.state != "ended":
            self.calls[call.call] = call
        elif before is None:
            return []
        return [] if before == call else [CallChange(before, call)]

    def _close(self, work: str, outcome: Outcome) -> list[Change]:
        before = self._take_work(work)
        return [] if before is None else [WorkChange(before, None, outcome)]

    def _put_work(self, view: acd.WorkView) -> None:
        self.works[view.work] = view
        self.by_queue.setdefault(view.queue, set()).add(view.work)

    def _take_work(self, work: str) -> acd.WorkView | None:
        view = self.works.pop(work, None)
        if view is not None:
            ids = self.by_queue[view.queue]
            ids.discard(work)
            if not ids:
                del self.by_queue[view.queue]
        return view

    def waiting(self, queue: str) -> list[acd.WorkView]:
        """Return what waits in a queue, in serving order."""
        views = (self.works[work] for work in self.by_queue.get(queue, ()))
        return sorted(
            (view for view in views if view.state != "assigned"),
            key=lambda view: (view.rank, view.work),
        )
