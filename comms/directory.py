"""What telephony needs to know of people, devices and numbers: a snapshot without database.

`comms.store.directory` loads it from SQL; the SIP role keeps one and replaces it when
`Keys.directory` is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

NumberKind = Literal["person", "queue", "echo", "announcement"]


@dataclass(frozen=True, slots=True)
class Device:
    """A SIP account of one device."""

    #: SIP user name and address of record, e.g. "201"
    user: str
    #: id of the person it belongs to, None for a shared desk that nobody has logged in to
    person: str | None
    #: RFC 7616 H(A1) in hex for the domain as realm
    ha1_md5: str
    ha1_sha256: str
    #: True: media may come from elsewhere than the SDP says (NAT), so the engine latches
    behind_nat: bool = False
    #: E.164 and address of the site, for emergency calls
    site_number: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a number."""

    id: str
    name: str
    extension: str
    devices: tuple[str, ...]
    language: str = "de"
    #: whether the person is an agent of any queue
    agent: bool = False


@dataclass(frozen=True, slots=True)
class Number:
    """What an internal number stands for."""

    number: str
    kind: NumberKind
    #: person id, queue name or prompt name
    target: str


@dataclass(frozen=True, slots=True)
class MenuKey:
    """What one key of a queue's menu does: route to a queue with a matter noted, or wait on."""

    key: str
    queue: str
    prompt: str


@dataclass(frozen=True, slots=True)
class CallQueue:
    """The telephony side of a queue: what the caller hears."""

    name: str
    number: str
    title: str
    greeting: str = "greeting"
    menu_prompt: str | None = None
    menu: tuple[MenuKey, ...] = ()
    announce_position: bool = True
    #: seconds between two announcements of the position
    announce_every: float = 45.0
    language: str = "de"


@dataclass(frozen=True, slots=True)
class Trunk:
    """A way to and from the public network."""

    name: str
    kind: Literal["address", "register"]
    #: where requests go to, e.g. "127.0.0.1", 5070
    host: str
    port: int
    transport: Literal["udp", "tcp", "tls"] = "udp"
    #: addresses whose requests are trusted as this trunk's, for kind "address" (and inbound of
    #: "register"); "127.0.0.1" or CIDR
    allowed: tuple[str, ...] = ()
    domain: str = ""
    user: str = ""
    password: str = ""
    #: main number in E.164 that a call shows when the caller has no direct number
    main_number: str = ""
    #: trunks of one prefix are tried in this order
    order: int = 1


@dataclass(frozen=True, slots=True)
class Directory:
    """Everything at one moment."""

    domain: str
    devices: Mapping[str, Device] = field(default_factory=dict)
    people: Mapping[str, Person] = field(default_factory=dict)
    numbers: Mapping[str, Number] = field(default_factory=dict)
    queues: Mapping[str, CallQueue] = field(default_factory=dict)
    trunks: tuple[Trunk, ...] = ()
    #: E.164 of the head number, e.g. "+492214710"; head + extension is the direct number
    head_number: str = ""
    #: extension that the head number followed by "0" reaches
    main_extension: str = ""
    #: dialled before an outside number
    outside_prefix: str = "0"
    #: country code that national numbers get, e.g. "49"
    country_code: str = "49"
    area_code: str = ""
    max_call_seconds: float = 4 * 3600.0
