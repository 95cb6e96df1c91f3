"""What the HTTP API takes and answers.

Times are ISO 8601 in UTC with zone, durations are seconds, outside numbers are E.164.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from comms.bus.acd import Hours, Overflow, Strategy
from comms.live.schemas import (
    ChosenState,
    Language,
    LiveAgent,
    LiveModel,
    LiveWork,
    Me,
    PersonBrief,
    QueueFacts,
    Role,
)

__all__ = ["Hours", "LiveAgent", "Me", "Overflow", "PersonBrief", "Role"]

PersonId = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]+(?:[._-][a-z0-9]+)*$", max_length=64),
    Field(examples=["anna.schmidt"]),
]
QueueName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9-]*$", max_length=40),
    Field(examples=["zentrale"]),
]
Extension = Annotated[str, StringConstraints(pattern=r"^[0-9]{2,8}$"), Field(examples=["201"])]
SipUser = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$"), Field(examples=["201"])
]
E164 = Annotated[
    str, StringConstraints(pattern=r"^\+[1-9][0-9]{1,14}$"), Field(examples=["+492214710201"])
]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=120)]
Level = Annotated[int, Field(ge=1, le=100)]
Skills = Annotated[dict[str, Level], Field(max_length=50, examples=[{"de": 5, "kfz": 3}])]


class Given(BaseModel):
    """A request's body; unknown fields are refused, so that a typing error is not overlooked."""

    model_config = ConfigDict(extra="forbid")


# --- problems ---------------------------------------------------------------------------------


class FieldError(LiveModel):
    """One field that was refused."""

    field: str = Field(examples=["body.extension"])
    code: str = Field(examples=["emergency-number"])
    message: str


class Problem(BaseModel):
    """An error (RFC 9457). `type` is stable; a program decides by it and never by the texts."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:comms:problem:not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str | None = None
    errors: list[FieldError] | None = None


# --- session ----------------------------------------------------------------------------------


class LoginRequest(Given):
    """Name and password."""

    user: str = Field(min_length=1, max_length=128, examples=["anna.schmidt"])
    password: str = Field(min_length=1, max_length=256, examples=["demo-201"])


class LoginAnswer(LiveModel):
    """The bearer token is shown once; the server keeps only its hash."""

    token: str
    expires_at: datetime
    person: Me


class MeAnswer(Me):
    """The logged-in person with their state as an agent, null for others."""

    agent: LiveAgent | None = None
    session_expires_at: datetime


class AgentStateRequest(Given):
    """The state an agent chooses."""

    state: ChosenState
    reason: str | None = Field(default=None, max_length=80, examples=["lunch"])


class AgentStateAnswer(LiveModel):
    """What was asked for, and the agent as known now (null before the queue role answered)."""

    agent: str
    state: ChosenState
    reason: str | None = None
    #: true (status 200): in effect; false (status 202): on record, the queue role will apply it
    applied: bool
    view: LiveAgent | None = None


# --- queues -----------------------------------------------------------------------------------


class QueueItem(QueueFacts):
    """A queue in the list."""

    waiting_count: int
    longest_waiting_since: datetime | None = None


class QueueList(LiveModel):
    """The queues this person may see."""

    items: tuple[QueueItem, ...]


class WaitingItem(LiveWork):
    """Waiting work with its place, from 1."""

    position: int


class QueueDetail(QueueItem):
    """A queue with who waits and who serves."""

    waiting: tuple[WaitingItem, ...] = ()
    agents: tuple[LiveAgent, ...] = ()


# --- calls ------------------------------------------------------------------------------------


class CallRequest(Given):
    """Call this number; the person's own phone rings first."""

    to: str = Field(
        min_length=1,
        max_length=32,
        pattern=r"^\+?[0-9][0-9 ()/.-]*$",
        examples=["202", "+49221471050"],
    )


class CallAccepted(LiveModel):
    """The call is on its way; follow it by its id."""

    call: str
    to: str


Cause = Literal[
    "completed",
    "abandoned",
    "cancelled",
    "busy",
    "declined",
    "no-answer",
    "unreachable",
    "unknown-number",
    "not-permitted",
    "closed",
    "queue-full",
    "media-lost",
    "phone-lost",
    "max-duration",
    "overload",
    "failed",
]


