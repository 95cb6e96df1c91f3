"""Sorted structures over the state, so that no decision looks at everything.

A *lane* is one queue's work with one set of skill requirements. All work of a lane can be taken
by the same agents, so the lane keeps its waiting work and its free agents sorted: a decision
looks at the first of each. Whatever is here follows from `State` and is rebuilt from it.

The lists are plain sorted lists: at the sizes in question (10,000 waiting) a binary search and a
`memmove` of a few kilobytes cost about a microsecond, less than any tree in Python.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TypeAlias

from comms.bus.acd import Membership, QueueConfig

from . import strategies
from .hours import Calendar
from .model import Agent, State, Work
from .strategies import Key

#: (-effective priority, seniority, work): the sort key of a piece of work; lower is served first
Entry: TypeAlias = "tuple[int, int, str]"
Needs: TypeAlias = "tuple[tuple[str, int], ...]"

MOST_PRIORITY = 1000
_MOST_LANES = 64


class Lane:
    """One queue's work with equal requirements, and the agents who can take it."""

    __slots__ = ("free", "members", "needs", "queue", "ringing", "waiting")

    def __init__(self, queue: QueueIndex, needs: Needs, members: dict[str, Membership]) -> None:
        self.queue = queue
        self.needs = needs
        #: who has the skills, whatever they do now
        self.members = members
        self.waiting: list[Entry] = []
        #: work that rings; only kept under ring-all, where further agents may join
        self.ringing: list[Entry] = []
        self.free: list[Key] = []


class QueueIndex:
    """One queue's rules and everything sorted of it."""

    __slots__ = ("calendar", "config", "heaviest", "lanes", "members", "order")

    def __init__(self, config: QueueConfig, members: dict[str, Membership]) -> None:
        self.config = config
        self.calendar = Calendar(config.hours)
        #: by tier and position
        self.members = members
        self.heaviest = max((m.weight for m in members.values()), default=1) or 1
        self.lanes: dict[Needs, Lane] = {}
        #: all work that waits or rings, in serving order
        self.order: list[Entry] = []


