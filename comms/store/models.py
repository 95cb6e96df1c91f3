"""The tables.

Points in time are UTC epoch seconds as double, so that SQLite and PostgreSQL order and compare
them alike; durations are seconds. Names of constraints are fixed, because error messages are
chosen by them (`comms.store.engine.violated`).
"""

from __future__ import annotations

from typing import Any, Literal

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

TrunkKind = Literal["address", "register"]
TrunkTransport = Literal["udp", "tcp", "tls"]


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 (SQLAlchemy reads it from the class)
        float: Double(),
        dict[str, Any]: JSON(),
        list[str]: JSON(),
        dict[str, int]: JSON(),
    }


class Person(Base):
    """Somebody the house knows: staff, an agent, a supervisor, an administrator, a citizen."""

    __tablename__ = "people"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(120))
    #: also a row of `numbers`, which keeps it unique among people, queues and services
    extension: Mapped[str | None] = mapped_column(String(8), unique=True)
    #: sorted role names
    roles: Mapped[list[str]]
    language: Mapped[str] = mapped_column(String(8), default="de")
    email: Mapped[str | None] = mapped_column(String(254))
    password_hash: Mapped[str | None] = mapped_column(String(255))
    #: skill -> level
    skills: Mapped[dict[str, int]] = mapped_column(default=dict)


class Supervision(Base):
    """Who supervises which queue."""

    __tablename__ = "supervisions"

    person: Mapped[str] = mapped_column(
        ForeignKey("people.id", ondelete="CASCADE"), primary_key=True
    )
    queue: Mapped[str] = mapped_column(
        ForeignKey("queues.name", ondelete="CASCADE"), primary_key=True, index=True
    )


class Device(Base):
    """A SIP account. Only digest hashes (RFC 7616 section 3.4.2) of the password are kept."""

    __tablename__ = "devices"

    user: Mapped[str] = mapped_column("sip_user", String(64), primary_key=True)
    person: Mapped[str | None] = mapped_column(
        ForeignKey("people.id", ondelete="SET NULL"), index=True
    )
    ha1_md5: Mapped[str] = mapped_column(String(32))
    ha1_sha256: Mapped[str] = mapped_column(String(64))
    behind_nat: Mapped[bool] = mapped_column(Boolean, default=False)
    site_number: Mapped[str | None] = mapped_column(String(16))


class Number(Base):
    """An internal number: the one place that keeps all of them apart."""

    __tablename__ = "numbers"
    __table_args__ = (
        # The checks in `comms.people.checks` explain it; this one holds for every other writer.
        CheckConstraint(
            "number NOT LIKE '110%' AND number NOT LIKE '112%'", name="not_an_emergency_number"
        ),
    )

    number: Mapped[str] = mapped_column(String(8), primary_key=True)
    #: `person`, `queue`, `echo`, `announcement`
    kind: Mapped[str] = mapped_column(String(16))
    target: Mapped[str] = mapped_column(String(64))


class Trunk(Base):
    """A way to the public network, see `comms.directory.Trunk`."""

    __tablename__ = "trunks"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    host: Mapped[str] = mapped_column(String(253))
    port: Mapped[int] = mapped_column(Integer)
    transport: Mapped[str] = mapped_column(String(8), default="udp")
    allowed: Mapped[list[str]] = mapped_column(default=list)
    domain: Mapped[str] = mapped_column(String(253), default="")
    user: Mapped[str] = mapped_column("sip_user", String(64), default="")
    #: in clear, because a trunk's provider may ask for any digest algorithm
    password: Mapped[str] = mapped_column(String(255), default="")
    main_number: Mapped[str] = mapped_column(String(16), default="")
    position: Mapped[int] = mapped_column(Integer, default=1)


class Queue(Base):
    """A queue: the rules the decision engine takes and what callers hear."""

    __tablename__ = "queues"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    number: Mapped[str] = mapped_column(String(8), unique=True)
    language: Mapped[str] = mapped_column(String(8), default="de")
    #: `comms.bus.acd.QueueConfig` as JSON
    rules: Mapped[dict[str, Any]]
    #: greeting, menu and announcements of `comms.directory.CallQueue`
    calls: Mapped[dict[str, Any]]