class CallItem(LiveModel):
    """One call of the history."""

    id: str
    direction: Literal["internal", "inbound", "outbound"]
    from_number: str | None = None
    to_number: str | None = None
    from_person: PersonBrief | None = None
    to_person: PersonBrief | None = None
    started: datetime
    answered: datetime | None = None
    ended: datetime
    ended_by: Literal["caller", "callee", "system", "queue"]
    cause: Cause
    queue: str | None = None
    #: the agent that took it from the queue
    agent: PersonBrief | None = None
    #: seconds in the queue, ringing at the agent who answered, in conversation, wrapping up
    waiting: float | None = None
    ringing: float | None = None
    talking: float | None = None
    wrap_up: float | None = None


class CallPage(LiveModel):
    """Calls, newest first. `next` continues after the last one; null at the end."""

    items: tuple[CallItem, ...]
    next: str | None = None


class CallLeg(LiveModel):
    """One device's part in a call."""

    id: str
    role: Literal["caller", "callee"]
    person: PersonBrief | None = None
    device: str | None = None
    number: str | None = None
    started: datetime
    answered: datetime | None = None
    ended: datetime
    #: SIP status that ended it before it was answered
    status: int | None = None
    #: RTP packets received from it, lost on the way, and mean jitter in milliseconds
    packets: int
    lost: int
    jitter_ms: float | None = None


class CallDetail(CallItem):
    """A call with its legs."""

    legs: tuple[CallLeg, ...] = ()


# --- administration ---------------------------------------------------------------------------


class PersonGiven(Given):
    """A person to write. A missing password leaves the one there is."""

    name: Name
    extension: Extension | None = None
    roles: list[Role] = Field(default=["staff"], min_length=1, max_length=5)
    language: Language = "de"
    email: str | None = Field(default=None, max_length=254, pattern=r"^[^@\s]+@[^@\s]+$")
    password: str | None = Field(default=None, min_length=8, max_length=256)
    skills: Skills = {}
    #: queues this person supervises
    supervises: list[QueueName] = Field(default=[], max_length=500)


class PersonNew(PersonGiven):
    """A person to create."""

    id: PersonId


class PersonItem(LiveModel):
    """A person as administrators see them."""

    id: str
    name: str
    extension: str | None = None
    roles: tuple[Role, ...]
    language: Language
    email: str | None = None
    has_password: bool
    skills: dict[str, int]
    supervises: tuple[str, ...]
    devices: tuple[str, ...]


class PersonPage(LiveModel):
    """People by id. `next` continues after the last one."""

    items: tuple[PersonItem, ...]
    next: str | None = None


class DeviceGiven(Given):
    """A SIP account to write. A missing password leaves the one there is."""

    person: PersonId | None = None
    password: str | None = Field(default=None, min_length=8, max_length=128)
    behind_nat: bool = False
    #: number of the site that emergency calls show
    site_number: E164 | None = None


class DeviceNew(DeviceGiven):
    """A SIP account to create; without a password one is made and shown once."""

    user: SipUser


class DeviceItem(LiveModel):
    """A SIP account."""

    user: str
    person: str | None = None
    behind_nat: bool
    site_number: str | None = None
    #: how many contacts are registered now
    registered: int = 0


class DeviceCreated(DeviceItem):
    """A new SIP account with its password, which is not shown again."""

    password: str


class DevicePage(LiveModel):
    """Devices by SIP user."""

    items: tuple[DeviceItem, ...]
    next: str | None = None


class NumberGiven(Given):
    """What an internal number stands for. People and queues bring their own numbers."""

    kind: Literal["person", "queue", "echo", "announcement"]
    #: person id, queue name or prompt name; empty for `echo`
    target: str = Field(default="", max_length=64)


class NumberNew(NumberGiven):
    """A number to create."""

    number: Extension


class NumberItem(LiveModel):
    """An internal number."""

    number: str
    kind: Literal["person", "queue", "echo", "announcement"]
    target: str


class NumberPage(LiveModel):
    """Numbers in their order."""

    items: tuple[NumberItem, ...]
    next: str | None = None


class MenuKeyModel(Given):
    """What a key of the menu does."""

    key: str = Field(pattern=r"^[0-9*#]$")
    queue: QueueName
    prompt: str = Field(max_length=64)


class MembershipModel(Given):
    """An agent's place in a queue; lower tiers are asked first, position orders within a tier."""

    person: PersonId
    tier: int = Field(default=1, ge=1, le=100)
    position: int = Field(default=1, ge=1, le=10_000)
    #: share of the offers under the strategy `random`
    weight: int = Field(default=1, ge=1, le=1000)


