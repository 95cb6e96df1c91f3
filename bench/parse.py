"""Microseconds of CPU in the SIP core: a parse, a registration, a call.

    python bench/parse.py [--profile]

Every figure is the 2 % quantile of many runs, so that other load on the machine disturbs little.
"""

from __future__ import annotations

import cProfile
import itertools
import pstats
import sys
import time
from collections.abc import Callable

from sip.core import digest
from sip.core.events import (
    LegAnswered,
    LegInvited,
    OutgoingInvite,
    Request,
    UaConfig,
)
from sip.core.flow import Flow
from sip.core.message import Request as RequestMessage
from sip.core.message import parse_message
from sip.core.ua import UserAgent

BODY = (
    b"v=0\r\no=- 3905 3905 IN IP4 192.0.2.10\r\ns=Softphone\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 9 8 0 101\r\na=rtpmap:9 G722/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"
    b"a=ptime:20\r\na=rtcp-xr:rcvr-rtt=all:10000 stat-summary=loss,dup,jitt,TTL voip-metrics\r\n"
    b"a=sendrecv\r\n"
)
INVITE = (
    b"INVITE sip:+492214710150@musterstadt.example SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-524287-1---abcdefabcdef;rport\r\n"
    b"Max-Forwards: 70\r\n"
    b"Contact: <sip:201@192.0.2.10:5060;transport=udp>\r\n"
    b"To: <sip:+492214710150@musterstadt.example>\r\n"
    b'From: "Anna Schmidt" <sip:201@musterstadt.example>;tag=8ad7f3\r\n'
    b"Call-ID: ZGI1NjQzYjY1NmQ5ZTVkNTU1YjQ\r\n"
    b"CSeq: 1 INVITE\r\n"
    b"Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, UPDATE, PRACK\r\n"
    b"Content-Type: application/sdp\r\n"
    b"Supported: replaces, timer, 100rel, norefersub, outbound, path\r\n"
    b"User-Agent: Softphone 5.6.1 rv2.10\r\n"
    b"Session-Expires: 1800;refresher=uac\r\n"
    b"Min-SE: 90\r\n"
    b"P-Preferred-Identity: <sip:201@musterstadt.example>\r\n"
    b"Route: <sip:proxy.musterstadt.example;lr>\r\n"
    b"Accept: application/sdp, application/dtmf-relay, text/plain\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
) + BODY

PHONE = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.10", 5060))
TRUNK = Flow("udp", ("192.0.2.1", 5060), ("192.0.2.20", 5060))


