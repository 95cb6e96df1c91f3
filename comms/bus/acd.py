"""What the roles say to the queue role, and what it answers.

Commands go into the journal (a Redis stream). The id of a journal entry gives the command its
time, so that a replay sees the same clock. Events come out of the decision engine and are
published by the queue role. Both are plain data: `comms` owns them so that `sip` and `acd`
need not know each other.

Times are UTC epoch seconds as float; durations are seconds.

`gc=False`: the messages are frozen trees without cycles, so the garbage collector need not know
them; with thousands of pieces of work in memory that keeps its pauses short.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Media = Literal["voice", "chat", "video", "callback"]
Strategy = Literal[
    "ring-all",
    "longest-idle",
    "fewest-calls",
    "least-talk-time",
    "round-robin",
    "linear",
    "random",
    "sequential",
]
ChosenState = Literal["available", "break", "offline"]
AgentActivity = Literal["offline", "available", "break", "offered", "busy", "wrap-up"]
RefusalReason = Literal["declined", "no-answer", "busy", "unreachable", "failed"]
LeaveReason = Literal["abandoned", "transferred", "menu", "failed"]
WorkState = Literal["waiting", "offered", "assigned"]


class Hours(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """When a queue is open, in local time of `timezone`."""

    timezone: str = "Europe/Berlin"
    #: weekday 0 (Monday) to 6, each with intervals of minutes after midnight [open, close)
    weekly: tuple[tuple[tuple[int, int], ...], ...] = (((0, 1440),),) * 7
    #: ISO 3166-2 subdivision whose public holidays close the queue, e.g. "NW"; None: none do
    holidays: str | None = None
    #: local date (YYYY-MM-DD) -> intervals of that day instead of the weekly ones; () is closed
    exceptions: dict[str, tuple[tuple[int, int], ...]] = {}


class Overflow(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Send work elsewhere when it waits too long or the queue is too long."""

    to: str
    after: float | None = None
    longer_than: int | None = None


