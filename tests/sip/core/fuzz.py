"""Mutated input for every entry of the SIP core.

Only the documented exceptions may come out: `ParseError` of the parser and the framer, `SdpError`
of session descriptions, nothing at all of the user agent.

    python -m tests.sip.core.fuzz [--seconds 60] [--seed N]

A failure prints the seed of its round and the input; put the input into `crashers/`, which the
suite replays.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import msgspec
from torture import CASES

from sip.core import digest
from sip.core.body import sdp_of
from sip.core.errors import ParseError, SdpError, StateError
from sip.core.events import (
    LegAnswered,
    LegInvited,
    LegReinvited,
    LegRequest,
    OutgoingInvite,
    Request,
    UaConfig,
    UaEvent,
)
from sip.core.flow import Flow
from sip.core.framing import StreamFramer
from sip.core.leg import LegState
from sip.core.message import Request as RequestMessage
from sip.core.message import error_response, parse_message, response_for
from sip.core.offer_answer import TELEPHONY, Origin, answer, endpoint, with_endpoint
from sip.core.sdp import SessionDescription
from sip.core.ua import UserAgent
from sip.core.uri import NameAddr, parse_uri
from sip.core.validate import validate

CRASHERS = Path(__file__).parent / "crashers"
FLOW = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.2", 5060))
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 192.0.2.2\r\ns=-\r\nc=IN IP4 192.0.2.2\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
)
PIECES = [
    b"\r\n", b"\r\n ", b"\r", b"\n", b"\x00", b"\xff", b'"', b'\\"', b"<", b">", b";", b",", b"=",
    b"@", b":", b"%", b"%4", b"?", b" ", b"\t", b"[", b"]", b"[::1]", b"SIP/2.0", b"sip:", b"tel:",
    b"urn:service:sos", b";tag=", b";branch=z9hG4bK", b";rport", b";lr", b"99999999999999999999",
    b"-1", b"0", b"Via: ", b"v:", b"CSeq: 1 INVITE", b"Content-Length: 0", b"Content-Length: 5",
    b"Require: 100rel", b"Require: timer", b"Supported: timer,100rel", b"Session-Expires: 90",
    b"RAck: 1 1 INVITE", b"RSeq: 1", b"Contact: *", b"Contact: <sip:x>",
    b"Record-Route: <sip:p;lr>",
    b"INVITE", b"ACK", b"BYE", b"CANCEL", b"PRACK", b"UPDATE", b"REGISTER", b"\xc3\xa4", b"m=audio",
    b"Content-Type: application/sdp", b"Content-Type: multipart/mixed;boundary=x", b"--x", b"a=",
]  # fmt: skip


class Target:
    """A user agent in the middle of its work: legs in every state."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now = 1000.0
        self.agent = UserAgent(UaConfig(), lambda: f"{chance.getrandbits(64):016x}")
        #: what peers could send next: mutated or not
        self.seeds: list[bytes] = []
        self.responses: list[bytes] = []
        self._incoming("one", accept=False)
        self._incoming("two", accept=True)
        for leg in ("b1", "b2"):
            order = OutgoingInvite("sip:b@192.0.2.2", "<sip:b@b>", "<sip:a@a>", FLOW, SDP)
            self.agent.invite(leg, order, now=self.now)
        self._collect()

    def _incoming(self, name: str, *, accept: bool) -> None:
        data = (
            f"INVITE sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{name}"
            f"\r\nFrom: <sip:a@a>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: {name}\r\nCSeq: 1 INVITE\r\n"
            f"Contact: <sip:a@192.0.2.2>\r\nSupported: 100rel,timer\r\nContent-Type: "
            f"application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n"
        ).encode() + SDP
        self.seeds.append(data)
        self.agent.receive_data(data, FLOW, self.now)
        for event in self.agent.events():
            if isinstance(event, LegInvited) and accept:
                self.agent.accept(event.leg, SDP, now=self.now)
            elif isinstance(event, LegInvited):
                self.agent.provisional(event.leg, 183, sdp=SDP, reliable=True, now=self.now)

    def _collect(self) -> None:
        """Make what the peer would answer to what we send."""
        for _, data in self.agent.datagrams():
            with suppress(ParseError):
                message = parse_message(data)
                if isinstance(message, RequestMessage):
                    if message.method == "ACK":
                        continue
                    status = self.chance.choice(
                        (100, 180, 183, 183, 200, 200, 200, 200, 401, 422, 481, 486, 491)
                    )
                    headers = [("Contact", "<sip:b@192.0.2.2>")]
                    if status == 183:
                        headers += [("Require", "100rel"), ("RSeq", "5")]
                    self.responses.append(
                        response_for(
                            message,
                            status,
                            to_tag="peer",
                            headers=headers,
                            body=SDP,
                            content_type="application/sdp",
                        ).serialize()
                    )
                elif message.to_tag is not None:
                    for method in ("ACK", "BYE", "PRACK", "UPDATE", "INVITE", "INFO"):
                        number = self.chance.randint(1, 9)
                        request = RequestMessage(
                            method,
                            "sip:192.0.2.1",
                            [
                                ("Via", f"SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{len(self.seeds)}"),
                                ("From", message.get("From") or ""),
                                ("To", message.get("To") or ""),
                                ("Call-ID", message.call_id),
                                ("CSeq", f"{number} {method}"),
                                ("RAck", f"{message.get('RSeq') or 1} 1 INVITE"),
                                ("Contact", "<sip:a@192.0.2.2>"),
                                ("Content-Type", "application/sdp"),
                            ],
                            SDP if number % 2 else b"",
                        )
                        self.seeds.append(request.serialize())
        del self.seeds[: max(0, len(self.seeds) - 60)]
        del self.responses[: max(0, len(self.responses) - 30)]

    def feed(self, data: bytes) -> None:
        self.agent.receive_data(data, FLOW, self.now)
        self._react(self.agent.events())
        if self.chance.random() < 0.1:
            self.now += self.chance.choice((0.1, 0.1, 0.1, 0.5, 0.5, 0.5, 2.0, 4.0, 900.0))
            self.agent.handle_timers(self.now)
            self._react(self.agent.events())
        self._react(self.agent.events())
        self._collect()

    def _react(self, events: list[UaEvent]) -> None:
        agent, now = self.agent, self.now
        for event in events:
            with suppress(StateError):
                if isinstance(event, LegInvited):
                    self.chance.choice(
                        (
                            lambda leg: agent.accept(leg, SDP, now=now),
                            lambda leg: agent.reject(leg, 486, now=now),
                            lambda leg: agent.provisional(
                                leg, 183, sdp=SDP, reliable=True, now=now
                            ),
                            lambda leg: agent.provisional(leg, 180, now=now),
                        )
                    )(event.leg)
                elif isinstance(event, LegReinvited):
                    agent.accept_offer(event.leg, SDP, now=now)
                elif isinstance(event, Request | LegRequest):
                    agent.respond(event.txn, 200, now=now)
                elif isinstance(event, LegAnswered):
                    agent.reinvite(event.leg, self.chance.choice((SDP, None)), now=now)
        if self.chance.random() < 0.1 and agent.legs:
            leg = self.chance.choice(agent.legs)
            with suppress(StateError):
                self.chance.choice(
                    (
                        lambda: agent.bye(leg, now=now),
                        lambda: agent.cancel(leg, now=now),
                        lambda: agent.reinvite(leg, SDP, now=now),
                        lambda: agent.reinvite(leg, None, now=now),
                        lambda: agent.ack(leg, sdp=SDP, now=now),
                        lambda: agent.update(leg, None, now=now),
                        lambda: agent.update(leg, SDP, now=now),
                        lambda: agent.send(leg, "INFO", now=now),
                        self._replace_agent,
                        self._replace_agent,
                    )
                )()

    def _replace_agent(self) -> None:
        """Another process takes the legs over."""
        states = [msgspec.json.encode(self.agent.snapshot(leg)) for leg in self.agent.legs]
        self.agent = UserAgent(UaConfig(), self.agent._token)
        for state in states:
            self.agent.restore(msgspec.json.decode(state, type=LegState), self.now)

    def finish(self) -> None:
        """Whatever happened, hours later nothing is left but what the session timer holds."""
        for _ in range(400):
            timer = self.agent.next_timer()
            if timer is None:
                break
            self.now = max(self.now, timer)
            self.agent.handle_timers(self.now)
            self.agent.events()
            self.agent.datagrams()
        unanswered = len(self.agent._by_invite)
        ringing = sum(
            self.agent.snapshot(leg).role == "uac" and self.agent.snapshot(leg).invite is not None
            for leg in self.agent.legs
        )
        assert len(self.agent.layer) <= unanswered + ringing, "transactions that never end"


