"""Who may see or do what. Pure: decided from the person who asks and what they ask for.

| | citizen | staff | agent | supervisor | administrator |
|---|---|---|---|---|---|
| own calls, own history, dial | no | yes | yes | yes | yes |
| queues: titles and figures | no | no | all | all | all |
| queues: who waits, numbers | no | no | own | supervised | all |
| agents | no | self | of own queues | of supervised queues | all |
| set an agent's state | no | no | self | of supervised queues | all |
| history of a queue's calls | no | no | no | supervised | all |
| people, devices, numbers, queues, house | no | no | no | no | yes |

Roles add up: a supervisor who is also an agent may what either may. What a person may not know of
is `NotFound`; what they may know of but not do is `NotPermitted`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from comms.problems import NotFound, NotPermitted

_HOUSE = frozenset({"staff", "agent", "supervisor", "administrator"})


@dataclass(frozen=True, slots=True)
class Viewer:
    """The person who asks."""

    id: str
    name: str
    extension: str | None
    language: str
    roles: frozenset[str]
    #: queues the person is an agent of
    member_of: frozenset[str] = frozenset()
    #: queues the person supervises
    supervises: frozenset[str] = frozenset()

    @property
    def administrator(self) -> bool:
        """May do everything."""
        return "administrator" in self.roles

    @property
    def agent(self) -> bool:
        """Takes work from queues."""
        return "agent" in self.roles

    @property
    def supervised(self) -> frozenset[str]:
        """Queues whose agents and calls the person may see and steer; administrators: see below."""
        return self.supervises if "supervisor" in self.roles else frozenset()

    @property
    def own_queues(self) -> frozenset[str]:
        """Queues the person serves."""
        return self.member_of if self.agent else frozenset()


@dataclass(frozen=True, slots=True)
class CallScope:
    """Which calls of the history somebody may see."""

    #: all calls of the house
    all: bool
    #: calls this person took part in
    person: str
    #: calls of these queues
    queues: frozenset[str]


def sees_queue(viewer: Viewer, queue: str) -> bool:
    """Whether the person may know of the queue and its figures."""
    return viewer.administrator or viewer.agent or bool(viewer.supervised)


def sees_waiting(viewer: Viewer, queue: str) -> bool:
    """Whether the person may see who waits in the queue, with numbers."""
    return viewer.administrator or queue in viewer.own_queues or queue in viewer.supervised


def sees_agent(viewer: Viewer, agent: str, queues: Collection[str]) -> bool:
    """Whether the person may see what an agent of these queues does."""
    if viewer.administrator or (agent == viewer.id and viewer.agent):
        return True
    return any(q in viewer.own_queues or q in viewer.supervised for q in queues)


def steers_agent(viewer: Viewer, agent: str, queues: Collection[str]) -> bool:
    """Whether the person may set the state of an agent of these queues."""
    if viewer.administrator or (agent == viewer.id and viewer.agent):
        return True
    return any(q in viewer.supervised for q in queues)


def access_queue(viewer: Viewer, queue: str, exists: bool) -> None:
    """Let the person see the queue.

    Raises:
        NotFound: it does not exist, or they may not know.
    """
    if not exists or not sees_queue(viewer, queue):
        raise NotFound(f"there is no queue {queue}")


def access_agent_state(viewer: Viewer, agent: str, queues: Collection[str] | None) -> None:
    """Let the person set the agent's state. `queues` are the agent's; None: nobody has that id.

    Raises:
        NotFound: there is no such agent, or they may not know.
        NotPermitted: they may see the agent but not set the state, or are no agent themselves.
    """
    if agent == viewer.id and (not viewer.agent or not queues):
        raise NotPermitted("you are not an agent of any queue")
    if queues is not None and steers_agent(viewer, agent, queues):
        return
    if queues is None or not sees_agent(viewer, agent, queues):
        raise NotFound(f"there is no agent {agent}")
    raise NotPermitted("only the agent and supervisors of the agent's queues may set the state")


def access_house(viewer: Viewer) -> None:
    """Let the person do what all who work in the house may: telephone, see their own calls.

    Raises:
        NotPermitted: they do not work here.
    """
    if not viewer.roles & _HOUSE:
        raise NotPermitted("only for people who work here")


def access_history(viewer: Viewer) -> CallScope:
    """Return which calls of the history the person may see.

    Raises:
        NotPermitted: none.
    """
    access_house(viewer)
    return CallScope(all=viewer.administrator, person=viewer.id, queues=viewer.supervised)


def access_queue_history(viewer: Viewer, queue: str) -> None:
    """Let the person list the calls of one queue.

    Raises:
        NotPermitted: they do not supervise it.
    """
    if not viewer.administrator and queue not in viewer.supervised:
        raise NotPermitted("only supervisors of the queue may see its calls")


def access_administration(viewer: Viewer) -> None:
    """Let the person administer people, devices, numbers, queues and the house.

    Raises:
        NotPermitted: they are no administrator.
    """
    if not viewer.administrator:
        raise NotPermitted("only for administrators")
