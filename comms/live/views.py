"""What one person sees of the live state: snapshots, and changes as events. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from comms.bus import acd
from comms.bus import sip as sip_bus
from comms.live import schemas as s
from comms.live.state import (
    AgentChange,
    CallChange,
    Change,
    CurrencyChange,
    LiveState,
    QueueChange,
    WorkChange,
)
from comms.people.access import Viewer, sees_agent, sees_queue, sees_waiting


@dataclass(frozen=True, slots=True)
class Lookup:
    """Names that the roles' events leave out."""

    people: Mapping[str, s.PersonBrief]
    #: queue -> internal number
    queue_numbers: Mapping[str, str]

    def person(self, id_: str | None) -> s.PersonBrief | None:
        """Return a person; one that was deleted since is shown by the id alone."""
        if id_ is None:
            return None
        return self.people.get(id_) or s.PersonBrief(id=id_, name=id_)


def when(epoch: float) -> datetime:
    """Return epoch seconds as a time in UTC."""
    return datetime.fromtimestamp(epoch, UTC)


def work_view(view: acd.WorkView) -> s.LiveWork | None:
    """Return waiting work; None: an agent has it."""
    if view.state == "assigned":
        return None
    return s.LiveWork(
        id=view.work,
        queue=view.queue,
        media=view.media,
        state=view.state,
        since=when(view.since),
        rank=view.rank,
        number=view.number,
        agents=view.agents,
    )


def agent_view(view: acd.AgentView) -> s.LiveAgent:
    """Return an agent."""
    return s.LiveAgent(
        id=view.agent,
        name=view.name,
        extension=view.extension or None,
        activity=view.activity,
        chosen=view.chosen,
        since=when(view.since),
        reachable=view.reachable,
        queues=view.queues,
        reason=view.reason,
        work=view.work,
        engaged=view.engaged,
        until=None if view.until is None else when(view.until),
    )


def queue_facts(view: acd.QueueView, viewer: Viewer, lookup: Lookup) -> s.QueueFacts:
    """Return a queue's facts for a person."""
    return s.QueueFacts(
        name=view.queue,
        title=view.title,
        number=lookup.queue_numbers.get(view.queue),
        open=view.open,
        offered=view.offered,
        answered=view.answered,
        abandoned=view.abandoned,
        answered_in_time=view.answered_in_time,
        service_level_seconds=view.service_level_seconds,
        wait_mean=view.wait_mean,
        wait_p90=view.wait_p90,
        member=view.queue in viewer.own_queues,
        supervised=view.queue in viewer.supervised,
        numbers_visible=sees_waiting(viewer, view.queue),
    )


def call_view(view: sip_bus.CallView, lookup: Lookup) -> s.LiveCall:
    """Return a call for somebody who takes part in it."""
    return s.LiveCall(
        id=view.call,
        direction=view.direction,
        state=view.state,
        since=when(view.since),
        from_number=view.from_number,
        to_number=view.to_number,
        queue=view.queue,
        from_person=lookup.person(view.from_person),
        to_person=lookup.person(view.to_person),
        cause=view.cause,
    )


def takes_part(viewer: Viewer, view: sip_bus.CallView) -> bool:
    """Whether it is the person's own call."""
    return viewer.id in (view.from_person, view.to_person)


def queue_view(state: LiveState, viewer: Viewer, lookup: Lookup, queue: str) -> s.LiveQueue:
    """Return a queue with what waits in it, as far as the person may see it."""
    facts = queue_facts(state.queues[queue], viewer, lookup)
    waiting: tuple[s.LiveWork, ...] = ()
    if facts.numbers_visible:
        items = (work_view(view) for view in state.waiting(queue))
        waiting = tuple(item for item in items if item is not None)
    return s.LiveQueue(**dict(facts), waiting=waiting)


def visible_queues(state: LiveState, viewer: Viewer) -> list[str]:
    """Return the names of the queues a person may see, sorted."""
    return sorted(name for name in state.queues if sees_queue(viewer, name))


def visible_agents(state: LiveState, viewer: Viewer) -> list[acd.AgentView]:
    """Return the agents a person may see, by name and id."""
    return sorted(
        (v for v in state.agents.values() if sees_agent(viewer, v.agent, v.queues)),
        key=lambda v: (v.name, v.agent),
    )


