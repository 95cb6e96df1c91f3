"""In which order a queue's strategy asks the agents who are free.

A *key* is the sort key of one free agent in one queue: it begins with the tier, since lower
tiers are asked first under every strategy, and ends with the agent's id, so that no two are
equal. Keys hold while the agent stays free.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from comms.bus.acd import Membership, Strategy

from .model import Agent

Key: TypeAlias = "tuple[float | str, ...]"

_DRAWS = 32
_FEW = 16


def key(strategy: Strategy, agent: Agent, member: Membership) -> Key:
    """Return the sort key of a free agent; the smallest is asked first."""
    if strategy == "longest-idle":
        return (member.tier, agent.idle_since, member.position, agent.id)
    if strategy == "fewest-calls":
        return (member.tier, agent.calls, agent.idle_since, member.position, agent.id)
    if strategy == "least-talk-time":
        return (member.tier, agent.talked, agent.idle_since, member.position, agent.id)
    return (member.tier, member.position, agent.id)


def pick(
    strategy: Strategy,
    free: Sequence[Key],
    asked: Mapping[str, int],
    last: str | None,
    members: Mapping[str, Membership],
    turn: Mapping[int, tuple[int, str]],
    heaviest: int,
    seed: str,
) -> list[Key]:
    """Return the keys of the agents to ask now; empty if all who are free have been asked.

    Args:
        free: sorted keys of the free agents who can take the work.
        asked: who is not to be asked, since others come first.
        last: who was asked for this work last.
        members: the queue's members, to look up weights and places.
        turn: round-robin: tier -> (position, agent) asked last.
        heaviest: greatest weight among the members.
        seed: facts of the journal that make the draw of `random`.
    """
    first = next((k for k in free if k[-1] not in asked), None) if asked else free[0]
    if first is None:
        return []
    if strategy in ("longest-idle", "fewest-calls", "least-talk-time", "linear"):
        return [first]
    if strategy == "sequential":
        # Goes on behind whoever was asked last, over all tiers, and starts again at the end.
        place = members.get(last) if last is not None else None
        if place is None or last is None:
            return [first]
        begin = bisect_right(free, (place.tier, place.position, last))
        return [_next_fresh(free, asked, 0, begin, len(free))]
    tier = int(first[0])
    low, high = bisect_left(free, (tier,)), bisect_left(free, (tier + 1,))
    if strategy == "ring-all":
        return [k for k in free[low:high] if k[-1] not in asked]
    if strategy == "round-robin":
        before = turn.get(tier)
        begin = bisect_right(free, (tier, *before), low, high) if before else low
        return [_next_fresh(free, asked, low, begin, high)]
    return [_draw(free, low, high, asked, members, heaviest, seed)]


def _next_fresh(
    free: Sequence[Key], asked: Mapping[str, int], low: int, begin: int, high: int
) -> Key:
    """Return the first key of somebody not asked, from `begin` to `high`, then from `low`."""
    for at in range(begin, high):
        if free[at][-1] not in asked:
            return free[at]
    return next(free[at] for at in range(low, begin) if free[at][-1] not in asked)


def _draw(
    free: Sequence[Key],
    low: int,
    high: int,
    asked: Mapping[str, int],
    members: Mapping[str, Membership],
    heaviest: int,
    seed: str,
) -> Key:
    """Return a key drawn by weight: among many by rejection, in constant time; else exactly."""
    if high - low > _FEW:
        for number in range(_DRAWS):
            value = _hash(f"{seed}:{number}")
            found = free[low + (value >> 32) % (high - low)]
            weight = max(1, members[str(found[-1])].weight)
            if (value & 0xFFFFFFFF) % heaviest < weight and found[-1] not in asked:
                return found
    fresh = [k for k in free[low:high] if k[-1] not in asked]
    weights = [max(1, members[str(k[-1])].weight) for k in fresh]
    left = _hash(seed) % sum(weights)
    for found, weight in zip(fresh, weights, strict=True):
        left -= weight
        if left < 0:
            return found
    raise AssertionError("a draw is always below the sum of the weights")


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
