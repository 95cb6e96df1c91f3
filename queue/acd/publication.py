"""What a batch of events does to the streams and views in Redis.

The live views are hashes of JSON (work, agents, queues) and one sorted set a queue with its work
in serving order. Only what changed is written, and of several changes in one batch the last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


class Batch:
    """The events of one batch as JSON, and what they change in the views."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        #: the events as they go into the stream
        self.events: list[bytes] = []
        self._works: dict[str, bytes | None] = {}
        self._agents: dict[str, bytes | None] = {}
        self._queues: dict[str, bytes | None] = {}
        #: queue -> work -> its score, or None: it waits there no longer
        self._orders: dict[str, dict[str, int | None]] = {}

    def add(self, event: Event) -> None:
        """Add one event."""
        raw = _encode(event)
        self.events.append(raw)
        follow = _FOLLOW.get(type(event))
        if follow is not None:
            follow(self, event, raw)

    def operations(self) -> list[Operation]:
        """Return the commands that bring the views in Redis up to date."""
        found: list[Operation] = []
        _hash(found, self._keys.acd_works, self._works)
        _hash(found, self._keys.acd_agents, self._agents)
        _hash(found, self._keys.acd_queues, self._queues)
        for queue, order in self._orders.items():
            key = self._keys.acd_order(queue)
            added: list[bytes] = []
            removed: list[bytes] = []
            for work, place in order.items():
                if place is None:
                    removed.append(work.encode())
                else:
                    added += (b"%d" % place, work.encode())
            _chunks(found, b"ZADD", key, added)
            _chunks(found, b"ZREM", key, removed)
        for queue, view in self._queues.items():
            if view is None:
                found.append((b"DEL", self._keys.acd_order(queue), []))
        return found

    def _work(self, event: WorkChanged, raw: bytes) -> None:
        view = event.view
        # The view's own JSON is that of the event without what is around it.
        self._works[view.work] = raw[_WORK_AT:-1]
        waits = view.state != "assigned"
        self._orders.setdefault(view.queue, {})[view.work] = score(view) if waits else None

    def _agent(self, event: AgentChanged, raw: bytes) -> None:
        self._agents[event.view.agent] = raw[_AGENT_AT:-1]

    def _queue(self, event: QueueChanged, raw: bytes) -> None:
        self._queues[event.view.queue] = raw[_QUEUE_AT:-1]

    def _work_closed(self, event: WorkClosed, _: bytes) -> None:
        self._works[event.work] = None
        self._orders.setdefault(event.queue, {})[event.work] = None

    def _overflowed(self, event: WorkOverflowed, _: bytes) -> None:
        self._orders.setdefault(event.from_queue, {})[event.work] = None

    def _agent_removed(self, event: AgentRemoved, _: bytes) -> None:
        self._agents[event.agent] = None

    def _queue_removed(self, event: QueueRemoved, _: bytes) -> None:
        self._queues[event.queue] = None


_WORK_AT = len(b'{"type":"work","view":')
_AGENT_AT = len(b'{"type":"agent","view":')
_QUEUE_AT = len(b'{"type":"queue","view":')

_FOLLOW: dict[type, Callable[[Batch, Any, bytes], None]] = {
    WorkChanged: Batch._work,
    AgentChanged: Batch._agent,
    QueueChanged: Batch._queue,
    WorkClosed: Batch._work_closed,
    WorkOverflowed: Batch._overflowed,
    AgentRemoved: Batch._agent_removed,
    QueueRemoved: Batch._queue_removed,
}


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
    batch = Batch(keys)
    for work in works:
        batch.add(WorkChanged(work))
    for agent in agents:
        batch.add(AgentChanged(agent))
    for queue in queues:
        batch.add(QueueChanged(queue))
    return found + batch.operations()


def _hash(found: list[Operation], key: str, views: dict[str, bytes | None]) -> None:
    if not views:
        return
    changed: list[bytes] = []
    gone: list[bytes] = []
    for name, raw in views.items():
        if raw is None:
            gone.append(name.encode())
        else:
            changed += (name.encode(), raw)
    _chunks(found, b"HSET", key, changed)
    _chunks(found, b"HDEL", key, gone)


def _chunks(found: list[Operation], command: bytes, key: str, arguments: list[bytes]) -> None:
    if 0 < len(arguments) <= _MOST_ARGUMENTS:
        found.append((command, key, arguments))
        return
    for at in range(0, len(arguments), _MOST_ARGUMENTS):
        found.append((command, key, arguments[at : at + _MOST_ARGUMENTS]))  # noqa: PERF401
