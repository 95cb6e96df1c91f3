"""A UDP socket with a user agent on it, shared by any number of simulated phones.

The decisions are `sip.core.ua`'s; here are the socket, one timer, and awaitable calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import socket
import time
from collections.abc import Callable
from typing import Final, cast

from sip.core.errors import SdpError, StateError
from sip.core.events import (
    Answer,
    Event,
    Failed,
    LegAnswered,
    LegCancelled,
    LegConfirmed,
    LegEnded,
    LegFailed,
    LegInvited,
    LegProvisional,
    LegReinvited,
    LegRequest,
    OutgoingInvite,
    Txn,
    UaConfig,
)
from sip.core.events import Request as Requested
from sip.core.flow import Flow
from sip.core.message import Request, Response
from sip.core.offer_answer import Origin, answer, endpoint, offer
from sip.core.sdp import Codec, SessionDescription
from sip.core.ua import UserAgent
from sip.core.uri import SipUri
from sip.simphone.audio import SILENCE, Frames
from sip.simphone.rtp import Pacer, RtpPort

CODECS: Final = (Codec(8, "PCMA"), Codec(101, "telephone-event", fmtp="0-15"))
#: seconds between two attempts of an account that lost its registration
_RETRY: Final = (2.0, 5.0, 10.0, 20.0, 40.0)


class SimError(Exception):
    """A registration or call could not be made; `status` is the SIP status, 0 for no answer."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class SimCall:
    """One call of a simulated phone."""

    def __init__(self, endpoint: Endpoint, leg: str, audio: RtpPort, offer: bytes | None) -> None:
        self._endpoint = endpoint
        self._leg = leg
        self._offer = offer
        self._remote: tuple[str, int] | None = None
        self._voice: Frames = SILENCE
        self._keys_payload: int | None = None
        self._version = 1
        self._incoming = False
        self._up = False
        self._closed = False
        self.audio = audio
        #: number of the far end as the INVITE names it, for an incoming call
        self.caller = ""
        self.ringing = asyncio.Event()
        self.answered = asyncio.Event()
        self.ended = asyncio.Event()
        #: set when the far end is known to be a person and no longer an announcement
        self.person = asyncio.Event()
        #: SIP status that ended a call before its answer, 0 otherwise
        self.status = 0
        #: when it rang, was answered and ended, in seconds of `time.monotonic()`
        self.times: dict[str, float] = {"began": time.monotonic()}

    # --- orders ---

    def ring(self) -> None:
        """Tell the caller that it rings."""
        try:
            self._endpoint.ua.provisional(self._leg, 180, now=_now())
        except StateError:
            self._over(487)  # the caller gave up while the port was opened
        self._endpoint.drain()

    async def answer(self, voice: Frames, within: float = 10.0) -> bool:
        """Answer an incoming call and speak; False if it ended before it was acknowledged."""
        try:
            self._endpoint.ua.accept(self._leg, self._describe(self._offer), now=_now())
        except StateError:
            self._over(487)
            return False
        except SdpError:
            self.refuse(488)
            return False
        self.say(voice)
        self._endpoint.drain()
        return await self.until_answered(within)

    def refuse(self, status: int) -> None:
        """Refuse an incoming call that is not answered yet."""
        with contextlib.suppress(StateError):
            self._endpoint.ua.reject(self._leg, status, now=_now())
        self._endpoint.drain()
        self._over(status)

    def hang_up(self) -> None:
        """End the call, whatever state it is in."""
        if self.ended.is_set():
            return
        if self._incoming and not self._up:
            self.refuse(603)
            return
        try:
            if self._up:
                self._endpoint.ua.bye(self._leg, now=_now())
            else:
                self._endpoint.ua.cancel(self._leg, now=_now())
        except StateError:
            self._over(0)
        self._endpoint.drain()

    def say(self, voice: Frames) -> None:
        """Speak from now on."""
        self._voice = voice
        self.audio.send_to(self._remote, voice)

    def press(self, keys: str) -> None:
        """Press keys; nothing happens if the far end knows no RFC 4733."""
        if self._keys_payload is not None:
            self.audio.press(keys, self._keys_payload)

    async def until_answered(self, within: float) -> bool:
        """Wait for the answer (for an incoming call: its ACK); False if it ends or time is up."""
        return await self._until(self.answered, within)

    async def until_person(self, within: float) -> bool:
        """Wait until the far end is a person; False if the call ends or time is up."""
        return await self._until(self.person, within)

    async def until_ended(self, within: float) -> bool:
        """Wait for the call's end, at most so long; return whether it ended."""
        try:
            await asyncio.wait_for(self.ended.wait(), within)
        except TimeoutError:
            return False
        return True

    async def _until(self, event: asyncio.Event, within: float) -> bool:
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self.ended.wait())]
        try:
            await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return event.is_set()

    def close(self) -> None:
        """Close the call's port; called when it ended, too."""
        if not self._closed:
            self._closed = True
            self.audio.close()

    # --- what the user agent tells ---

    def take(self, event: Event) -> None:
        """React to an event of this call's leg."""
        match event:
            case LegProvisional(sdp=sdp):
                self._mark("rang")
                self.ringing.set()
                self._listen_to(sdp)
            case LegAnswered(sdp=sdp):
                self._up = True
                self._listen_to(sdp)
                self._mark("answered")
                self.answered.set()
            case LegConfirmed():
                self._up = True
                self._mark("answered")
                self.answered.set()
            case LegReinvited(sdp=sdp):
                self._reinvited(sdp)
            case LegRequest(txn=txn):
                self._endpoint.ua.respond(txn, 200, now=_now())
            case LegFailed(status=status):
                self._over(status)
            case LegCancelled():
                self._over(487)
            case LegEnded():
                self._over(0)

    def _reinvited(self, sdp: bytes | None) -> None:
        self._version += 1
        try:
            self._endpoint.ua.accept_offer(self._leg, self._describe(sdp), now=_now())
        except SdpError:
            self._endpoint.ua.reject_offer(self._leg, 488, now=_now())
            return
        self.audio.send_to(self._remote, self._voice)

    def _describe(self, theirs: bytes | None) -> bytes:
        """Return our answer to an offer, or our offer if there is none."""
        host, port = self.audio.address
        origin = Origin(str(port), self._version)
        if theirs is None:
            return offer(CODECS, host, port, origin).serialize()
        description = SessionDescription.parse(theirs)
        ours = answer(description, CODECS, host, port, origin)
        self._hear_from(description)
        return ours.serialize()

    def _listen_to(self, sdp: bytes | None) -> None:
        if sdp is None:
            return
        with contextlib.suppress(SdpError):
            self._hear_from(SessionDescription.parse(sdp))
        self.audio.send_to(self._remote, self._voice)

    def _hear_from(self, description: SessionDescription) -> None:
        end = endpoint(description)
        self._remote = None if end is None or end.held else (end.host, end.port)
        self._keys_payload = None if end is None else end.dtmf_payload

    def _mark(self, what: str) -> None:
        self.times.setdefault(what, time.monotonic())

    def _over(self, status: int) -> None:
        self.status = self.status or status
        self._mark("ended")
        self._endpoint.forget(self._leg)
        self.ended.set()
        self.close()


