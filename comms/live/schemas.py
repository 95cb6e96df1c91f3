"""Messages of the live views over Socket.IO (path `/socket.io/`, default namespace).

The client connects with `auth: {"token": <bearer token>}`. The server sends

* `snapshot` with a `Snapshot`: once after connecting, after each `resync`, and unasked when it
  could not keep up with a slow client or the person's permissions changed. It replaces everything.
* `event` with an `Event`: `seq` is one more than that of the message before it, be that a
  snapshot or an event. On a gap the client sends `resync` (no data) and ignores events until the
  next snapshot.
* `session_over` with a `SessionOver`, then the server disconnects. The client must log in again.

Applying an event to a snapshot is replacing by id:

* `work`: put the item into `waiting` of its queue, replacing one with the same `id`; if another
  queue held that id, a `work_closed` with outcome `moved` came before.
* `work_closed`: take the item out of `waiting` of that queue.
* `agent`, `queue`: replace the facts; a new queue starts with an empty `waiting`.
* `agent_removed`, `queue_removed`: take it out.
* `call`: replace by id; state `ended` takes it out.

The position of waiting work is its index, from 1, in `waiting` sorted by `rank` and then `id`.
Times are UTC with zone (ISO 8601), durations are seconds. Lists in a snapshot are sorted: queues
and agents by name and id, waiting work by place.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["citizen", "staff", "agent", "supervisor", "administrator"]
Media = Literal["voice", "chat", "video", "callback"]
ChosenState = Literal["available", "break", "offline"]
AgentActivity = Literal["offline", "available", "break", "offered", "busy", "wrap-up"]
Language = Literal["de", "en"]


class LiveModel(BaseModel):
    """Immutable; every field is present in what the server sends, `null` where unknown."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", json_schema_serialization_defaults_required=True
    )


class PersonBrief(LiveModel):
    """A person as others see them."""

    id: str = Field(examples=["anna.schmidt"])
    name: str = Field(examples=["Anna Schmidt"])
    extension: str | None = Field(default=None, examples=["201"])


class LiveWork(LiveModel):
    """Something that waits in a queue."""

    id: str
    queue: str = Field(examples=["buergertelefon"])
    media: Media
    #: `waiting`, or `offered` while it rings at agents and keeps its place
    state: Literal["waiting", "offered"]
    #: when it joined; kept through overflow and refused offers
    since: datetime
    #: sort key of its place, lower is served first
    rank: tuple[float, float]
    #: the caller's number, null when unknown or hidden from this person
    number: str | None = None
    #: ids of the agents it rings at
    agents: tuple[str, ...] = ()


class QueueFacts(LiveModel):
    """A queue's own facts; counters run since local midnight."""

    name: str = Field(examples=["zentrale"])
    title: dict[str, str] = Field(
        description="language -> title", examples=[{"de": "Telefonzentrale", "en": "Switchboard"}]
    )
    #: the internal number that reaches it
    number: str | None = Field(default=None, examples=["160"])
    open: bool
    offered: int
    answered: int
    abandoned: int
    #: answered within `service_level_seconds`
    answered_in_time: int
    service_level_seconds: float
    #: mean and 90th percentile of today's answered waiting times in seconds
    wait_mean: float | None = None
    wait_p90: float | None = None
    #: this person is an agent of it
    member: bool
    #: this person supervises it
    supervised: bool
    #: callers' numbers are shown to this person
    numbers_visible: bool


class LiveQueue(QueueFacts):
    """A queue with who waits in it, in serving order."""

    waiting: tuple[LiveWork, ...] = ()


class LiveAgent(LiveModel):
    """An agent as colleagues of the same queue and supervisors see them."""

    id: str = Field(examples=["anna.schmidt"])
    name: str = Field(examples=["Anna Schmidt"])
    extension: str | None = Field(default=None, examples=["201"])
    activity: AgentActivity
    #: what the agent chose; `activity` says what they do
    chosen: ChosenState
    #: when the activity began
    since: datetime
    #: whether any of their devices is registered
    reachable: bool
    queues: tuple[str, ...] = ()
    #: reason of a break
    reason: str | None = None
    #: id of the work they are offered, serve or wrap up
    work: str | None = None
    #: calls outside of queues
    engaged: int = 0
    #: end of the wrap-up
    until: datetime | None = None


