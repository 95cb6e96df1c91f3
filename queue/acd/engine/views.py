"""What live views show of the state. Each view follows from the state alone."""

from __future__ import annotations

from comms.bus.acd import AgentView, QueueConfig, QueueView, WorkView

from .index import effective_priority
from .model import Agent, QueueDay, State, Work
from .tables import SHOWN


def work_view(state: State, work: Work) -> WorkView:
    """Return the live view of one piece of work."""
    config = state.configs.get(work.queue)
    priority = effective_priority(work, config) if config else work.priority
    if work.agent is not None:
        agents: tuple[str, ...] = (work.agent,)
    else:
        agents = tuple(state.offers[o].agent for o in work.offers)
    assert work.state != "closed"
    return WorkView(
        work.id,
        work.queue,
        work.media,
        work.state,
        work.since,
        (float(-priority), float(work.seniority)),
        work.owner,
        work.number,
        agents,
    )


def agent_view(state: State, agent: Agent) -> AgentView:
    """Return the live view of one agent."""
    wrapping = agent.state == "wrap-up"
    work = agent.work
    if work is None and agent.offer is not None:
        work = state.offers[agent.offer].work
    return AgentView(
        agent=agent.id,
        name=agent.config.name,
        extension=agent.config.extension,
        activity=SHOWN[agent.state],
        chosen=agent.chosen,
        since=agent.since,
        reachable=agent.id in state.reachable,
        queues=tuple(m.queue for m in agent.config.queues if m.queue in state.configs),
        reason=agent.reason,
        work=agent.wrapping if wrapping else work,
        engaged=state.engaged.get(agent.id, 0),
        until=agent.wrap_until if wrapping else None,
    )


def queue_view(config: QueueConfig, day: QueueDay) -> QueueView:
    """Return the live view of one queue."""
    return QueueView(
        queue=config.name,
        title=config.title,
        open=day.open,
        offered=day.offered,
        answered=day.answered,
        abandoned=day.abandoned,
        answered_in_time=day.in_time,
        service_level_seconds=config.service_level_seconds,
        wait_mean=day.mean(),
        wait_p90=day.percentile(90),
    )