def best(work: Callable[[int], None], count: int) -> float:
    """Microseconds a unit takes when the machine is not busy with others: the 2 % quantile."""
    spent = []
    for number in range(count):
        start = time.perf_counter_ns()
        work(number)
        spent.append(time.perf_counter_ns() - start)
    spent.sort()
    return spent[count // 50] / 1000


def parse(_: int) -> None:
    """Parse an INVITE and read what every transaction needs."""
    message = parse_message(INVITE)
    _ = (message.from_tag, message.to_tag, message.via.branch, message.cseq, message.call_id)


class Registrations:
    """REGISTER with digest: two requests, two responses, and the account's check."""

    def __init__(self) -> None:
        tokens = itertools.count()
        self.agent = UserAgent(UaConfig(), lambda: f"{next(tokens):016x}")
        self.issuer = digest.NonceIssuer(b"key")
        self.replays = digest.ReplayTracker()
        self.secret = digest.ha1("201", "musterstadt.example", "demo-sip-201", "SHA-256")
        self.now = 1000.0

    def request(self, number: int, cseq: int, authorization: str) -> bytes:
        return (
            "REGISTER sip:musterstadt.example SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK-{number}-{cseq};rport\r\n"
            "Max-Forwards: 70\r\n"
            "Contact: <sip:201@192.0.2.10:5060;transport=udp>;expires=600\r\n"
            "To: <sip:201@musterstadt.example>\r\n"
            f"From: <sip:201@musterstadt.example>;tag=t{number}\r\n"
            f"Call-ID: reg-{number}\r\nCSeq: {cseq} REGISTER\r\n"
            f"User-Agent: Softphone 5.6.1\r\n{authorization}Content-Length: 0\r\n\r\n"
        ).encode()

    def prepare(self, number: int) -> tuple[bytes, bytes]:
        nonce = self.issuer.issue(self.now)
        value = digest.authorize(
            digest.challenges("musterstadt.example", nonce), "REGISTER",
            "sip:musterstadt.example", "201", "demo-sip-201", 1, "abcdef",
        )  # fmt: skip
        return self.request(number, 1, ""), self.request(number, 2, f"Authorization: {value}\r\n")

    def run(self, messages: tuple[bytes, bytes]) -> None:
        agent = self.agent
        self.now += 0.02
        first, second = messages
        # Without credentials the answer is always the same: no transaction for it.
        request = parse_message(first)
        assert isinstance(request, RequestMessage)
        agent.respond_stateless(request, PHONE, 401, self.challenge())
        agent.receive_data(second, PHONE, self.now)
        for event in agent.events():
            assert isinstance(event, Request)
            self.answer(event)
        assert len(agent.datagrams()) == 2
        agent.handle_timers(self.now)

    def challenge(self) -> list[tuple[str, str]]:
        nonce = self.issuer.issue(self.now)
        values = digest.challenges("musterstadt.example", nonce)
        return [("WWW-Authenticate", value) for value in values]

    def answer(self, event: Request) -> None:
        request = event.request
        value = request.get("Authorization")
        assert value is not None
        credentials = digest.Credentials.parse(value)
        assert credentials is not None
        assert self.issuer.check(credentials.nonce, self.now) == "fresh"
        assert digest.verify(credentials, "REGISTER", request.uri, self.secret)
        assert self.replays.accept(credentials.nonce, credentials.count) == "fresh"
        contact = request.contacts[0]
        _ = (request.to.parsed, contact.parsed)
        self.agent.respond(event.txn, 200, headers=[("Contact", f"{contact}")], now=self.now)


class Calls:
    """A back-to-back user agent's share of a plain call: both legs, 14 messages."""

    def __init__(self) -> None:
        tokens = itertools.count()
        self.agent = UserAgent(UaConfig(), lambda: f"{next(tokens):016x}")
        self.now = 1000.0

    def take(self) -> list[bytes]:
        return [data for _, data in self.agent.datagrams()]

    def run(self, number: int) -> None:
        agent = self.agent
        self.now = now = self.now + 0.01
        mark = str(number).encode()
        data = INVITE.replace(b"abcdefabcdef", mark).replace(b"YjQ", mark)
        agent.receive_data(data, PHONE, now)
        [invited] = agent.events()
        assert isinstance(invited, LegInvited)
        a, b = invited.leg, f"b{number}"
        order = OutgoingInvite(
            "sip:150@192.0.2.20", "<sip:150@192.0.2.20>", "<sip:201@192.0.2.1>", TRUNK, BODY
        )
        agent.invite(b, order, now=now)
        invite = next(data for data in self.take() if data.startswith(b"INVITE"))
        head = invite.split(b"\r\n\r\n")[0].split(b"\r\n")
        copied = b"\r\n".join(
            line + (b";tag=callee" if line.startswith(b"To") else b"")
            for line in head
            if line.split(b":")[0] in (b"Via", b"From", b"To", b"Call-ID", b"CSeq")
        )
        contact = b"\r\nContact: <sip:150@192.0.2.20>\r\nAllow: INVITE, UPDATE\r\n"
        ringing = b"SIP/2.0 180 Ringing\r\n" + copied + contact + b"Content-Length: 0\r\n\r\n"
        agent.receive_data(ringing, TRUNK, now)
        agent.events()
        agent.provisional(a, 180, now=now)
        answer = b"SIP/2.0 200 OK\r\n" + copied + contact + (
            b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n" % len(BODY)
        ) + BODY  # fmt: skip
        agent.receive_data(answer, TRUNK, now)
        [answered] = agent.events()
        assert isinstance(answered, LegAnswered)
        agent.accept(a, BODY, now=now)
        sent = self.take()
        response = next(d for d in sent if d.startswith(b"SIP/2.0 200"))
        to = next(line for line in response.split(b"\r\n") if line.startswith(b"To"))
        for method, cseq in ((b"ACK", b"1"), (b"BYE", b"2")):
            lines = [
                method + b" sip:192.0.2.1:5060 SIP/2.0",
                b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK" + method + mark + b";rport",
                b'From: "Anna Schmidt" <sip:201@musterstadt.example>;tag=8ad7f3',
                to,
                b"Call-ID: ZGI1NjQzYjY1NmQ5ZTVkNTU1" + mark,
                b"CSeq: " + cseq + b" " + method,
                b"Max-Forwards: 70",
                b"Content-Length: 0",
                b"",
                b"",
            ]
            agent.receive_data(b"\r\n".join(lines), PHONE, now)
        agent.events()
        agent.bye(b, now=now)
        bye = next(data for data in self.take() if data.startswith(b"BYE"))
        head = bye.split(b"\r\n\r\n")[0].split(b"\r\n")
        copied = b"\r\n".join(
            line
            for line in head
            if line.split(b":")[0] in (b"Via", b"From", b"To", b"Call-ID", b"CSeq")
        )
        agent.receive_data(
            b"SIP/2.0 200 OK\r\n" + copied + b"\r\nContent-Length: 0\r\n\r\n", TRUNK, now
        )
        agent.events()
        agent.handle_timers(now)
        assert a not in agent
        assert b not in agent


def main() -> None:
    """Print the figures."""
    registrations = Registrations()
    calls = Calls()
    if "--profile" in sys.argv:
        prepared = [registrations.prepare(number) for number in range(5000)]
        with cProfile.Profile() as profile:
            for messages in prepared:
                registrations.run(messages)
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
        with cProfile.Profile() as profile:
            for number in range(2000):
                calls.run(number)
        pstats.Stats(profile).sort_stats("tottime").print_stats(30)
        return
    print(f"parse an INVITE of {len(INVITE)} bytes   {best(parse, 10_000):8.1f} µs")
    count = 5000
    prepared = [registrations.prepare(number) for number in range(count)]
    micros = best(lambda number: registrations.run(prepared[number]), count)
    print(f"REGISTER with digest, whole      {micros:8.1f} µs")
    print(f"plain call, both legs            {best(calls.run, 2000):8.1f} µs")


if __name__ == "__main__":
    main()
