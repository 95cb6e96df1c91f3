"""Queues as they are now, and agents' states."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from comms.api.deps import Asker, Deps
from comms.api.schemas import (
    AgentStateAnswer,
    AgentStateRequest,
    QueueDetail,
    QueueItem,
    QueueList,
    WaitingItem,
)
from comms.bus import acd
from comms.bus.streams import Codec
from comms.live.state import LiveState
from comms.live.views import (
    agent_view,
    queue_facts,
    queue_view,
    visible_agents,
    visible_queues,
    when,
)
from comms.people.access import Viewer, access_agent_state, access_house, access_queue
from comms.people.queries import load_agent_queues
from comms.store.engine import reading

router = APIRouter(tags=["queues"])

_commands: Codec[acd.Command] = Codec(acd.Command)
#: how long an answer waits for the queue role to apply a new state
_APPLY_SECONDS = 1.0

QueueId = Annotated[str, Path(max_length=40, examples=["zentrale"])]
AgentId = Annotated[str, Path(max_length=64, examples=["anna.schmidt"])]


def _item(state: LiveState, viewer: Viewer, deps: Deps, name: str) -> QueueItem:
    facts = queue_facts(state.queues[name], viewer, deps.hub.lookup)
    waiting = [
        state.works[work].since
        for work in state.by_queue.get(name, ())
        if state.works[work].state != "assigned"
    ]
    longest = min(waiting, default=None)
    return QueueItem(
        **dict(facts),
        waiting_count=len(waiting),
        longest_waiting_since=None if longest is None else when(longest),
    )


@router.get("/queues", response_model=QueueList, summary="The queues I may see")
async def list_queues(asker: Asker, deps: Deps) -> QueueList:
    """Return facts and lengths of the queues, by name."""
    access_house(asker)
    state = deps.hub.state
    return QueueList(
        items=tuple(_item(state, asker, deps, name) for name in visible_queues(state, asker))
    )


@router.get("/queues/{name}", response_model=QueueDetail, summary="One queue")
async def get_queue(name: QueueId, asker: Asker, deps: Deps) -> QueueDetail:
    """Return a queue with who waits and its agents.

    Who waits is shown to the queue's agents and supervisors and to administrators; the others see
    how many.
    """
    access_house(asker)
    state = deps.hub.state
    access_queue(asker, name, name in state.queues)
    view = queue_view(state, asker, deps.hub.lookup, name)
    return QueueDetail(
        **dict(_item(state, asker, deps, name)),
        waiting=tuple(
            WaitingItem(**dict(work), position=position)
            for position, work in enumerate(view.waiting, start=1)
        ),
        agents=tuple(
            agent_view(agent) for agent in visible_agents(state, asker) if name in agent.queues
        ),
    )


@router.put(
    "/agents/me/state",
    response_model=AgentStateAnswer,
    responses={202: {"model": AgentStateAnswer, "description": "On record, not yet applied"}},
    summary="Set my state",
)
async def set_my_state(
    given: AgentStateRequest, asker: Asker, deps: Deps, response: Response
) -> AgentStateAnswer:
    """Choose to be available, on a break or offline. A call at hand goes on."""
    return await _set_state(asker.id, given, asker, deps, response)


@router.put(
    "/agents/{id}/state",
    response_model=AgentStateAnswer,
    responses={202: {"model": AgentStateAnswer, "description": "On record, not yet applied"}},
    summary="Set an agent's state",
)
async def set_agent_state(
    id: AgentId, given: AgentStateRequest, asker: Asker, deps: Deps, response: Response
) -> AgentStateAnswer:
    """Set the state of an agent: the agent themselves, supervisors of one of their queues, and
    administrators may."""
    return await _set_state(id, given, asker, deps, response)


@router.delete("/agents/me/wrap-up", status_code=204, summary="End my wrap-up")
async def end_my_wrap_up(asker: Asker, deps: Deps) -> None:
    """End my wrap-up before its time; without one nothing happens."""
    async with reading(deps.engine) as session:
        queues = await load_agent_queues(session, asker.id)
    access_agent_state(asker, asker.id, queues or None)
    command = acd.WrapUpEnded(agent=asker.id)
    await deps.redis.xadd(deps.keys.acd_journal, _commands.fields(command))  # type: ignore[arg-type]

    def over(state: LiveState) -> bool:
        view = state.agents.get(asker.id)
        return view is None or view.activity != "wrap-up"

    # The live view tells the outcome; the wait spares the person a state that is about to change.
    await deps.hub.wait_until(over, _APPLY_SECONDS)


async def _set_state(
    agent: str, given: AgentStateRequest, asker: Viewer, deps: Deps, response: Response
) -> AgentStateAnswer:
    async with reading(deps.engine) as session:
        queues = await load_agent_queues(session, agent)
    access_agent_state(asker, agent, queues or None)
    command = acd.SetAgentState(agent=agent, state=given.state, reason=given.reason)
    await deps.redis.xadd(deps.keys.acd_journal, _commands.fields(command))  # type: ignore[arg-type]

    def applied(state: LiveState) -> bool:
        view = state.agents.get(agent)
        return view is not None and view.chosen == given.state and view.reason == given.reason

    in_effect = await deps.hub.wait_until(applied, _APPLY_SECONDS)
    if not in_effect:
        response.status_code = 202
    view = deps.hub.state.agents.get(agent)
    return AgentStateAnswer(
        agent=agent,
        state=given.state,
        reason=given.reason,
        applied=in_effect,
        view=None if view is None else agent_view(view),
    )