class Account:
    """A SIP account that registers and stays registered."""

    def __init__(
        self,
        endpoint: Endpoint,
        user: str,
        password: str,
        on_call: Callable[[SimCall], None],
        expires: int,
    ) -> None:
        self.user = user
        self.on_call = on_call
        self._endpoint = endpoint
        self._password = password
        self._expires = expires
        self._call_id = secrets.token_hex(12)
        self._sequence = 0
        self._keeping: asyncio.Task[None] | None = None
        self.registered = False

    async def register(self, within: float = 10.0) -> float:
        """Register, keep it up in the background, and return how long the answer took.

        Raises:
            SimError: refused, or no answer.
        """
        began = time.monotonic()
        granted = await self._send(self._expires, within)
        took = time.monotonic() - began
        self.registered = True
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep(granted))
        return took

    async def unregister(self) -> None:
        """Take the registration back.

        Raises:
            SimError: refused, or no answer.
        """
        if self._keeping is not None:
            self._keeping.cancel()
            self._keeping = None
        if self.registered:
            self.registered = False
            await self._send(0)

    async def _keep(self, granted: float) -> None:
        failures = 0
        while True:
            # a spread keeps hundreds of phones from registering in the same moment
            wait = granted * random.uniform(0.6, 0.85) if not failures else _RETRY[failures - 1]
            await asyncio.sleep(wait)
            try:
                granted = await self._send(self._expires)
                self.registered, failures = True, 0
            except SimError:
                self.registered, failures = False, min(failures + 1, len(_RETRY))

    async def _send(self, expires: int, within: float = 10.0) -> float:
        host, port = self._endpoint.address
        address = f"<sip:{self.user}@{self._endpoint.domain}>"
        contact = f"<sip:{self.user}@{host}:{port}>"
        self._sequence += 2  # the answer to a challenge takes the number between
        request = Request(
            "REGISTER",
            f"sip:{self._endpoint.domain}",
            [
                ("Max-Forwards", "70"),
                ("From", f"{address};tag={secrets.token_hex(6)}"),
                ("To", address),
                ("Call-ID", self._call_id),
                ("CSeq", f"{self._sequence} REGISTER"),
                ("Contact", contact),
                ("Expires", str(expires)),
            ],
        )
        response = await self._endpoint.request(request, (self.user, self._password), within)
        if response.status != 200:
            raise SimError(f"{response.status} {response.reason}", response.status)
        for binding in response.contacts:
            if str(binding.uri).startswith(f"sip:{self.user}@{host}:{port}"):
                given = binding.params.get("expires")
                if given is not None and given.isdecimal():
                    return float(given)
        return float(response.get_int("Expires") or self._expires)