class RelaxModel(Given):
    """After so many seconds of waiting a skill is needed at this level at most, 0: not at all."""

    skill: str = Field(min_length=1, max_length=40)
    after: float = Field(ge=0, le=86_400)
    level: int = Field(default=0, ge=0, le=100)


class QueueGiven(Given):
    """A queue to write: its rules, what callers hear, and its agents."""

    title: dict[Language, Name] = Field(min_length=1)
    number: Extension
    language: Language = "de"
    strategy: Strategy = "longest-idle"
    offer_timeout: float = Field(default=15.0, ge=1, le=300)
    wrap_up: float = Field(default=10.0, ge=0, le=3600)
    priority: int = Field(default=0, ge=-1000, le=1000)
    skills: Skills = {}
    max_waiting: int | None = Field(default=None, ge=0, le=100_000)
    missed_offers_limit: int = Field(default=3, ge=1, le=100)
    service_level_seconds: float = Field(default=30.0, ge=1, le=3600)
    hours: dict[str, Any] | None = Field(
        default=None,
        description="`timezone`, `weekly` (7 lists of [open, close) in minutes), `holidays` "
        "(ISO 3166-2 subdivision), `exceptions` (date -> intervals)",
        examples=[{"timezone": "Europe/Berlin", "holidays": "NW", "weekly": [[[480, 1080]]] * 7}],
    )
    overflow: list[dict[str, Any]] = Field(
        default=[],
        max_length=10,
        description="`to` (queue), `after` (seconds) and/or `longer_than` (waiting calls)",
        examples=[[{"to": "zentrale", "after": 120}]],
    )
    #: how long an agent gets no offer after one that was declined or missed
    refusal_pause: float = Field(default=2.0, ge=0, le=600)
    relax: list[RelaxModel] = Field(default=[], max_length=50)
    greeting: str = Field(default="greeting", max_length=64)
    menu_prompt: str | None = Field(default=None, max_length=64)
    menu: list[MenuKeyModel] = Field(default=[], max_length=12)
    announce_position: bool = True
    announce_every: float = Field(default=45.0, ge=10, le=3600)
    members: list[MembershipModel] = Field(default=[], max_length=10_000)


class QueueNew(QueueGiven):
    """A queue to create."""

    name: QueueName


class QueueConfigItem(LiveModel):
    """A queue's configuration as administrators see it."""

    name: str
    title: dict[str, str]
    number: str
    language: Language
    strategy: Strategy
    offer_timeout: float
    wrap_up: float
    priority: int
    skills: dict[str, int]
    max_waiting: int | None = None
    missed_offers_limit: int
    service_level_seconds: float
    hours: dict[str, Any] | None = None
    overflow: tuple[dict[str, Any], ...] = ()
    refusal_pause: float
    relax: tuple[RelaxModel, ...] = ()
    greeting: str
    menu_prompt: str | None = None
    menu: tuple[MenuKeyModel, ...] = ()
    announce_position: bool
    announce_every: float
    members: tuple[MembershipModel, ...] = ()


class QueueConfigPage(LiveModel):
    """Configured queues by name."""

    items: tuple[QueueConfigItem, ...]
    next: str | None = None


class HouseSettings(Given):
    """What holds for the whole house."""

    #: SIP domain and realm of the devices' passwords; fixed once devices exist
    domain: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)
    head_number: str = Field(default="", pattern=r"^(\+[1-9][0-9]{1,14})?$")
    main_extension: str = Field(default="", pattern=r"^[0-9]{0,8}$")
    outside_prefix: str = Field(default="0", pattern=r"^[0-9]{1,3}$")
    country_code: str = Field(default="49", pattern=r"^[1-9][0-9]{0,2}$")
    area_code: str = Field(default="", pattern=r"^[0-9]{0,6}$")
    max_call_seconds: float = Field(default=14_400.0, ge=60, le=86_400)
    #: call records are deleted after so many days; null: as the settings file says
    retention_days: int | None = Field(default=None, ge=1, le=3650)
    #: outside numbers lose their last three digits after so many days; null keeps them
    shorten_numbers_after_days: int | None = Field(default=None, ge=0, le=3650)


# --- health -----------------------------------------------------------------------------------


class Health(LiveModel):
    """Whether this process lives."""

    status: Literal["ok"] = "ok"


class Check(LiveModel):
    """One thing the web role needs."""

    name: str = Field(examples=["database"])
    ok: bool
    detail: str | None = None


class Ready(LiveModel):
    """Whether this process can serve; status 503 when `ok` is false."""

    ok: bool
    checks: tuple[Check, ...]
