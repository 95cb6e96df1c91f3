"""A call machine in a made-up city hall: what it was told to do is kept, nothing is sent."""

from __future__ import annotations

import itertools
from typing import TypeVar

from comms.bus import acd
from comms.directory import CallQueue, Device, Directory, MenuKey, Number, Person, Trunk
from sip.call import dialplan, model
from sip.call.machine import CallMachine
from sip.core.flow import Flow

A = TypeVar("A")

FLOW = Flow("udp", ("127.0.0.1", 5060), ("127.0.0.1", 40000))
PHONE_SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio {port} RTP/AVP {formats}\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:9 G722/8000\r\n"
    "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na={direction}\r\n"
)


def sdp(port: int = 4000, formats: str = "9 8 0 101", direction: str = "sendrecv") -> str:
    """What a phone sends."""
    return PHONE_SDP.format(port=port, formats=formats, direction=direction)


def musterstadt() -> Directory:
    """A small directory with two agents, an official, a queue and two trunks."""
    users = {
        "201": "anna.schmidt",
        "202": "mehmet.yilmaz",
        "2021": "mehmet.yilmaz",
        "241": "kim.lee",
    }
    devices = {user: Device(user, person, "", "") for user, person in users.items()}
    devices["300"] = Device("300", None, "", "")
    people = {
        person: Person(
            id=person,
            name=person.replace(".", " ").title(),
            extension=next(u for u, p in users.items() if p == person),
            devices=tuple(u for u, p in users.items() if p == person),
            agent=person != "kim.lee",
        )
        for person in set(users.values())
    }
    numbers = {p.extension: Number(p.extension, "person", p.id) for p in people.values()}
    numbers["150"] = Number("150", "queue", "buergertelefon")
    numbers["170"] = Number("170", "queue", "kfz")
    numbers["160"] = Number("160", "queue", "zentrale")
    numbers["199"] = Number("199", "echo", "")
    menu = (MenuKey("1", "buergertelefon", "menu-noted"), MenuKey("2", "kfz", "menu-noted"))
    queues = {
        "buergertelefon": CallQueue(
            "buergertelefon", "150", "Bürgertelefon", menu_prompt="menu", menu=menu
        ),
        "kfz": CallQueue("kfz", "170", "Kfz-Zulassung"),
        "zentrale": CallQueue("zentrale", "160", "Zentrale"),
    }
    trunk = {"kind": "address", "host": "127.0.0.1", "port": 5070}
    return Directory(
        domain="musterstadt.example",
        devices=devices,
        people=people,
        numbers=numbers,
        queues=queues,
        trunks=(Trunk(name="one", **trunk), Trunk(name="two", **trunk)),  # type: ignore[arg-type]
        head_number="+492214710",
        main_extension="160",
        area_code="221",
    )


class City:
    """The surroundings of a call: who is registered, how long prompts are."""

    worker = "sip-1"
    ring_seconds = 60.0

    def __init__(self) -> None:
        self.directory = musterstadt()
        self.registered = {"anna.schmidt", "mehmet.yilmaz", "kim.lee"}
        self.trunks_up = {"one", "two"}
        self._numbers = itertools.count(1)

    def token(self) -> str:
        return f"t{next(self._numbers)}"

    def devices(self, person: str) -> list[model.Target]:
        if person not in self.registered:
            return []
        entry = self.directory.people[person]
        return [
            model.Target(FLOW, f"sip:{user}@127.0.0.1:40000", person, user, entry.extension)
            for user in entry.devices
        ]

    def trunk(self, name: str, number: str) -> model.Target | None:
        if name not in self.trunks_up:
            return None
        found = next(t for t in self.directory.trunks if t.name == name)
        return model.Target(FLOW, f"sip:{number}@127.0.0.1:5070", number=number, trunk=found)

    def duration(self, prompt: str, language: str) -> float:
        return 3.0


class Driver:
    """One call, driven by hand. `now` is virtual and only moves by `wait`."""

    def __init__(self, city: City | None = None) -> None:
        self.city = city or City()
        self.now = 1_000.0
        self.done: list[model.Action] = []
        self.machine: CallMachine

    def call(
        self, to: str, *, by: str | None = "241", offer: str | None = "", outside: bool = False
    ) -> Driver:
        """A phone of the house (or the public network) calls `to`; the engine answers at once."""
        directory = self.city.directory
        device = directory.devices[by] if by and not outside else None
        if outside:
            route = dialplan.route_from_trunk(to, directory)
        else:
            route = dialplan.route_from_device(to, device, directory)
        call = model.Call(
            id="c1",
            direction="inbound" if outside else "internal",
            started=self.now,
            media=model.Media("c1"),
            a="a",
            from_number="+49301234" if outside else by,
            to_number=to,
            from_person=device.person if device else None,
        )
        person = device.person if device else None
        call.legs["a"] = model.Leg("a", "caller", self.now, person=person, device=by)
        self.machine = CallMachine(call, self.city)
        self.tell(model.Invited("a", sdp(4000) if offer == "" else offer, route))
        if self.last(model.OpenMedia) is not None:
            self.media()
        return self

    def originate(self, to: str, by: str = "kim.lee") -> Driver:
        """Kim Lee clicks on a number."""
        media = model.Media("c1")
        call = model.Call("c1", "internal", self.now, media, from_number="241", from_person=by)
        self.machine = CallMachine(call, self.city)
        self.tell(model.Originated(by, to))
        return self.media()

    def media(self, engine: str = "media-1", port: int = 20000) -> Driver:
        """The engine opened the session."""
        return self.tell(model.MediaReady(engine, ("127.0.0.1", port), ("127.0.0.1", port + 2)))

    def tell(self, event: model.Event) -> Driver:
        self.done += self.machine.handle(event, self.now)
        return self

    def wait(self, seconds: float) -> Driver:
        """Let time pass, timer by timer."""
        until = self.now + seconds
        while (due := self.machine.next_timer()) is not None and due <= until:
            self.now = max(due, self.now)
            for name in self.machine.due(self.now):
                self.tell(model.TimerDue(name))
        self.now = until
        return self

    def all(self, kind: type[A]) -> list[A]:
        return [action for action in self.done if isinstance(action, kind)]

    def last(self, kind: type[A]) -> A | None:
        found = self.all(kind)
        return found[-1] if found else None

    def only(self, kind: type[A]) -> A:
        (action,) = self.all(kind)
        return action

    def told(self, kind: type[A]) -> list[A]:
        """Commands for the queue role."""
        return [t.command for t in self.all(model.Tell) if isinstance(t.command, kind)]

    def rung(self, user: str | None = None) -> str:
        """The newest leg that rings at a device (or at a trunk)."""
        legs = [i.leg for i in self.all(model.Invite) if i.target.device == user]
        return legs[-1]

    def offer(self, agent: str = "anna.schmidt", offer: str = "o1") -> Driver:
        """The queue role offers the call to an agent."""
        work, queue = self.machine.call.work, self.machine.call.queue
        assert work is not None
        assert queue is not None
        made = acd.OfferMade(offer, work, queue, agent, "sip-1", 15.0)
        return self.tell(model.QueueSaid(made))

    def assign(self, agent: str = "anna.schmidt", offer: str = "o1") -> Driver:
        """The queue role assigns the call."""
        assert self.machine.call.work is not None
        assigned = acd.WorkAssigned(offer, self.machine.call.work, agent, "sip-1")
        return self.tell(model.QueueSaid(assigned))

    @property
    def record(self):  # type: ignore[no-untyped-def]
        return self.only(model.Finish).record
