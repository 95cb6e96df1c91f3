"""The SIP role: sockets, timers and stores around the pure parts.

One turn: bytes come in and wait in `WorkLines`; each message goes through the user agent; its
events go to registrar or calls; what these store is committed; then the datagrams go out.
"""

from __future__ import annotations

import asyncio
import resource
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from math import inf
from typing import Any

import msgspec
import redis.asyncio
import redis.exceptions
import structlog
from sqlalchemy.exc import SQLAlchemyError

from comms.bus import acd
from comms.bus import sip as bus
from comms.bus.streams import Codec, Keys
from comms.errors import OperatorError
from comms.ready import tell_ready
from comms.settings import Settings
from comms.store.directory import load_directory
from comms.store.engine import open_engine
from sip import registrar
from sip.authentication import Authenticator, Known, account_of
from sip.call.dialplan import EMERGENCY_NUMBERS
from sip.calls import Calls
from sip.core import events as ua_events
from sip.core.errors import ParseError, StateError
from sip.core.flow import Flow
from sip.core.message import Request, error_response, parse_message, response_for
from sip.core.timers import TimerWheel
from sip.core.ua import UserAgent
from sip.core.uri import SipUri, TelUri
from sip.guard import Guard
from sip.location import Location
from sip.media.pool import EnginePool
from sip.media.prompts import PromptStore
from sip.media.rtpio import RtpIoEngine
from sip.overload import WorkLines
from sip.state import Committer
from sip.transports.stream import StreamLimits, StreamTransport
from sip.transports.udp import UdpTransport
from sip.trunks import Trunks

_log = structlog.get_logger(__name__)

#: messages handled before sockets and timers get their turn
_SLICE_SECONDS = 0.01
_METRICS_SECONDS = 5.0
#: how long a start waits for engines that do not answer yet
_ENGINE_SECONDS = 3.0
_STREAM_BLOCK_MS = 5000
_STREAM_COUNT = 500
_REDIS_ERRORS = (redis.exceptions.RedisError, OSError)

_commands: Codec[bus.Command] = Codec(bus.Command)
_acd_events: Codec[acd.Event] = Codec(acd.Event)
_sip_events: Codec[bus.Event] = Codec(bus.Event)