class Endpoint(asyncio.DatagramProtocol):
    """The socket of many simulated phones and the user agent that serves them."""

    def __init__(self, server: tuple[str, int], domain: str) -> None:
        self.server = server
        #: SIP domain of the accounts
        self.domain = domain
        self.ua = UserAgent(
            UaConfig(user_agent="comms-simphone", session_expires=0), lambda: secrets.token_hex(9)
        )
        self.pacer = Pacer()
        self.address: tuple[str, int] = ("", 0)
        #: takes calls to numbers that are no account's; None refuses them
        self.on_other_call: Callable[[SimCall], None] | None = None
        #: answers requests that belong to no call
        self.on_request: Callable[[Requested], None] = self._answer_request
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.DatagramTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._accounts: dict[str, Account] = {}
        self._calls: dict[str, SimCall] = {}
        self._answers: dict[Txn, asyncio.Future[Response]] = {}
        self._openings: set[asyncio.Task[None]] = set()
        self._draining = False

    @classmethod
    async def open(
        cls,
        server: tuple[str, int],
        *,
        domain: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> Endpoint:
        """Open the socket on `port` (0: a free one); requests go to `server`.

        Raises:
            OSError: the port is in use.
        """
        loop = asyncio.get_running_loop()
        _, endpoint = await loop.create_datagram_endpoint(
            lambda: cls(server, domain or f"{server[0]}:{server[1]}"),
            local_addr=(host, port),
            family=socket.AF_INET,
        )
        return endpoint

    # --- orders ---

    def account(
        self, user: str, password: str, on_call: Callable[[SimCall], None], expires: int = 300
    ) -> Account:
        """Return an account whose calls go to `on_call`; it is not registered yet."""
        account = Account(self, user, password, on_call, expires)
        self._accounts[user] = account
        return account

    async def call(self, to: str, from_number: str, *, trunk: bool = True) -> SimCall:
        """Call a number as `from_number`; with `trunk` that is asserted, as a provider does."""
        audio = await RtpPort.open(self.pacer, secrets.randbits(32), self.address[0])
        leg = secrets.token_hex(9)
        call = SimCall(self, leg, audio, None)
        self._calls[leg] = call
        own = f"<sip:{from_number}@{self.address[0]}>"
        host, port = self.server
        order = OutgoingInvite(
            request_uri=f"sip:{to}@{host}:{port}",
            to=f"<sip:{to}@{host}>",
            from_=own,
            flow=self._flow(self.server),
            sdp=call._describe(None),
            headers=(("P-Asserted-Identity", own),) if trunk else (),
        )
        self.ua.invite(leg, order, now=_now())
        self.drain()
        return call

    async def request(
        self, request: Request, credentials: tuple[str, str], within: float = 10.0
    ) -> Response:
        """Send a request out of dialog and return the final response.

        Raises:
            SimError: no answer came in time.
        """
        answer: asyncio.Future[Response] = self._loop.create_future()
        txn = self.ua.request(request, self._flow(self.server), now=_now(), credentials=credentials)
        self._answers[txn] = answer
        self.drain()
        try:
            return await asyncio.wait_for(answer, within)
        except TimeoutError:
            raise SimError(f"no answer within {within:g} s") from None

    async def close(self) -> None:
        """Hang up all calls and close the socket."""
        for call in tuple(self._calls.values()):
            call.hang_up()
            call.close()
        for opening in self._openings:
            opening.cancel()
        await asyncio.sleep(0)
        self.pacer.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()

    def forget(self, leg: str) -> None:
        """Drop a call that ended."""
        self._calls.pop(leg, None)

    # --- asyncio's protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self.address = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.ua.receive_data(data, self._flow(addr), _now())
        self.drain()

    def error_received(self, exc: Exception) -> None:
        """The server's port is closed for the moment; the transactions time out by themselves."""

    def _flow(self, remote: tuple[str, int]) -> Flow:
        return Flow("udp", self.address, remote[:2])

    def drain(self) -> None:
        """Send what is to be sent, hand out what happened, arm the timer."""
        if self._draining:
            return
        self._draining = True
        try:
            while self._send_all() | self._tell_all():
                pass
        finally:
            self._draining = False
        due = self.ua.next_timer()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer = self._loop.call_later(max(0.0, due - _now()), self._due)

    def _due(self) -> None:
        self._timer = None
        self.ua.handle_timers(_now())
        self.drain()

    def _send_all(self) -> bool:
        datagrams = self.ua.datagrams()
        if self._transport is not None and not self._transport.is_closing():
            for flow, data in datagrams:
                self._transport.sendto(data, flow.remote)
        return bool(datagrams)

    def _tell_all(self) -> bool:
        events = self.ua.events()
        for event in events:
            self._tell(event)
        return bool(events)

    def _tell(self, event: Event) -> None:
        match event:
            case Answer(txn=txn, response=response) if response.status >= 200:
                waiting = self._answers.pop(txn, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(response)
            case Failed(txn=txn, why=why):
                waiting = self._answers.pop(txn, None)
                if waiting is not None and not waiting.done():
                    waiting.set_exception(SimError(f"no answer ({why})"))
            case Requested():
                self.on_request(event)
            case LegInvited():
                opening = asyncio.ensure_future(self._invited(event))
                self._openings.add(opening)
                opening.add_done_callback(self._openings.discard)
            case _:
                call = self._calls.get(getattr(event, "leg", ""))
                if call is not None:
                    call.take(event)

    def _answer_request(self, event: Requested) -> None:
        status = 200 if event.request.method == "OPTIONS" else 405
        self.ua.respond(event.txn, status, now=_now())

    async def _invited(self, event: LegInvited) -> None:
        target = event.request.ruri
        user = target.username if isinstance(target, SipUri) else ""
        account = self._accounts.get(user)
        take = account.on_call if account is not None else self.on_other_call
        if take is None:
            with contextlib.suppress(StateError):
                self.ua.reject(event.leg, 404, now=_now())
            self.drain()
            return
        audio = await RtpPort.open(self.pacer, secrets.randbits(32), self.address[0])
        call = SimCall(self, event.leg, audio, event.sdp)
        call._incoming = True
        origin = event.request.from_.parsed
        call.caller = origin.username if isinstance(origin, SipUri) else ""
        self._calls[event.leg] = call
        take(call)


def _now() -> float:
    return time.time()