def snapshot(
    state: LiveState, viewer: Viewer, me: s.Me, lookup: Lookup, seq: int, now: float
) -> s.Snapshot:
    """Return everything a person may see."""
    calls = sorted(
        (v for v in state.calls.values() if takes_part(viewer, v)), key=lambda v: (v.since, v.call)
    )
    return s.Snapshot(
        seq=seq,
        now=when(now),
        me=me,
        queues_current=state.current,
        queues=tuple(
            queue_view(state, viewer, lookup, name) for name in visible_queues(state, viewer)
        ),
        agents=tuple(agent_view(v) for v in visible_agents(state, viewer)),
        calls=tuple(call_view(v, lookup) for v in calls),
    )


#: an event without its number: type and data as JSON values
Told = tuple[str, dict[str, Any]]


class Teller:
    """Turns one batch of changes into events for many people.

    What is told of a change depends on the person only in few ways; each of these is made into
    JSON values once and shared by all connections.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._made: dict[tuple[Any, ...], dict[str, Any]] = {}

    def told(self, change: Change, viewer: Viewer) -> Iterator[Told]:
        """Yield the events that a change is for a person; none if they may not see it."""
        match change:
            case WorkChange():
                yield from self._work(change, viewer)
            case AgentChange():
                yield from self._agent(change, viewer)
            case QueueChange():
                yield from self._queue(change, viewer)
            case CallChange(after=call):
                if takes_part(viewer, call):
                    yield "call", self._json((id(change),), lambda: call_view(call, self._lookup))
                elif change.before is not None and takes_part(viewer, change.before):
                    # The call went on to somebody else: for this person it is over.
                    yield "call", self._json((id(change), "left"), lambda: self._left(change))
            case CurrencyChange(current=current):
                yield (
                    "queues_current",
                    self._json(("current", current), lambda: s.Currency(current=current)),
                )

    def _work(self, change: WorkChange, viewer: Viewer) -> Iterator[Told]:
        before = self._seen(change.before, viewer)
        after = self._seen(change.after, viewer)
        if before is not None and (after is None or after.queue != before.queue):
            outcome = change.outcome
            if change.after is not None:
                outcome = "answered" if change.after.state == "assigned" else "moved"
            gone, queue = before.work, before.queue
            yield (
                "work_closed",
                self._json(
                    (id(change), "closed"),
                    lambda: s.WorkClosed(id=gone, queue=queue, outcome=outcome),
                ),
            )
        if after is not None:
            view = after
            yield "work", self._json((id(change),), lambda: work_view(view))

    @staticmethod
    def _seen(view: acd.WorkView | None, viewer: Viewer) -> acd.WorkView | None:
        if view is None or view.state == "assigned" or not sees_waiting(viewer, view.queue):
            return None
        return view

    def _agent(self, change: AgentChange, viewer: Viewer) -> Iterator[Told]:
        before, after = (
            view if view is not None and sees_agent(viewer, view.agent, view.queues) else None
            for view in (change.before, change.after)
        )
        if after is not None:
            view = after
            yield "agent", self._json((id(change),), lambda: agent_view(view))
        elif before is not None:
            gone = before.agent
            yield "agent_removed", self._json((id(change), "gone"), lambda: s.Removed(id=gone))

    def _queue(self, change: QueueChange, viewer: Viewer) -> Iterator[Told]:
        if change.after is not None:
            view = change.after
            if sees_queue(viewer, view.queue):
                facts = queue_facts(view, viewer, self._lookup)
                key = (id(change), facts.member, facts.supervised, facts.numbers_visible)
                yield "queue", self._json(key, lambda: facts)
        elif change.before is not None and sees_queue(viewer, change.before.queue):
            gone = change.before.queue
            yield "queue_removed", self._json((id(change), "gone"), lambda: s.Removed(id=gone))

    def _left(self, change: CallChange) -> s.LiveCall:
        assert change.before is not None
        last = call_view(change.before, self._lookup)
        return last.model_copy(update={"state": "ended"})

    def _json(self, key: tuple[Any, ...], make: Any) -> dict[str, Any]:
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = make().model_dump(mode="json")
        return made