class Membership(Base):
    """An agent's place in a queue."""

    __tablename__ = "memberships"

    queue: Mapped[str] = mapped_column(
        ForeignKey("queues.name", ondelete="CASCADE"), primary_key=True
    )
    person: Mapped[str] = mapped_column(
        ForeignKey("people.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    tier: Mapped[int] = mapped_column(Integer, default=1)
    position: Mapped[int] = mapped_column(Integer, default=1)
    #: share of the offers under the strategy `random`
    weight: Mapped[int] = mapped_column(Integer, default=1)


class CallRecord(Base):
    """One call, see `comms.bus.records.CallRecord`.

    People and queues are kept by id without foreign key: a record outlives both.
    """

    __tablename__ = "call_records"
    __table_args__ = (
        Index("ix_call_records_started", "started", "call_id"),
        Index("ix_call_records_queue_started", "queue", "started", "call_id"),
        Index("ix_call_records_from_person_started", "from_person", "started"),
        Index("ix_call_records_to_person_started", "to_person", "started"),
        Index("ix_call_records_agent_started", "agent", "started"),
        Index("ix_call_records_ended", "ended"),
    )

    call: Mapped[str] = mapped_column("call_id", String(128), primary_key=True)
    direction: Mapped[str] = mapped_column(String(16))
    from_number: Mapped[str | None] = mapped_column(String(64))
    to_number: Mapped[str | None] = mapped_column(String(64))
    from_person: Mapped[str | None] = mapped_column(String(64))
    to_person: Mapped[str | None] = mapped_column(String(64))
    started: Mapped[float]
    answered: Mapped[float | None]
    ended: Mapped[float]
    ended_by: Mapped[str] = mapped_column(String(16))
    cause: Mapped[str] = mapped_column(String(32))
    queue: Mapped[str | None] = mapped_column(String(40))
    agent: Mapped[str | None] = mapped_column(String(64))
    waiting: Mapped[float | None]
    ringing: Mapped[float | None]
    talking: Mapped[float | None]
    wrap_up: Mapped[float | None]
    #: outside numbers were shortened by the retention job
    shortened: Mapped[bool] = mapped_column(Boolean, default=False)


class CallLeg(Base):
    """One leg of a call, see `comms.bus.records.LegRecord`."""

    __tablename__ = "call_legs"

    call: Mapped[str] = mapped_column(
        "call_id", ForeignKey("call_records.call_id", ondelete="CASCADE"), primary_key=True
    )
    leg: Mapped[str] = mapped_column(String(128), primary_key=True)
    #: order within the call, from 0
    position: Mapped[int] = mapped_column(Integer)
    role: Mapped[str] = mapped_column(String(8))
    person: Mapped[str | None] = mapped_column(String(64))
    device: Mapped[str | None] = mapped_column(String(64))
    number: Mapped[str | None] = mapped_column(String(64))
    started: Mapped[float]
    answered: Mapped[float | None]
    ended: Mapped[float]
    status: Mapped[int | None] = mapped_column(Integer)
    packets: Mapped[int] = mapped_column(Integer, default=0)
    lost: Mapped[int] = mapped_column(Integer, default=0)
    jitter_ms: Mapped[float | None]


class WrapUp(Base):
    """The length of one wrap-up.

    The queue role tells it when it ends, telephony tells the record when the call ends; either may
    come first. A call that went through several queues is several pieces of work.
    """

    __tablename__ = "wrap_ups"

    work: Mapped[str] = mapped_column("work_id", String(140), primary_key=True)
    agent: Mapped[str] = mapped_column(String(64), primary_key=True)
    call: Mapped[str] = mapped_column("call_id", String(128), index=True)
    seconds: Mapped[float]
    at: Mapped[float] = mapped_column(index=True)


class Session(Base):
    """A log-in. Only the SHA-256 of the bearer token is kept."""

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    person: Mapped[str] = mapped_column(ForeignKey("people.id", ondelete="CASCADE"), index=True)
    created: Mapped[float]
    expires: Mapped[float] = mapped_column(index=True)


class Audit(Base):
    """Who changed what. Details carry ids and counts, never numbers, names or texts."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    at: Mapped[float] = mapped_column(index=True)
    #: person id, or `system`
    actor: Mapped[str] = mapped_column(String(64))
    #: e.g. `person.created`
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(String(128), default="")
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)


class IdempotencyKey(Base):
    """An answer that a repeated request gets again."""

    __tablename__ = "idempotency_keys"

    person: Mapped[str] = mapped_column(
        ForeignKey("people.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column("request_key", String(128), primary_key=True)
    #: SHA-256 of method, path and body
    request: Mapped[str] = mapped_column(String(64))
    answer: Mapped[str] = mapped_column(Text)
    created: Mapped[float] = mapped_column(index=True)


class Setting(Base):
    """One house setting as JSON, see `comms.store.house.House`."""

    __tablename__ = "house_settings"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[Any] = mapped_column(JSON)
