"""Whether a configuration can be carried out."""

from __future__ import annotations

import math

from comms.bus.acd import Configure, QueueConfig

from .hours import check_hours


def check(command: Configure) -> list[str]:
    """Return everything that is wrong with a configuration, in words; nothing if it is sound.

    Memberships of queues that do not exist are no error: they wait for the queue.
    """
    wrong = []
    names = [q.name for q in command.queues]
    wrong += [f"queue {n!r} is given twice" for n in _twice(names)]
    wrong += [f"agent {n!r} is given twice" for n in _twice([a.agent for a in command.agents])]
    for agent in command.agents:
        joined = [m.queue for m in agent.queues]
        wrong += [f"agent {agent.agent!r} is twice in queue {q!r}" for q in _twice(joined)]
    for queue in command.queues:
        wrong += [f"queue {queue.name!r}: {problem}" for problem in _check_queue(queue, names)]
    return wrong


def _check_queue(queue: QueueConfig, names: list[str]) -> list[str]:
    wrong = check_hours(queue.hours) if queue.hours is not None else []
    durations = {
        "offer_timeout": queue.offer_timeout,
        "wrap_up": queue.wrap_up,
        "refusal_pause": queue.refusal_pause,
        "service_level_seconds": queue.service_level_seconds,
    }
    for name, value in durations.items():
        if not (math.isfinite(value) and value >= 0):
            wrong.append(f"{name} is {value}, it must be 0 seconds or more")
    if queue.offer_timeout < 1:
        wrong.append(f"offer_timeout is {queue.offer_timeout}, it must be 1 second or more")
    for rule in queue.overflow:
        if rule.to not in names or rule.to == queue.name:
            wrong.append(f"overflow goes to {rule.to!r}, which is no other queue")
        if rule.after is None and rule.longer_than is None:
            wrong.append(f"overflow to {rule.to!r} says neither after nor longer_than")
        if rule.after is not None and not (math.isfinite(rule.after) and rule.after >= 0):
            wrong.append(f"overflow to {rule.to!r} after {rule.after} seconds")
    wrong += [
        f"skill {r.skill!r} relaxes after {r.after} seconds"
        for r in queue.relax
        if not (math.isfinite(r.after) and r.after >= 0)
    ]
    return wrong


def _twice(names: list[str]) -> list[str]:
    return sorted({n for n in names if names.count(n) > 1}) if len(set(names)) < len(names) else []