class Worker:
    """One SIP worker."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings = settings
        self.name = name
        self.keys = Keys(settings.general.tenant)
        #: epoch seconds that never jump, unlike the system's clock
        self._epoch = time.time() - time.monotonic()
        self._lines: WorkLines[tuple[bytes, Flow]] = WorkLines(
            settings.sip.overload_delay_ms / 1000.0
        )
        self._processing = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._delayed = TimerWheel()
        self._udp: UdpTransport | None = None
        self._tcp: StreamTransport | None = None
        self._tls: StreamTransport | None = None
        self._refused_tag = secrets.token_hex(8)
        self._reachable: dict[str, int] = {}

    def now(self) -> float:
        """Epoch seconds."""
        return self._epoch + time.monotonic()

    # --- starting and stopping -------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            OperatorError: a port cannot be bound or a certificate not read; one line.
        """
        settings = self.settings
        self._loop = asyncio.get_running_loop()
        # connections are limited by settings, not by what a shell happens to allow
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        self.client = redis.asyncio.Redis.from_url(
            settings.redis_url, socket_timeout=2.0, socket_connect_timeout=2.0
        )
        # blocking reads wait longer than other commands may take
        self._reader = redis.asyncio.Redis.from_url(
            settings.redis_url,
            socket_connect_timeout=2.0,
            socket_timeout=2.0 + _STREAM_BLOCK_MS / 1000.0,
        )
        self._sql = open_engine(settings.sql_url, pool_size=1)
        directory = await load_directory(self._sql)
        self._committer = Committer(self.client)
        self.guard = Guard(settings.guard)
        self._authenticator = Authenticator(
            directory,
            self.guard,
            await self._secret(),
            tuple(settings.sip.digest.split()),
        )
        self.location = Location(self._committer, self.keys, self._bindings_changed)
        self._ua = UserAgent(
            ua_events.UaConfig(
                user_agent=settings.sip.name,
                session_expires=settings.sip.session_expires,
                min_se=settings.sip.min_session_expires,
                retry_after=settings.sip.retry_after,
            ),
            _token,
        )
        self.trunks = Trunks(
            self._flow_to,
            lambda request, flow, credentials: self._ua.request(
                request, flow, now=self.now(), credentials=credentials
            ),
            _token,
        )
        self.trunks.update(directory)
        await self.trunks.resolve()
        prompts = PromptStore(settings.prompts_dir)
        self.pool = EnginePool(
            (
                RtpIoEngine(
                    settings.media_socket(index),
                    f"media-{index + 1}",
                    on_event=lambda event: self.calls.engine_event(event),
                )
                for index in range(settings.media.engines)
            ),
            on_lost=lambda engine, _: self.calls.engine_lost(engine),
        )
        self.calls = Calls(
            worker=self.name,
            ring_seconds=settings.sip.ring_seconds,
            keys=self.keys,
            directory=directory,
            agent=self._ua,
            location=self.location,
            trunks=self.trunks,
            pool=self.pool,
            prompts=prompts,
            committer=self._committer,
            client=self.client,
            token=_token,
            clock=self.now,
            pump=self._pump,
        )
        await asyncio.gather(*(engine.start(_ENGINE_SECONDS) for engine in self.pool.engines))
        self._acd_cursor = await self._cursor()
        await self.location.load(self.client, self.now())
        await self._bind()
        await self.calls.restore()
        self._tell_all_reachable()
        self._pump()
        tell_ready()
        _log.info("sip-ready", worker=self.name, calls=len(self.calls))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._committer.wait())
                group.create_task(self._follow(self._read_queue_events))
                group.create_task(self._follow(self._read_commands))
                group.create_task(self._follow(self._watch_directory))
                group.create_task(self._report_metrics())
                group.create_task(self._resolve_trunks())
        finally:
            await self._stop()

    async def _stop(self) -> None:
        if self._udp is not None:
            self._udp.close()
        for stream in (self._tcp, self._tls):
            if stream is not None:
                await stream.close()
        await self.calls.drain()
        await self._committer.close()
        await self.pool.close()
        await self.client.aclose()
        await self._reader.aclose()
        await self._sql.dispose()

    async def _secret(self) -> bytes:
        """Return the installation's secret for nonces, so that they outlive a worker."""
        key = self.keys.directory + ":nonce-secret"
        await self.client.set(key, secrets.token_bytes(32), nx=True)
        stored = await self.client.get(key)
        assert isinstance(stored, bytes)
        return stored

    async def _cursor(self) -> Any:
        """Return the last event of the queue role that was there before this worker started."""
        last: Any = await self.client.xrevrange(self.keys.acd_events, count=1)
        return last[0][0] if last else b"0-0"

    async def _bind(self) -> None:
        sip = self.settings.sip
        shift = sip.port_shift(self.name)
        limits = StreamLimits(
            max_connections=sip.tcp_max_connections,
            max_per_address=sip.tcp_max_per_address,
            first_message_seconds=sip.tcp_first_message_seconds,
            idle_seconds=sip.tcp_idle_seconds,
            max_message=sip.max_message_bytes,
        )
        try:
            port, what = sip.udp_port + shift, "sip.udp_port"
            self._udp = UdpTransport(sip.host, port, self._received)
            port, what = sip.tcp_port + shift, "sip.tcp_port"
            self._tcp = StreamTransport(
                "tcp", self._received, self._unreadable, self._flow_failed, limits
            )
            await self._tcp.listen(sip.host, port)
            if sip.tls_cert is not None and sip.tls_key is not None:
                port, what = sip.tls_port + shift, "sip.tls_port"
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                try:
                    context.load_cert_chain(sip.tls_cert, sip.tls_key)
                except (OSError, ssl.SSLError) as error:
                    raise OperatorError(f"sip.tls_cert cannot be used: {error}") from None
                self._tls = StreamTransport(
                    "tls", self._received, self._unreadable, self._flow_failed, limits
                )
                await self._tls.listen(sip.host, port, context)
        except OSError as error:
            raise OperatorError(
                f"{what} {port} on {sip.host} cannot be used: {error.strerror or error}"
            ) from None

    # --- bytes -----------------------------------------------------------------------------------

    def _received(self, data: bytes, flow: Flow) -> None:
        self._lines.put((data, flow), data, time.monotonic())
        if not self._processing:
            self._processing = True
            self._loop.call_soon(self._process)

    def _process(self) -> None:
        """Work on what waits, for a slice of time."""
        self._processing = False
        # not the loop's time: uvloop's stands still for the whole turn
        clock = time.monotonic
        now = clock()
        until = now + _SLICE_SECONDS
        while (taken := self._lines.take(now)) is not None:
            (data, flow), serve = taken
            if serve:
                self._message(data, flow)
            else:
                self._refuse(data, flow)
            now = clock()
            if now > until:
                break
        self._pump()
        if len(self._lines) and not self._processing:
            self._processing = True
            self._loop.call_soon(self._process)

    def _message(self, data: bytes, flow: Flow) -> None:
        now = self.now()
        if self.guard.silent(flow.remote[0], now) and not self.location.has_flow(flow):
            return
        try:
            message = parse_message(data)
        except ParseError as error:
            response = error_response(error)
            if response is not None:
                self._send(flow, response.serialize())
            return
        if (
            isinstance(message, Request)
            and self._ua.is_register(message)
            and not message.has("Authorization")
            and self._committer.ok
        ):
            # every phone begins so: a challenge is the same whenever it comes, and a transaction
            # would cost as much again
            challenge = self._authenticator.challenge(message, now)
            self._ua.respond_stateless(message, flow, challenge.status, challenge.headers)
            return
        self._ua.receive(message, flow, now)

    def _unreadable(self, flow: Flow, error: ParseError) -> None:
        response = error_response(error)
        if response is not None:
            self._send(flow, response.serialize())

    def _refuse(self, data: bytes, flow: Flow) -> None:
        """Answer 503 without any state: overload (RFC 3261 section 21.5.4)."""
        try:
            message = parse_message(data)
            if not isinstance(message, Request):
                return
            headers = (("Retry-After", str(self.settings.sip.retry_after)),)
            response = response_for(message, 503, to_tag=self._refused_tag, headers=headers)
        except ParseError:
            return
        self._send(flow, response.serialize())

    def _send(self, flow: Flow, data: bytes) -> None:
        match flow.transport:
            case "udp":
                if self._udp is not None:
                    self._udp.send(flow, data)
            case "tcp":
                if self._tcp is not None:
                    self._tcp.send(flow, data)
            case _:
                if self._tls is not None:
                    self._tls.send(flow, data)

    def _send_all(self, datagrams: list[tuple[Flow, bytes]]) -> None:
        for flow, data in datagrams:
            self._send(flow, data)

    def _flow_failed(self, flow: Flow) -> None:
        self.location.flow_failed(flow)
        self._ua.flow_failed(flow, self.now())
        self._pump()

    def _flow_to(self, transport: str, host: str, port: int) -> Flow:
        """Return the flow on which an address is reached."""
        stream = self._tcp if transport == "tcp" else self._tls if transport == "tls" else None
        if stream is not None:
            return stream.flow_to(host, port)
        assert self._udp is not None
        return Flow("udp", self._udp.address, (host, port))

    # --- one turn --------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Let events lead to what they lead to, then send, then arm the timer."""
        while events := self._ua.events():
            for event in events:
                try:
                    _ON.get(type(event), _of_a_leg)(self, event)
                except ParseError as error:
                    self._malformed(event, error)
        datagrams = self._ua.datagrams()
        if datagrams:
            self._committer.after(partial(self._send_all, datagrams))
        self._arm()

    def _answered(self, event: ua_events.Answer) -> None:
        self.trunks.answered(event.txn, event.response, self.now())

    def _failed(self, event: ua_events.Failed) -> None:
        self.trunks.failed(event.txn, self.now())

    def _pracked(self, event: ua_events.LegPracked) -> None:
        """Nothing waits for that."""

    def _malformed(self, event: ua_events.UaEvent, error: ParseError) -> None:
        """A header field that was looked at only now cannot be read."""
        now = self.now()
        try:
            if isinstance(event, ua_events.Request):
                self._ua.respond(event.txn, error.status, now=now)
            elif isinstance(event, ua_events.LegInvited):
                self._ua.reject(event.leg, error.status, now=now)
        except StateError:
            _log.debug("malformed-gone", error=error.id)

    def _arm(self) -> None:
        """Have `_due` called when the first of all timers is due."""
        due = min(
            self._ua.timers.bound(),
            self.calls.timers.bound(),
            self.location.timers.bound(),
            self._delayed.bound(),
        )
        registration = self.trunks.next_timer()
        if registration is not None and registration < due:
            due = registration
        if due == inf or (self._timer_at is not None and self._timer_at <= due):
            # a timer that turns out to be early arms itself anew; that is rarer than messages
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = due
        self._timer = self._loop.call_later(max(0.0, due - self.now()), self._due)

    def _due(self) -> None:
        self._timer = self._timer_at = None
        now = self.now()
        self._ua.handle_timers(now)
        self.calls.handle_timers(now)
        self.location.handle_timers(now)
        self.trunks.handle_timers(now)
        for respond in self._delayed.pop_due(now):
            respond()
        self._pump()

    # --- requests outside of calls ---------------------------------------------------------------

    def _request(self, event: ua_events.Request) -> None:
        allow = ("Allow", ", ".join(_ALLOWED))
        match event.request.method:
            case "REGISTER":
                self._register(event)
            case "OPTIONS":
                headers = (("Accept", "application/sdp"), allow)
                self._ua.respond(event.txn, 200, now=self.now(), headers=headers)
            case _:
                self._ua.respond(event.txn, 405, now=self.now(), headers=(allow,))

    def _register(self, event: ua_events.Request) -> None:
        now = self.now()
        if not self._committer.ok:
            self._unavailable(event.txn)
            return
        request = event.request
        sender = self._authenticator.authenticate(request, event.flow, now)
        if not isinstance(sender, Known):
            self._later(
                sender.delay,
                partial(self._respond, event.txn, sender.status, headers=sender.headers),
            )
            return
        aor = _user_of(request.to.parsed)
        if aor != sender.device.user:
            self._ua.respond(event.txn, 403, now=now)
            return
        result = registrar.process(
            request, event.flow, self.location.of(aor), self.settings.sip, now
        )
        self.location.apply(aor, result)
        self._ua.respond(event.txn, result.status, now=now, headers=result.headers)

    def _later(self, delay: float, respond: Callable[[], None]) -> None:
        if delay > 0:
            self._delayed.start(self.now() + delay, respond)
        else:
            respond()

    def _respond(self, txn: ua_events.Txn, status: int, **kwargs: Any) -> None:
        try:
            self._ua.respond(txn, status, now=self.now(), **kwargs)
        except StateError:
            _log.debug("transaction-gone", status=status)

    def _unavailable(self, txn: ua_events.Txn) -> None:
        headers = (("Retry-After", str(self.settings.sip.retry_after)),)
        self._ua.respond(txn, 503, now=self.now(), headers=headers)

    # --- calls -----------------------------------------------------------------------------------

    def _invited(self, event: ua_events.LegInvited) -> None:
        request = event.request
        now = self.now()
        uri = request.ruri
        user = _user_of(uri)
        account = account_of(request, self.calls.directory)
        trunk = None if account is not None else self.trunks.incoming(event.flow.remote[0])
        emergency = _is_emergency(str(uri), user)
        if not emergency and (
            not self._committer.ok or len(self.calls) >= self.settings.sip.max_calls
        ):
            retry = str(self.settings.sip.retry_after)
            self._ua.reject(event.leg, 503, now=now, headers=(("Retry-After", retry),))
            return
        if isinstance(uri, SipUri) and not self._ours(uri, trunk is not None):
            self._ua.reject(event.leg, 404, now=now)
            return
        if trunk is not None:
            self.calls.invited(event, None, trunk, user)
            return
        sender = self._authenticator.authenticate(request, event.flow, now)
        if not isinstance(sender, Known):
            self._later(sender.delay, partial(self._challenge, event.leg, sender))
            return
        if account is not None and account != sender.device.user:
            self._ua.reject(event.leg, 403, now=now)
            return
        self.calls.invited(event, sender.device, None, user)

    def _challenge(self, leg: str, sender: Any) -> None:
        try:
            self._ua.reject(leg, sender.status, now=self.now(), headers=sender.headers)
        except StateError:
            _log.debug("leg-gone", status=sender.status)

    def _ours(self, uri: SipUri, from_trunk: bool) -> bool:
        """Whether a Request-URI names us: the domain or one of our addresses."""
        host = uri.host.strip("[]").lower()
        if from_trunk or host == self.calls.directory.domain:
            return True
        return host in (self.settings.sip.host, "localhost")

    # --- who can be reached ----------------------------------------------------------------------

    def _bindings_changed(self, aor: str) -> None:
        device = self.calls.directory.devices.get(aor)
        if device is not None and device.person is not None:
            self._tell_reachable(device.person)

    def _count(self, person: str) -> int:
        entry = self.calls.directory.people.get(person)
        return sum(len(self.location.of(user)) for user in entry.devices) if entry else 0

    def _tell_reachable(self, person: str) -> None:
        """Tell live views and, for agents, the queue role."""
        count = self._count(person)
        before = self._reachable.get(person)
        if count == before:
            return
        self._reachable[person] = count
        event = bus.DevicesChanged(person, count)
        self._committer.write(
            "XADD", self.keys.sip_events, "MAXLEN", "~", 10_000, "*", "m", _sip_events.encode(event)
        )
        stored = msgspec.json.encode(count) if count else None
        self._committer.put(self.keys.sip_devices_view, person, stored)
        entry = self.calls.directory.people.get(person)
        if entry is not None and entry.agent and bool(count) != bool(before or 0):
            self.calls.tell(acd.SetReachable(person, count > 0))

    def _tell_all_reachable(self) -> None:
        """After a start: say of every agent whether a device of theirs is registered."""
        for person, entry in self.calls.directory.people.items():
            self._reachable.pop(person, None)
            self._tell_reachable(person)
            if entry.agent and not self._count(person):
                self.calls.tell(acd.SetReachable(person, False))

    # --- other roles -----------------------------------------------------------------------------

    async def _follow(self, read: Callable[[], Awaitable[None]]) -> None:
        """Repeat a blocking read for ever, waiting where Valkey cannot be reached."""
        while True:
            try:
                await read()
            except _REDIS_ERRORS as error:
                _log.debug("stream-unreadable", error=type(error).__name__)
                await asyncio.sleep(0.25)
            except SQLAlchemyError as error:
                _log.warning("directory-unreadable", error=type(error).__name__)
                await asyncio.sleep(1.0)

    async def _read_queue_events(self) -> None:
        reply = await self._reader.xread(
            {self.keys.acd_events: self._acd_cursor}, count=_STREAM_COUNT, block=_STREAM_BLOCK_MS
        )
        for entry, fields in _rows(reply):
            self._acd_cursor = entry
            try:
                event = _acd_events.decode(fields[b"m"])
            except (KeyError, msgspec.ValidationError):
                _log.warning("queue-event-unreadable")
                continue
            self.calls.queue_event(event)
        self._pump()

    async def _read_commands(self) -> None:
        keys, group = self.keys, "sip"
        try:
            reply = await self._reader.xreadgroup(
                group, self.name, {keys.sip_commands: ">"}, count=100, block=_STREAM_BLOCK_MS
            )
        except redis.exceptions.ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            await self._reader.xgroup_create(keys.sip_commands, group, id="0", mkstream=True)
            return
        for entry, fields in _rows(reply):
            self._committer.write("XACK", keys.sip_commands, group, entry)
            self._committer.write("XDEL", keys.sip_commands, entry)
            try:
                command = _commands.decode(fields[b"m"])
            except (KeyError, msgspec.ValidationError):
                _log.warning("command-unreadable")
                continue
            self.calls.command(command)
        self._pump()

    async def _watch_directory(self) -> None:
        async with self._reader.pubsub() as channel:
            await channel.subscribe(self.keys.directory)
            await self._reload_directory()
            async for message in channel.listen():
                if message["type"] == "message":
                    await self._reload_directory()

    async def _reload_directory(self) -> None:
        directory = await load_directory(self._sql)
        self.calls.directory = directory
        self._authenticator.directory = directory
        self.trunks.update(directory)
        for account in self.location.accounts():
            if account not in directory.devices:
                self.location.forget(account)
        for person in directory.people:
            self._tell_reachable(person)
        self._pump()

    async def _resolve_trunks(self) -> None:
        while True:
            await asyncio.sleep(60.0)
            await self.trunks.resolve()
            self._authenticator.expire(self.now())

    async def _report_metrics(self) -> None:
        while True:
            await asyncio.sleep(_METRICS_SECONDS)
            self._committer.write("HSET", self.keys.metrics(self.name), *self._metrics())
            self._committer.write("EXPIRE", self.keys.metrics(self.name), 60)

    def _metrics(self) -> list[Any]:
        calls, guard, lines = self.calls.stats, self.guard.stats, self._lines.stats
        values: dict[str, float] = {
            "comms_sip_calls": len(self.calls),
            "comms_sip_calls_started_total": calls.started,
            "comms_sip_calls_answered_total": calls.answered,
            "comms_sip_calls_ended_total": calls.ended,
            "comms_sip_calls_taken_over_total": calls.taken_over,
            "comms_sip_calls_reanchored_total": calls.reanchored,
            "comms_sip_bindings": len(self.location),
            "comms_sip_auth_failures_total": guard.failures,
            "comms_sip_auth_delayed_total": guard.delayed,
            "comms_sip_addresses_silenced_total": guard.silenced,
            "comms_sip_requests_unanswered_total": guard.dropped,
            "comms_sip_messages_total": lines.served,
            "comms_sip_refused_overload_total": lines.refused,
            "comms_sip_dropped_overload_total": lines.dropped,
            "comms_sip_store_reachable": float(self._committer.ok),
        }
        return [part for pair in values.items() for part in pair]


