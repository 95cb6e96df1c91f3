"""A queue engine with a virtual clock, and a live view that follows its events."""

from __future__ import annotations

from typing import Any, TypeVar

from acd.engine import Engine
from comms.bus.acd import (
    AgentChanged,
    AgentConfig,
    AgentRemoved,
    AgentView,
    Command,
    Configure,
    Event,
    Membership,
    OfferAccepted,
    OfferEnded,
    OfferMade,
    QueueChanged,
    QueueConfig,
    QueueRemoved,
    QueueView,
    SetAgentState,
    SetReachable,
    Tick,
    WorkArrived,
    WorkChanged,
    WorkClosed,
    WorkView,
)

#: Wednesday 2026-03-04, 10:00 in Berlin.
BEGIN = 1772614800.0

E = TypeVar("E")


class LiveView:
    """What a wallboard knows: a snapshot, then events."""

    def __init__(self) -> None:
        self.works: dict[str, WorkView] = {}
        self.agents: dict[str, AgentView] = {}
        self.queues: dict[str, QueueView] = {}

    def take(self, events: list[Event]) -> None:
        """Follow some events."""
        for event in events:
            if isinstance(event, WorkChanged):
                self.works[event.view.work] = event.view
            elif isinstance(event, WorkClosed):
                self.works.pop(event.work, None)
            elif isinstance(event, AgentChanged):
                self.agents[event.view.agent] = event.view
            elif isinstance(event, AgentRemoved):
                del self.agents[event.agent]
            elif isinstance(event, QueueChanged):
                self.queues[event.view.queue] = event.view
            elif isinstance(event, QueueRemoved):
                del self.queues[event.queue]

    def shows(self, engine: Engine) -> bool:
        """Return whether it shows what a fresh snapshot of the engine shows."""
        works, agents, queues = Engine.restore(engine.snapshot()).views()
        return (
            self.works == {v.work: v for v in works}
            and self.agents == {v.agent: v for v in agents}
            and self.queues == {v.queue: v for v in queues}
        )


class Desk:
    """Gives an engine commands on a virtual clock and follows what comes of them."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.now = BEGIN
        self.view = LiveView()
        self.events: list[Event] = []
        #: offers that ring, by agent
        self.ringing: dict[str, OfferMade] = {}
        #: every command with its time, for a replay
        self.journal: list[tuple[Command, float]] = []

    def tell(self, command: Command, at: float | None = None) -> list[Event]:
        """Apply a command now and return its events."""
        if at is not None:
            self.now = at
        self.journal.append((command, self.now))
        events = self.engine.apply(command, self.now)
        self.events += events
        self.view.take(events)
        for event in events:
            if isinstance(event, OfferMade):
                self.ringing[event.agent] = event
            elif isinstance(event, OfferEnded):
                self.ringing.pop(event.agent, None)
        return events

    def pass_time(self, seconds: float) -> list[Event]:
        """Let time pass; timers are ticked when they fall due, as the leader does."""
        end = self.now + seconds
        events: list[Event] = []
        while (due := self.engine.next_timer()) is not None and due <= end:
            events += self.tell(Tick(), max(due, self.now))
        self.now = end
        return events

    def on_duty(self, *agents: str) -> list[Event]:
        """Bring agents to work: a registered phone, and available, in this order."""
        events: list[Event] = []
        for agent in agents:
            events += self.tell(SetReachable(agent, True))
            events += self.tell(SetAgentState(agent, "available"))
        return events

    def arrive(self, work: str, queue: str = "zentrale", **more: Any) -> list[Event]:
        """Let work arrive."""
        return self.tell(WorkArrived(work, queue, owner="sip-1", **more))

    def accept(self, agent: str) -> list[Event]:
        """Let an agent accept the offer that rings."""
        return self.tell(OfferAccepted(self.ringing[agent].offer))

    def activity(self, agent: str) -> str:
        """Return what the live view shows of an agent."""
        return self.view.agents[agent].activity


def only(events: list[Event], kind: type[E]) -> list[E]:
    """Return the events of one kind."""
    return [e for e in events if isinstance(e, kind)]


def agent(name: str, *queues: str | Membership, **more: Any) -> AgentConfig:
    """Return an agent of some queues."""
    members = tuple(Membership(q) if isinstance(q, str) else q for q in queues)
    return AgentConfig(name, name.title(), queues=members, **more)


def desk(*agents: AgentConfig, queues: tuple[QueueConfig, ...] = ()) -> Desk:
    """Return a desk with these agents, and one queue `zentrale` unless others are given."""
    made = Desk()
    made.tell(Configure(queues or (QueueConfig("zentrale"),), agents))
    return made