def mutate(chance: random.Random, data: bytes) -> bytes:
    """Change a message in one to four places."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        at = chance.randrange(len(out) + 1)
        end = min(len(out), at + chance.choice((0, 0, 1, 1, 3, 10, 60)))
        kind = chance.random()
        if kind < 0.5:
            out[at:end] = chance.choice(PIECES)
        elif kind < 0.65:
            del out[at:end]
        elif kind < 0.8:
            out[at:at] = out[at:end] * chance.choice((1, 2, 50))
        elif kind < 0.9 and at < len(out):
            out[at] = chance.randrange(256)
        else:
            lines = bytes(out).split(b"\r\n")
            one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
            lines[one], lines[two] = lines[two], lines[one]
            out = bytearray(b"\r\n".join(lines))
    return bytes(out)


def read_everything(data: bytes) -> None:
    """Every accessor on one input."""
    try:
        message = parse_message(data)
    except ParseError as error:
        answered = error_response(error)
        if answered is not None:
            parse_message(answered.serialize())
        return
    assert parse_message(message.serialize()).serialize() == message.serialize()
    for read in (
        lambda: message.via, lambda: message.cseq, lambda: message.call_id,
        lambda: message.to.parsed,
        lambda: message.from_tag, lambda: message.to_tag, lambda: message.from_.parsed,
        lambda: [contact.parsed for contact in message.contacts], lambda: sdp_of(message),
        lambda: message.get_int("Expires"), lambda: message.options("Supported"),
    ):  # fmt: skip
        with suppress(ParseError):
            read()
    msgspec.json.encode(message.items())
    for name, value in message.items():
        assert "\n" not in value
        with suppress(ParseError):
            message.get_all(name)
        with suppress(ParseError):
            again = NameAddr.parse(str(NameAddr.parse(value)))
            assert str(NameAddr.parse(str(again))) == str(again)
        with suppress(ParseError):
            text = str(parse_uri(value))
            assert str(parse_uri(text)) == text
        with suppress(ParseError):
            digest.parse_auth(value)
    if isinstance(message, RequestMessage):
        with suppress(ParseError):
            validate(message)
        with suppress(ParseError):
            message.note_source("192.0.2.9", 9)
            parse_message(message.serialize())
        with suppress(ParseError):
            parse_message(response_for(message, 200, to_tag="t").serialize())


def read_sdp(data: bytes) -> None:
    with suppress(SdpError):
        sdp = SessionDescription.parse(data)
        endpoint(sdp)
        moved = with_endpoint(sdp, "192.0.2.9", 2, Origin("1", 1))
        SessionDescription.parse(moved.serialize())
        answer(sdp, TELEPHONY, "192.0.2.9", 2, Origin("1", 1))


def read_stream(data: bytes) -> None:
    framer = StreamFramer()
    with suppress(ParseError):
        for start in range(0, len(data), 7):
            framer.feed(data[start : start + 7])


def check(data: bytes) -> None:
    """One input through everything that has no state."""
    read_everything(data)
    read_stream(data)
    read_sdp(data.partition(b"\r\n\r\n")[2])


def run_round(seed: int, steps: int = 60) -> None:
    """One user agent and some inputs; everything depends on the seed alone."""
    chance = random.Random(seed)
    target = Target(chance)
    data = b""
    try:
        for _ in range(steps):
            kind = chance.random()
            if kind < 0.35 and target.responses:
                data = chance.choice(target.responses[-6:])
            elif kind < 0.5:
                data = chance.choice(target.seeds[-10:])
            elif kind < 0.8:
                data = chance.choice(target.seeds)
            else:
                data = chance.choice(CASES).data
            if chance.random() < 0.6:
                data = mutate(chance, data)
            check(data)
            target.feed(data)
        data = b"(the end)"
        target.finish()
    except Exception:
        print(f"seed {seed}, input {data!r}", file=sys.stderr)
        raise


def main() -> None:
    """Run until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**40))
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    seed = options.seed
    while time.monotonic() < end:
        run_round(seed)
        seed += 1
    print(f"{seed - options.seed} rounds without a failure, from seed {options.seed}")


if __name__ == "__main__":
    main()
