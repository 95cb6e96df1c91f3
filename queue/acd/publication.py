"""What a batch of events does to the streams and views in Redis.

The live views are hashes of JSON (work, agents, queues) and one sorted set a queue with its work
in serving order. Only what changed is written, and of several changes in one batch the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from comms.bus.acd import (
    AgentChanged,
    AgentRemoved,
    AgentView,
    Event,
    QueueChanged,
    QueueRemoved,
    QueueView,
    WorkChanged,
    WorkClosed,
    WorkOverflowed,
    WorkView,
)
from comms.bus.streams import Keys

#: One Redis command on one key: name, key, arguments.
Operation = tuple[bytes, str, list[bytes]]

#: Arguments of one command: below the number that Lua can unpack.
_MOST_ARGUMENTS = 1000
#: Scores are exact: a thousand priorities times this stay below 2**53.
_PRIORITY_STEP = 2**40

_encode = msgspec.json.Encoder().encode


def score(view: WorkView) -> int:
    """Return the score of work in its queue's sorted set; lower is served first."""
    return int(view.rank[0]) * _PRIORITY_STEP + int(view.rank[1])


def operations(events: Iterable[Event], keys: Keys) -> list[Operation]:
    """Return the commands that bring the views in Redis up to date with a batch of events."""
    works: dict[str, WorkView | None] = {}
    agents: dict[str, AgentView | None] = {}
    queues: dict[str, QueueView | None] = {}
    orders: dict[str, dict[str, int | None]] = {}
    gone: list[str] = []
    for event in events:
        if isinstance(event, WorkChanged):
            work = event.view
            works[work.work] = work
            waits = work.state != "assigned"
            orders.setdefault(work.queue, {})[work.work] = score(work) if waits else None
        elif isinstance(event, AgentChanged):
            agents[event.view.agent] = event.view
        elif isinstance(event, QueueChanged):
            queues[event.view.queue] = event.view
        elif isinstance(event, WorkClosed):
            works[event.work] = None
            orders.setdefault(event.queue, {})[event.work] = None
        elif isinstance(event, WorkOverflowed):
            orders.setdefault(event.from_queue, {})[event.work] = None
        elif isinstance(event, AgentRemoved):
            agents[event.agent] = None
        elif isinstance(event, QueueRemoved):
            queues[event.queue] = None
            gone.append(event.queue)
    found: list[Operation] = []
    _hash(found, keys.acd_works, works)
    _hash(found, keys.acd_agents, agents)
    _hash(found, keys.acd_queues, queues)
    for queue, order in orders.items():
        key = keys.acd_order(queue)
        added = [p for w, s in order.items() if s is not None for p in (b"%d" % s, w.encode())]
        _chunks(found, b"ZADD", key, added)
        _chunks(found, b"ZREM", key, [w.encode() for w, s in order.items() if s is None])
    found += [(b"DEL", keys.acd_order(q), []) for q in gone if queues.get(q) is None]
    return found


def rewrite(
    works: list[WorkView], agents: list[AgentView], queues: list[QueueView], keys: Keys
) -> list[Operation]:
    """Return the commands that replace all views, whatever they were."""
    found: list[Operation] = [
        (b"DEL", key, [])
        for key in (
            keys.acd_works,
            keys.acd_agents,
            keys.acd_queues,
            *(keys.acd_order(q.queue) for q in queues),
        )
    ]
    events: list[Event] = [WorkChanged(w) for w in works]
    events += [AgentChanged(a) for a in agents]
    events += [QueueChanged(q) for q in queues]
    return found + operations(events, keys)


def _hash(found: list[Operation], key: str, views: Mapping[str, object]) -> None:
    pairs = [p for n, v in views.items() if v is not None for p in (n.encode(), _encode(v))]
    _chunks(found, b"HSET", key, pairs)
    _chunks(found, b"HDEL", key, [n.encode() for n, v in views.items() if v is None])


def _chunks(found: list[Operation], command: bytes, key: str, arguments: list[bytes]) -> None:
    found += [
        (command, key, arguments[at : at + _MOST_ARGUMENTS])
        for at in range(0, len(arguments), _MOST_ARGUMENTS)
    ]
