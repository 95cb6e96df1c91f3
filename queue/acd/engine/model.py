"""What the engine remembers. These records alone are the state; every index is built from them.

A snapshot is the encoded `State`. All mappings keep their order, which is part of the state: two
engines with equal `State` give equal events for equal commands.
"""

from __future__ import annotations

import bisect
from typing import Generic, TypeVar

import msgspec

from comms.bus.acd import AgentConfig, ChosenState, Media, QueueConfig

from .tables import AgentState, WorkStage

T = TypeVar("T")

#: Layout of `State`; a snapshot with another number is not read.
VERSION = 1
#: Ended offers and closed work that are remembered, to answer late commands about them.
REMEMBERED = 4096
#: Answered waiting times kept a queue and day for the percentile; beyond it every second is kept.
WAITS_KEPT = 16384


class Offer(msgspec.Struct, gc=False):
    """One agent rings for one piece of work."""

    id: str
    work: str
    queue: str
    agent: str
    owner: str
    made: float
    #: when the engine gives up
    due: float


class Work(msgspec.Struct, gc=False):
    """One piece of work, from its arrival to its end."""

    id: str
    #: the queue it waits in, or was answered from
    queue: str
    media: Media
    owner: str
    #: its own priority; the queue's is added
    priority: int
    #: its own requirements; the queue's are added
    skills: dict[str, int]
    number: str | None
    preferred: str | None
    #: when it joined, as shown and counted
    since: float
    #: place in the order of all work ever seen; lower came earlier
    seniority: int
    #: when it came into the present queue
    entered: float
    state: WorkStage = "waiting"
    #: queues it has been in; overflow never goes back
    visited: list[str] = []
    #: agents asked -> how often they pass it over before they are asked again; last asked last
    asked: dict[str, int] = {}
    #: how often each agent was asked
    times: dict[str, int] = {}
    #: ids of the offers that ring
    offers: list[str] = []
    #: who has it
    agent: str | None = None
    answered: float = 0.0
    rang: float = 0.0


class Agent(msgspec.Struct, gc=False):
    """One configured agent."""

    id: str
    config: AgentConfig
    state: AgentState = "offline"
    chosen: ChosenState = "offline"
    reason: str | None = None
    #: since when `state` (and the reason) holds
    since: float = 0.0
    #: since when there has been nothing to do; an offer that came to nothing does not change it
    idle_since: float = 0.0
    #: no offers before this moment
    rest_until: float = 0.0
    #: offers missed in a row
    missed: int = 0
    offer: str | None = None
    work: str | None = None
    #: work whose wrap-up runs, and its span
    wrapping: str | None = None
    wrap_from: float = 0.0
    wrap_until: float = 0.0
    #: counted since local midnight
    calls: int = 0
    talked: float = 0.0


class QueueDay(msgspec.Struct, gc=False):
    """What a queue counted since local midnight, and what its strategy remembers."""

    #: number of the local day that is counted
    day: int = 0
    open: bool = True
    offered: int = 0
    answered: int = 0
    abandoned: int = 0
    in_time: int = 0
    #: sum and sorted values of the answered waiting times, in seconds
    waited: float = 0.0
    waits: list[float] = []
    #: round-robin: tier -> (position, agent) asked last
    turn: dict[int, tuple[int, str]] = {}

    def reset(self, day: int) -> bool:
        """Begin a new day; return whether anything shown has changed."""
        changed = bool(self.offered or self.answered or self.abandoned)
        self.day = day
        self.offered = self.answered = self.abandoned = self.in_time = 0
        self.waited = 0.0
        self.waits = []
        return changed

    def count_answer(self, waited: float, in_time: bool) -> None:
        """Count one answered piece of work that waited so many seconds."""
        self.answered += 1
        self.in_time += in_time
        self.waited += waited
        bisect.insort(self.waits, waited)
        if len(self.waits) > WAITS_KEPT:
            # Every second value of a sorted list keeps its percentiles.
            self.waits = self.waits[::2]

    def mean(self) -> float | None:
        """Return today's mean waiting time of answered work."""
        return round(self.waited / self.answered, 3) if self.answered else None

    def percentile(self, percent: int) -> float | None:
        """Return the waiting time that so many percent of the answered work did not exceed."""
        if not self.waits:
            return None
        rank = -(-len(self.waits) * percent // 100)
        return self.waits[max(rank, 1) - 1]


class GoneOffer(msgspec.Struct, frozen=True, gc=False):
    """An offer that is over, kept to answer a late word about it."""

    work: str
    agent: str
    owner: str
    accepted: bool


class GoneWork(msgspec.Struct, frozen=True, gc=False):
    """Work that is closed, kept so that the same work keeps its place when it comes back."""

    outcome: str
    since: float
    seniority: int


class Memory(msgspec.Struct, Generic[T]):
    """The last things that ended, in two generations so that forgetting costs nothing."""

    new: dict[str, T] = {}
    old: dict[str, T] = {}

    def put(self, key: str, value: T) -> None:
        """Remember one; the older generation is forgotten when the newer one is full."""
        if len(self.new) >= REMEMBERED // 2:
            self.old, self.new = self.new, {}
        self.new[key] = value

    def get(self, key: str) -> T | None:
        """Return what is remembered of it."""
        return self.new.get(key) or self.old.get(key)


class State(msgspec.Struct):
    """Everything."""

    version: int = VERSION
    now: float = 0.0
    configs: dict[str, QueueConfig] = {}
    days: dict[str, QueueDay] = {}
    agents: dict[str, Agent] = {}
    works: dict[str, Work] = {}
    offers: dict[str, Offer] = {}
    gone_offers: Memory[GoneOffer] = msgspec.field(default_factory=Memory)
    gone_works: Memory[GoneWork] = msgspec.field(default_factory=Memory)
    #: people with a registered device, and calls outside of queues; whether configured or not
    reachable: dict[str, bool] = {}
    engaged: dict[str, int] = {}
    #: number of the local day that the agents' counters belong to
    day: int = 0
    arrivals: int = 0
    offered: int = 0
