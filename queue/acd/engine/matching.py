"""Which waiting work goes to whom next, and why.

Work is served by effective priority, then by seniority, over all queues whose agents are free:
the order does not depend on which queue is looked at first. An agent who let an offer of some
work pass gets it again only after everybody else who is free was asked for it as often; before
that they get the next work: once, then twice, four times and so on, so that neither work that
somebody refuses nor what waits behind it starves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from comms.bus.acd import Candidate, Decision

from . import strategies
from .index import Entry, Index, Lane
from .model import Agent, State, Work
from .strategies import Key

#: Most agents named in a decision, and most members looked at to find them.
MOST_CANDIDATES = 20
_MOST_LOOKED_AT = 64
#: How far a lane is searched for work that a free agent was not asked for yet.
_LOOK_AHEAD = 32

_BY_STATE = {
    "offered": "offered",
    "talking": "busy",
    "engaged": "engaged",
    "wrap-up": "wrap-up",
    "break": "break",
    "offline": "offline",
    "available": "resting",
}


@dataclass(frozen=True, slots=True)
class Match:
    """Work, and who is to be asked for it."""

    work: Work
    agents: tuple[str, ...]
    decision: Decision


class Matcher:
    """Finds the next match among lanes in which something has changed."""

    def __init__(self, state: State, index: Index) -> None:
        self._state = state
        self._index = index

    def next(self, lanes: Iterable[Lane]) -> Match | None:
        """Return the match to make first, or None when no free agent fits any waiting work.

        The order of `lanes` does not matter. A match of the strategy round-robin moves its turn.
        """
        able = [lane for lane in lanes if lane.free and (lane.waiting or lane.ringing)]
        if not able:
            return None
        found = self._first(able, self._fresh)
        again = found is None
        if found is None:
            found = self._soonest(able)
        if found is None:
            again = False
            found = self._first(able, self._joinable)
        if found is None:
            return None
        entry, lane = found
        work = self._state.works[entry[2]]
        match = self._match(lane, work, self._not_soonest(lane, work) if again else work.asked)
        self._count_skipped(match.agents, entry)
        return match

    def _count_skipped(self, agents: tuple[str, ...], entry: Entry) -> None:
        """Note of earlier work that it was passed over for having been refused.

        After so many times its turn has come again; otherwise it would starve behind whatever
        arrives later.
        """
        for agent_id in agents:
            for lane in self._index.lanes_of(self._state.agents[agent_id]):
                if lane.waiting and lane.waiting[0] < entry:
                    for earlier in lane.waiting[:_LOOK_AHEAD]:
                        if earlier < entry:
                            _pass_over(self._state.works[earlier[2]], agent_id)

    def _first(
        self, lanes: list[Lane], find: Callable[[Lane], Entry | None]
    ) -> tuple[Entry, Lane] | None:
        best: tuple[Entry, Lane] | None = None
        for lane in lanes:
            entry = find(lane)
            if entry is not None and (best is None or entry < best[0]):
                best = entry, lane
        return best

    def _fresh(self, lane: Lane) -> Entry | None:
        """Return the first waiting work that somebody free was not asked for in its round."""
        for entry in lane.waiting[:_LOOK_AHEAD]:
            if self._has_fresh(lane, self._state.works[entry[2]]):
                return entry
        return None

    def _joinable(self, lane: Lane) -> Entry | None:
        """Return ringing work of ring-all that a free agent can join in ringing for."""
        tiers = lane.queue.members
        for entry in lane.ringing[:_LOOK_AHEAD]:
            work = self._state.works[entry[2]]
            # The next tier is asked only when nobody of this one is left.
            ringing = max(tiers[self._state.offers[o].agent].tier for o in work.offers)
            free = (key for key in lane.free if key[0] <= ringing)  # type: ignore[operator]
            if any(key[-1] not in work.asked for key in free):
                return entry
        return None

    def _has_fresh(self, lane: Lane, work: Work) -> bool:
        asked = work.asked
        return len(asked) < len(lane.free) or any(key[-1] not in asked for key in lane.free)

    def _soonest(self, lanes: list[Lane]) -> tuple[Entry, Lane] | None:
        """Return the work that somebody free is to pass over least often, if all were asked."""
        best: tuple[int, Entry, Lane] | None = None
        for lane in lanes:
            for entry in lane.waiting[:_LOOK_AHEAD]:
                asked = self._state.works[entry[2]].asked
                left = min(asked.get(str(key[-1]), 0) for key in lane.free[:_MOST_LOOKED_AT])
                if best is None or (left, entry) < best[:2]:
                    best = left, entry, lane
        return None if best is None else (best[1], best[2])

    def _not_soonest(self, lane: Lane, work: Work) -> dict[str, int]:
        """Return those of a lane's free agents who pass the work over more often than others."""
        if lane.queue.config.strategy == "ring-all":
            return {}
        left = {str(key[-1]): work.asked.get(str(key[-1]), 0) for key in lane.free}
        least = min(left.values())
        return {agent_id: n for agent_id, n in left.items() if n > least}

    def _match(self, lane: Lane, work: Work, asked: dict[str, int]) -> Match:
        strategy = lane.queue.config.strategy
        turn = self._state.days[work.queue].turn
        preferred = work.preferred
        wished = None
        if preferred is not None and preferred not in asked:
            wished = self._index.key_in(preferred, lane)
        if wished is not None and strategy != "ring-all":
            keys = [wished]
        else:
            seed = f"{work.id}:{self._state.offered}"
            last = next(reversed(work.asked), None)
            keys = strategies.pick(
                strategy, lane.free, asked, last, lane.members, turn, lane.queue.heaviest, seed
            )
            if strategy == "round-robin":
                tier, position, agent = keys[0]
                turn[int(tier)] = (int(position), str(agent))
        agents = tuple(str(key[-1]) for key in keys)
        return Match(work, agents, self._decision(lane, work, keys, agents))

    def _decision(
        self, lane: Lane, work: Work, keys: list[Key], agents: tuple[str, ...]
    ) -> Decision:
        chosen = set(agents)
        candidates = [Candidate(str(key[-1]), key[:-1]) for key in keys[:MOST_CANDIDATES]]
        asked = work.asked
        for key in lane.free[: MOST_CANDIDATES + 1]:
            if len(candidates) >= MOST_CANDIDATES:
                break
            agent_id = str(key[-1])
            if agent_id not in chosen:
                why = "asked-before" if agent_id in asked else "later-in-order"
                candidates.append(Candidate(agent_id, key[:-1], why))
        members = lane.queue.members
        if len(candidates) < MOST_CANDIDATES and len(lane.free) < len(members):
            for number, agent_id in enumerate(members):
                if number >= _MOST_LOOKED_AT or len(candidates) >= MOST_CANDIDATES:
                    break
                why_not = self._not_able(lane, self._state.agents[agent_id])
                if why_not is not None:
                    candidates.append(Candidate(agent_id, (), why_not))
        return Decision(
            work.id,
            work.queue,
            lane.queue.config.strategy,
            agents,
            tuple(candidates),
            max(0, len(members) - len(candidates)),
        )

    def _not_able(self, lane: Lane, agent: Agent) -> str | None:
        """Return why an agent of the queue is not among the lane's free ones; None if they are."""
        if agent.id not in lane.members:
            return "skills"
        if self._index.is_free(agent.id):
            return None
        if agent.state == "offline" and agent.chosen != "offline":
            return "unreachable"
        return _BY_STATE[agent.state]


def _pass_over(work: Work, agent_id: str) -> None:
    left = work.asked.get(agent_id, 0) - 1
    if left > 0:
        work.asked[agent_id] = left
    else:
        work.asked.pop(agent_id, None)