_ALLOWED = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "PRACK", "UPDATE", "INFO")


def _of_a_leg(worker: Worker, event: Any) -> None:
    worker.calls.leg_event(event)


#: what is done with each event of the user agent; the others are of legs
_ON: dict[type, Callable[[Worker, Any], None]] = {
    ua_events.Request: Worker._request,
    ua_events.LegInvited: Worker._invited,
    ua_events.Answer: Worker._answered,
    ua_events.Failed: Worker._failed,
    ua_events.LegPracked: Worker._pracked,
}


def _rows(reply: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Return the entries in a reply to XREAD or XREADGROUP of one stream, in either protocol."""
    if not reply:
        return []
    if isinstance(reply, dict):
        (batches,) = reply.values()
        return [row for batch in batches for row in batch]
    return list(reply[0][1])


def _user_of(uri: object) -> str:
    if isinstance(uri, SipUri):
        return uri.username
    if isinstance(uri, TelUri):
        return uri.digits
    return str(uri)


def _is_emergency(uri: str, user: str) -> bool:
    return uri.startswith("urn:service:sos") or user.lstrip("0") in EMERGENCY_NUMBERS


def _tokens() -> Iterator[str]:
    """Yield tokens of 80 random bits; one call of the kernel's generator serves many of them."""
    while True:
        digits = secrets.token_hex(10 * 256)
        for at in range(0, len(digits), 20):
            yield digits[at : at + 20]


_token: Callable[[], str] = _tokens().__next__


async def run(settings: Settings, name: str) -> None:
    """Run the SIP worker `name` ("sip-1") until cancelled.

    Raises:
        OperatorError: it cannot start; one line that says why.
    """
    await Worker(settings, name).run()