class Index:
    """All of it, kept in step by the engine."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.queues: dict[str, QueueIndex] = {}
        self._lane_of: dict[str, Lane] = {}
        self._entry_of: dict[str, Entry] = {}
        self._lanes_of: dict[str, list[Lane]] = {a: [] for a in state.agents}
        #: agent -> places in the lanes' lists; there is an item exactly for who is free
        self._free: dict[str, list[tuple[Lane, Key]]] = {}
        members: dict[str, list[tuple[int, int, str, Membership]]] = {q: [] for q in state.configs}
        for agent in state.agents.values():
            for m in agent.config.queues:
                if m.queue in members:
                    members[m.queue].append((m.tier, m.position, agent.id, m))
        for name, config in state.configs.items():
            ordered = {a: m for _, _, a, m in sorted(members[name], key=lambda row: row[:3])}
            self.queues[name] = QueueIndex(config, ordered)
        for queue in self.queues.values():
            # The lane of most work; looking at all agents takes too long for an arrival.
            self.lane(queue, self.needs(queue, {}, state.now))
        for work in state.works.values():
            if work.state != "assigned":
                self.add(work)
        for agent in state.agents.values():
            if can_be_asked(agent, state.now):
                self.free(agent)

    # --- work -----------------------------------------------------------------------------

    def needs(self, queue: QueueIndex, skills: dict[str, int], since: float) -> Needs:
        """Return what an agent must be able to do now for work that waits since then."""
        config = queue.config
        needs = dict(config.skills)
        for skill, level in skills.items():
            needs[skill] = max(level, needs.get(skill, 0))
        for relax in config.relax:
            if relax.skill in needs and since + relax.after <= self._state.now:
                needs[relax.skill] = min(needs[relax.skill], relax.level)
        return tuple(sorted((s, level) for s, level in needs.items() if level > 0))

    def lane(self, queue: QueueIndex, needs: Needs) -> Lane:
        """Return the lane of these requirements; it is made when they are seen first."""
        found = queue.lanes.get(needs)
        if found is None:
            if len(queue.lanes) >= _MOST_LANES:
                self._drop_empty_lanes(queue)
            members = {
                a: m
                for a, m in queue.members.items()
                if all(self._state.agents[a].config.skills.get(s, 0) >= n for s, n in needs)
            }
            found = queue.lanes[needs] = Lane(queue, needs, members)
            for agent_id in members:
                self._lanes_of[agent_id].append(found)
                if agent_id in self._free:
                    self._enter(self._state.agents[agent_id], found)
        return found

    def add(self, work: Work) -> None:
        """Put work that waits or rings into its queue's order and its lane."""
        queue = self.queues[work.queue]
        entry = (-effective_priority(work, queue.config), work.seniority, work.id)
        self._entry_of[work.id] = entry
        insort(queue.order, entry)
        self._lane_of[work.id] = self.lane(queue, self.needs(queue, work.skills, work.since))
        self.put(work)

    def put(self, work: Work) -> None:
        """Put work into the list of its lane that fits its state."""
        lane = self._lane_of[work.id]
        if work.state == "waiting":
            insort(lane.waiting, self._entry_of[work.id])
        elif lane.queue.config.strategy == "ring-all":
            insort(lane.ringing, self._entry_of[work.id])

    def take(self, work: Work) -> None:
        """Take work out of the list of its lane, before its state changes."""
        lane = self._lane_of[work.id]
        if work.state == "waiting":
            _remove(lane.waiting, self._entry_of[work.id])
        elif lane.queue.config.strategy == "ring-all":
            _remove(lane.ringing, self._entry_of[work.id])

    def remove(self, work: Work) -> None:
        """Take work that waits or rings out of its queue."""
        self.take(work)
        _remove(self.queues[work.queue].order, self._entry_of.pop(work.id))
        del self._lane_of[work.id]

    def relax(self, work: Work) -> None:
        """Move work to the lane of its present requirements."""
        queue = self.queues[work.queue]
        self.take(work)
        self._lane_of[work.id] = self.lane(queue, self.needs(queue, work.skills, work.since))
        self.put(work)

    def lane_of(self, work: Work) -> Lane:
        """Return the lane of work that waits or rings."""
        return self._lane_of[work.id]

    def position(self, work: Work) -> int:
        """Return the place in serving order, from 1; work that rings keeps its place."""
        return bisect_left(self.queues[work.queue].order, self._entry_of[work.id]) + 1

    # --- agents ---------------------------------------------------------------------------

    def free(self, agent: Agent) -> None:
        """Enter an agent who can be asked now into all their lanes."""
        self._free[agent.id] = []
        for lane in self._lanes_of[agent.id]:
            self._enter(agent, lane)

    def unfree(self, agent: Agent) -> None:
        """Take an agent out of all lanes; nothing happens if they are in none."""
        for lane, key in self._free.pop(agent.id, ()):
            _remove(lane.free, key)

    def lanes_of(self, agent: Agent) -> list[Lane]:
        """Return the lanes whose work the agent can take."""
        return self._lanes_of[agent.id]

    def key_in(self, agent_id: str, lane: Lane) -> Key | None:
        """Return a free agent's key in a lane; None if they are not free or not in it."""
        return next((key for where, key in self._free.get(agent_id, ()) if where is lane), None)

    def is_free(self, agent_id: str) -> bool:
        """Return whether the agent can be asked now."""
        return agent_id in self._free

    def _enter(self, agent: Agent, lane: Lane) -> None:
        key = strategies.key(lane.queue.config.strategy, agent, lane.members[agent.id])
        self._free[agent.id].append((lane, key))
        insort(lane.free, key)

    def _drop_empty_lanes(self, queue: QueueIndex) -> None:
        used = {id(self._lane_of[work]) for _, _, work in queue.order if work in self._lane_of}
        gone = {id(lane) for lane in queue.lanes.values() if id(lane) not in used}
        queue.lanes = {n: lane for n, lane in queue.lanes.items() if id(lane) not in gone}
        for agent_id in queue.members:
            kept = [lane for lane in self._lanes_of[agent_id] if id(lane) not in gone]
            self._lanes_of[agent_id] = kept
            if agent_id in self._free:
                places = self._free[agent_id]
                self._free[agent_id] = [place for place in places if id(place[0]) not in gone]


def effective_priority(work: Work, config: QueueConfig) -> int:
    """Return the work's priority with the queue's, within bounds that keep scores exact."""
    return max(-MOST_PRIORITY, min(MOST_PRIORITY, work.priority + config.priority))


def can_be_asked(agent: Agent, now: float) -> bool:
    """Return whether offers may be made to the agent now."""
    return agent.state == "available" and agent.rest_until <= now


def _remove(items: list[Entry] | list[Key], item: Entry | Key) -> None:
    """Remove an item from a sorted list that has it."""
    at = bisect_left(items, item)
    assert items[at] == item
    del items[at]