class LiveCall(LiveModel):
    """One of this person's own calls."""

    id: str
    direction: Literal["internal", "inbound", "outbound"]
    state: Literal["ringing", "queued", "talking", "held", "ended"]
    since: datetime
    from_number: str | None = None
    to_number: str | None = None
    queue: str | None = None
    from_person: PersonBrief | None = None
    to_person: PersonBrief | None = None
    #: why it ended, see CallItem.cause of the API
    cause: str | None = None


class Me(LiveModel):
    """The person that is logged in."""

    id: str = Field(examples=["anna.schmidt"])
    name: str = Field(examples=["Anna Schmidt"])
    extension: str | None = Field(default=None, examples=["201"])
    language: Language
    roles: tuple[Role, ...]
    #: queues the person is an agent of
    queues: tuple[str, ...] = ()
    #: queues the person supervises
    supervises: tuple[str, ...] = ()


class Snapshot(LiveModel):
    """Everything this person may see, at one moment."""

    seq: int
    #: the server's clock, so that the page can show waiting times against its own clock
    now: datetime
    me: Me
    #: false while the queue role has published nothing new for some seconds
    queues_current: bool = True
    queues: tuple[LiveQueue, ...] = ()
    agents: tuple[LiveAgent, ...] = ()
    calls: tuple[LiveCall, ...] = ()


class WorkClosed(LiveModel):
    """Work that waits no longer in this queue."""

    id: str
    queue: str
    #: `answered`: an agent has it; `moved`: it waits in another queue now
    outcome: Literal["answered", "abandoned", "transferred", "menu", "failed", "rejected", "moved"]


class Removed(LiveModel):
    """A queue or an agent that is gone."""

    id: str


class WorkEvent(LiveModel):
    """Work waits, or what is known of it changed."""

    seq: int
    type: Literal["work"] = "work"
    data: LiveWork


class WorkClosedEvent(LiveModel):
    """Work left its queue's line."""

    seq: int
    type: Literal["work_closed"] = "work_closed"
    data: WorkClosed


class AgentEvent(LiveModel):
    """An agent's new state."""

    seq: int
    type: Literal["agent"] = "agent"
    data: LiveAgent


class AgentRemovedEvent(LiveModel):
    """An agent is no longer configured."""

    seq: int
    type: Literal["agent_removed"] = "agent_removed"
    data: Removed


class QueueEvent(LiveModel):
    """A queue's new facts."""

    seq: int
    type: Literal["queue"] = "queue"
    data: QueueFacts


class QueueRemovedEvent(LiveModel):
    """A queue is no longer configured."""

    seq: int
    type: Literal["queue_removed"] = "queue_removed"
    data: Removed


class CallEvent(LiveModel):
    """One of this person's own calls changed."""

    seq: int
    type: Literal["call"] = "call"
    data: LiveCall


class Currency(LiveModel):
    """Whether what is shown of queues is up to date."""

    current: bool


class CurrencyEvent(LiveModel):
    """The queue role stopped answering, or answers again; calls keep waiting in their order."""

    seq: int
    type: Literal["queues_current"] = "queues_current"
    data: Currency


Event = Annotated[
    WorkEvent
    | WorkClosedEvent
    | AgentEvent
    | AgentRemovedEvent
    | QueueEvent
    | QueueRemovedEvent
    | CallEvent
    | CurrencyEvent,
    Field(discriminator="type"),
]


class SessionOver(LiveModel):
    """The session ended; sent before the server disconnects."""

    reason: Literal["logged-out", "expired", "revoked"]


class ConnectAuth(LiveModel):
    """What the client gives on connecting; refused with the connect error `not-authenticated`."""

    token: str = Field(max_length=200)


class LiveMessages(LiveModel):
    """All messages by their Socket.IO event name; exists for the generated types."""

    connect_auth: ConnectAuth
    snapshot: Snapshot
    event: Event
    session_over: SessionOver