class Relax(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """After so many seconds of waiting, a skill is needed at this level at most (0: not at all)."""

    skill: str
    after: float
    level: int = 0


class QueueConfig(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The rules of one queue."""

    name: str
    title: dict[str, str] = {}
    strategy: Strategy = "longest-idle"
    #: how long one agent's device rings before the work goes to the next one
    offer_timeout: float = 15.0
    wrap_up: float = 10.0
    #: added to each work's priority on arrival; higher is served first
    priority: int = 0
    #: skill -> least level every agent of this queue needs for its work
    skills: dict[str, int] = {}
    max_waiting: int | None = None
    #: after so many offers missed in a row an agent is set to `break` with reason `missed-offers`
    missed_offers_limit: int = 3
    hours: Hours | None = None
    overflow: tuple[Overflow, ...] = ()
    #: answered within this many seconds counts for the service level
    service_level_seconds: float = 30.0
    #: how long an agent gets no offer after one that was declined or missed
    refusal_pause: float = 2.0
    #: how skill requirements soften while work waits
    relax: tuple[Relax, ...] = ()


class Membership(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An agent's place in a queue. Lower tiers are asked first; position orders within a tier."""

    queue: str
    tier: int = 1
    position: int = 1
    #: share of the offers under the strategy `random`
    weight: int = 1


class AgentConfig(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One person who can take work."""

    agent: str
    name: str = ""
    extension: str = ""
    queues: tuple[Membership, ...] = ()
    skills: dict[str, int] = {}


# --- commands ---------------------------------------------------------------------------------


class Configure(msgspec.Struct, frozen=True, gc=False, tag="configure"):
    """Replace the whole configuration. Work and agents that remain keep their state."""

    queues: tuple[QueueConfig, ...]
    agents: tuple[AgentConfig, ...]


class WorkArrived(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="work-arrived"):
    """Work joins a queue. A repeated arrival of the same `work` changes nothing."""

    work: str
    queue: str
    media: Media = "voice"
    #: the role instance that holds the work and acts on its offers, e.g. "sip-1"
    owner: str = ""
    priority: int = 0
    skills: dict[str, int] = {}
    #: shown to people who may see numbers; never logged
    number: str | None = None
    preferred_agent: str | None = None
    #: closed work of the same person (left through the menu, transferred, answered), whose place
    #: in time this one keeps
    continues: str | None = None


class WorkLeft(msgspec.Struct, frozen=True, gc=False, tag="work-left"):
    """Work leaves before it was answered."""

    work: str
    reason: LeaveReason = "abandoned"


class OfferAccepted(msgspec.Struct, frozen=True, gc=False, tag="offer-accepted"):
    """The agent took the work (the device answered)."""

    offer: str


class OfferRefused(msgspec.Struct, frozen=True, gc=False, tag="offer-refused"):
    """The offer came to nothing; the work goes back to its place."""

    offer: str
    reason: RefusalReason


class WorkEnded(msgspec.Struct, frozen=True, gc=False, tag="work-ended"):
    """The conversation is over; the agent's wrap-up begins."""

    work: str


class WrapUpEnded(msgspec.Struct, frozen=True, gc=False, tag="wrap-up-ended"):
    """The agent ends the wrap-up early."""

    agent: str


class SetAgentState(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="set-agent-state"
):
    """An agent (or a supervisor for them) chooses a state."""

    agent: str
    state: ChosenState
    reason: str | None = None


class SetReachable(msgspec.Struct, frozen=True, gc=False, tag="set-reachable"):
    """Whether any device of the agent is registered. Who is unreachable gets no offers."""

    agent: str
    reachable: bool


class SetEngaged(msgspec.Struct, frozen=True, gc=False, tag="set-engaged"):
    """How many calls the agent holds outside of queues. Above zero, no offers are made."""

    agent: str
    calls: int


class OwnerRestarted(msgspec.Struct, frozen=True, gc=False, tag="owner-restarted"):
    """A role instance came back and tells which work it still holds; the rest is closed as failed.

    Offers of that owner that are not in `offers` are refused as failed.
    """

    owner: str
    works: tuple[str, ...]
    offers: tuple[str, ...] = ()


class Tick(msgspec.Struct, frozen=True, gc=False, tag="tick"):
    """Time passed: written by the queue role when the engine's next timer is due."""


Command = (
    Configure
    | WorkArrived
    | WorkLeft
    | OfferAccepted
    | OfferRefused
    | WorkEnded
    | WrapUpEnded
    | SetAgentState
    | SetReachable
    | SetEngaged
    | OwnerRestarted
    | Tick
)


# --- events -----------------------------------------------------------------------------------


class WorkView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """All that a live view shows of one piece of work."""

    work: str
    queue: str
    media: Media
    state: WorkState
    #: when it joined; it keeps this through overflow and refused offers
    since: float
    #: sort key of its place: (-effective priority, seniority); lower is served first
    rank: tuple[float, float]
    owner: str = ""
    number: str | None = None
    agents: tuple[str, ...] = ()


class AgentView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """All that a live view shows of one agent."""

    agent: str
    name: str
    extension: str
    activity: AgentActivity
    chosen: ChosenState
    since: float
    reachable: bool
    queues: tuple[str, ...] = ()
    reason: str | None = None
    work: str | None = None
    engaged: int = 0
    #: end of the wrap-up, where there is one
    until: float | None = None


class QueueView(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A queue's own facts; who waits and who serves is in the work and agent views."""

    queue: str
    title: dict[str, str]
    open: bool
    #: counted since local midnight
    offered: int = 0
    answered: int = 0
    abandoned: int = 0
    #: answered within the service level's seconds
    answered_in_time: int = 0
    service_level_seconds: float = 30.0
    #: mean and 90th percentile of today's answered waiting times, None before the first answer
    wait_mean: float | None = None
    wait_p90: float | None = None


class WorkChanged(msgspec.Struct, frozen=True, gc=False, tag="work"):
    """The work's new state; live views replace what they had."""

    view: WorkView


class WorkClosed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="work-closed"):
    """The work is over for the queue, with the times for the call record."""

    work: str
    queue: str
    owner: str
    outcome: Literal["answered", "abandoned", "transferred", "menu", "failed", "rejected"]
    waited: float
    rang: float = 0.0
    talked: float = 0.0
    agent: str | None = None


class WorkRejected(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="work-rejected"):
    """The work was not let in. The owner plays an announcement or sends it elsewhere."""

    work: str
    queue: str
    owner: str
    reason: Literal["closed", "full", "unknown-queue"]


class WorkOverflowed(msgspec.Struct, frozen=True, gc=False, tag="work-overflowed"):
    """The work moved to another queue and kept its seniority."""

    work: str
    owner: str
    from_queue: str
    to_queue: str


class OfferMade(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="offer"):
    """Ring this agent for this work. Addressed to the work's owner."""

    offer: str
    work: str
    queue: str
    agent: str
    owner: str
    timeout: float


class OfferEnded(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="offer-ended"):
    """The offer is over. `withdrawn` and `timed-out` mean: stop ringing at once."""

    offer: str
    work: str
    agent: str
    owner: str
    outcome: Literal["accepted", "refused", "timed-out", "withdrawn"]
    reason: str | None = None


class WorkAssigned(msgspec.Struct, frozen=True, gc=False, tag="work-assigned"):
    """The accepted offer won. Addressed to the work's owner: connect the two."""

    offer: str
    work: str
    agent: str
    owner: str


class AgentChanged(msgspec.Struct, frozen=True, gc=False, tag="agent"):
    """The agent's new state; live views replace what they had."""

    view: AgentView


class AgentRemoved(msgspec.Struct, frozen=True, gc=False, tag="agent-removed"):
    """The agent is no longer configured."""

    agent: str


class QueueChanged(msgspec.Struct, frozen=True, gc=False, tag="queue"):
    """The queue's new facts; live views replace what they had."""

    view: QueueView


class QueueRemoved(msgspec.Struct, frozen=True, gc=False, tag="queue-removed"):
    """The queue is no longer configured."""

    queue: str


class WrapUpOver(msgspec.Struct, frozen=True, gc=False, tag="wrap-up-over"):
    """An agent's wrap-up after this work ended; its length goes into the call record."""

    work: str
    agent: str
    seconds: float


class Candidate(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One agent that was considered; `rejected` says why it was not chosen, None if it was."""

    agent: str
    key: tuple[float | str, ...] = ()
    rejected: str | None = None


class Decision(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag="decision"):
    """Why this work was offered to these agents."""

    work: str
    queue: str
    strategy: Strategy
    chosen: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    #: how many agents of the queue are not in `candidates`, which is bounded
    others: int = 0


Event = (
    WorkChanged
    | WorkClosed
    | WorkRejected
    | WorkOverflowed
    | OfferMade
    | OfferEnded
    | WorkAssigned
    | AgentChanged
    | AgentRemoved
    | QueueChanged
    | QueueRemoved
    | WrapUpOver
    | Decision
)
