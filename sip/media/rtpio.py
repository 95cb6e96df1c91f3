"""A client of one rtp-io engine process (`sip.media.child`), see `sip.media.engine.MediaEngine`.

Rules of rtp-io 1.1.1 that this client rests on, each proven by packets in the tests:

* `U` names the caller's address and answers with the port the callee sends to; `L` the reverse.
* The address 0.0.0.0 lets the first packet from anywhere become that side. A side that is absent
  or on hold is therefore given `NOWHERE`, to which the kernel sends nothing.
* A side that has latched (NAT) keeps its address whatever `U` says; while it is on hold it is
  played silence in place of the other's voice.
* An `U` without notify socket takes the session's notices away, so every `U` names it.
* `U…z20` sets the frame length for what is played to the *other* side, and resizes that side's
  packets as long as it stands; it is taken away when both sides are connected.
* A player keeps a session alive; a session on which nothing plays and nobody sends ends after the
  engine's time-out. Sides that are absent or held are refreshed for that reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sip.media.child import SIDE_SUFFIX, SILENCE
from sip.media.engine import (
    DtmfEvent,
    EngineEvent,
    EngineLost,
    Local,
    MediaError,
    MediaTimeout,
    Quality,
    Remote,
    Side,
    SideQuality,
)
from sip.media.guard import Rule
from sip.media.wire import STALL_SECONDS, LineProtocol

#: A class E address (RFC 1112 §4): the kernel refuses to send there, nothing comes from there.
NOWHERE = "240.0.0.1"
_NOWHERE_PORT = 9
#: seconds between reconnects, the last one repeated
BACK_OFF = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
#: how often an engine's idle sessions are refreshed within its time-out
_REFRESHES = 4
#: how often a session is tried: somebody may send before the filters stand, or ended sessions'
#: ports may not be free yet
_OPEN_TRIES = 4
_WAKE_SECONDS = 0.01
#: ports of ended sessions are told with the next filters, or when there are so many
_MAX_RELEASED = 64
#: the engine counts jitter in units of the RTP clock, which is 8 kHz for all of G.711 and G.722
_CLOCK_RATE = 8000.0
_SESSION = re.compile(r"[A-Za-z0-9_.@-]{1,120}\Z")
_STATISTICS = "npkts_ina rtpa_nlost rtpa_javg"

_CODES = {
    "E50": "no-session",
    "E60": "no-prompt",
    "E72": "no-ports",
    "E71": "no-ports",
}

EventCallback = Callable[[EngineEvent], None]
EngineCallback = Callable[["RtpIoEngine"], None]


@dataclass(slots=True)
class _SideState:
    """What the engine was last told of a side."""

    remote: Remote | None = None
    local: Local | None = None
    #: payload types last known, kept over a hold
    payloads: tuple[int, ...] = ()
    #: payload type that DTMF is caught at
    dtmf: int | None = None
    #: on hold by being played silence (see the module)
    silenced: bool = False

    def note(self, remote: Remote | None) -> None:
        """Remember the side's new address."""
        self.remote = None if _absent(remote) else remote
        if remote is not None:
            self.payloads, self.dtmf = remote.payloads, remote.dtmf_payload


@dataclass(slots=True)
class _Session:
    a: _SideState = field(default_factory=_SideState)
    b: _SideState = field(default_factory=_SideState)
    #: one change after the other, in the order they were asked for
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def of(self, side: Side) -> _SideState:
        return self.a if side == "a" else self.b

    @property
    def idle(self) -> bool:
        """Whether the session may be without packets for long: a side is absent or on hold."""
        return self.a.remote is None or self.b.remote is None


class RtpIoEngine:
    """One engine process. Use `connect` to get one; methods as in `MediaEngine`."""

    def __init__(
        self,
        path: str | Path,
        name: str,
        *,
        on_event: EventCallback | None = None,
        on_lost: EngineCallback | None = None,
        on_back: EngineCallback | None = None,
    ) -> None:
        """Prepare a client of the engine whose command socket is `path`.

        `on_lost` is told when the process is gone, and its sessions with it; `on_back` when it
        answers again.
        """
        self.name = name
        self.on_event = on_event
        self.on_lost = on_lost
        self.on_back = on_back
        self._path = str(path)
        self._silence = str(Path(path).absolute().with_name(SILENCE))
        self._sessions: dict[str, _Session] = {}
        self._control: LineProtocol | None = None
        self._side: LineProtocol | None = None
        #: how rtp-io names the pipe its notices go into, and its time-out in seconds
        self._notify = ""
        self._timeout = 60
        self._released: list[int] = []
        self._alive = False
        self._closed = False
        self._reconnect: asyncio.Task[None] | None = None
        self._refresh: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(
        cls,
        path: str | Path,
        name: str,
        *,
        on_event: EventCallback | None = None,
        on_lost: EngineCallback | None = None,
        on_back: EngineCallback | None = None,
        timeout: float = 5.0,
    ) -> RtpIoEngine:
        """Connect to the engine at `path`, waiting up to `timeout` seconds for it to start.

        Raises:
            EngineLost: it did not answer in time.
        """
        engine = cls(path, name, on_event=on_event, on_lost=on_lost, on_back=on_back)
        try:
            async with asyncio.timeout(timeout):
                await engine._connect_until_up()
        except TimeoutError:
            await engine.close()
            raise EngineLost("engine-lost", f"no engine answers at {path}") from None
        return engine

    async def start(self, timeout: float) -> None:
        """Connect, waiting up to `timeout` seconds; after that go on trying in the background."""
        self._reconnect = asyncio.get_running_loop().create_task(self._come_back())
        await asyncio.wait([self._reconnect], timeout=timeout)

    @property
    def alive(self) -> bool:
        """Whether the control connection stands."""
        return self._alive

    @property
    def sessions(self) -> int:
        """How many sessions this client has opened here and not deleted."""
        return len(self._sessions)

    async def close(self) -> None:
        """End the connection; the engine's sessions go on."""
        self._closed = True
        self._alive = False
        if self._refresh is not None:
            self._refresh.cancel()
            self._refresh = None
        if self._reconnect is not None:
            self._reconnect.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reconnect
        for connection in (self._control, self._side):
            if connection is not None:
                connection.close()

    # sessions

    async def open(self, session: str, a: Remote, b: Remote | None = None) -> tuple[Local, Local]:
        """Make a session and return the engine's ports for the phones of sides `a` and `b`.

        Raises:
            MediaError: "bad-session", "bad-address", "no-ports", "intruder" or another refusal.
            EngineLost: the process is gone.
        """
        if not _SESSION.match(session):
            raise MediaError("bad-session", "a session's id has letters, digits and . _ @ - only")
        for remote in (a, b):
            check_address(remote)
        for attempt in range(_OPEN_TRIES):
            state = _Session()
            commands = [
                self._command(session, "a", state.a, a),
                self._command(session, "b", state.b, b),
            ]
            try:
                replies = await self._ask(commands)
            except EngineLost:
                raise
            except MediaError as error:
                # One command may have been obeyed; half a session would keep its ports.
                await self._talk([f"D {session} a b"])
                if error.code != "no-ports" or attempt == _OPEN_TRIES - 1:
                    raise
                # rtp-io closes ended sessions' sockets only when its threads wake up.
                await self._request(self._side, ["w"])
                await asyncio.sleep(_WAKE_SECONDS)
                continue
            # U answers with the port that b sends to, L with a's.
            state.b.local = local_b = _local(replies[0])
            state.a.local = local_a = _local(replies[1])
            self._sessions[session] = state
            if await self._filters_stand(session, state):
                self._refresh_later()
                return local_a, local_b
            # A packet came before the filters stood: whoever sent it may hold a side now.
            await self.delete(session)
        raise MediaError("intruder", "packets arrive at every new session's ports")

    async def set_remote(self, session: str, side: Side, remote: Remote | None) -> None:
        """Change where a side's phone is; `None` sends nothing to it (its hold) until set again.

        A side that latches (not `strict`) gets silence while it is on hold, since the engine does
        not forget where it is.

        Raises:
            MediaError: "bad-address", "no-session" or another refusal.
            EngineLost: the process is gone.
        """
        state = self._known(session)
        check_address(remote)
        async with state.turn:
            await self._move(session, state, side, remote)

    async def play(self, session: str, side: Side, prompt: str, times: int | None = 1) -> None:
        """Play a prompt (its path without payload suffix) to a side; `None` loops for ever.

        Raises:
            MediaError: "no-prompt" if no file fits the side's payload types, "no-session".
            EngineLost: the process is gone.
        """
        if not prompt or any(c.isspace() for c in prompt):
            raise MediaError("no-prompt", "a prompt's path has no white space")
        if times is not None and times < 1:
            raise MediaError("bad-times", "a prompt is played at least once")
        state = self._known(session)
        async with state.turn:
            await self._play(session, state, side, -1 if times is None else times, prompt)

    async def stop(self, session: str, side: Side) -> None:
        """Stop what is played to a side; packets of the other side pass again.

        Raises:
            MediaError: "no-session".
            EngineLost: the process is gone.
        """
        state = self._known(session)
        async with state.turn:
            if state.of(side).silenced:
                await self._play(session, state, side, -1, self._silence)
            else:
                await self._ask([_stop(session, side)])

    async def delete(self, session: str) -> Quality | None:
        """End the session and return what was counted, None if the engine no longer knew it.

        Raises:
            EngineLost: the process is gone.
        """
        state = self._sessions.pop(session, None) or _Session()
        async with state.turn:
            self._released += [side.local.port for side in (state.a, state.b) if side.local]
            replies = await self._talk(
                [
                    f"Q {session} a b {_STATISTICS}",
                    f"Q {session} b a {_STATISTICS}",
                    f"D {session} a b",
                ]
            )
        if len(self._released) >= _MAX_RELEASED:
            await self._filter([])
        if replies[0].startswith("E") or replies[1].startswith("E"):
            return None
        return Quality(a=_quality(replies[0]), b=_quality(replies[1]))

    def adopt(
        self, session: str, local_a: Local, local_b: Local, a: Remote | None, b: Remote | None
    ) -> None:
        """Take over a session that a former process opened here, as that process knew it."""
        state = _Session()
        for mine, local, remote in ((state.a, local_a, a), (state.b, local_b, b)):
            mine.local = local
            mine.note(remote)
        self._sessions[session] = state
        self._refresh_later()

    # commands

    async def _move(self, session: str, state: _Session, side: Side, remote: Remote | None) -> None:
        mine = state.of(side)
        if _absent(remote) and mine.remote is not None and not mine.remote.strict:
            if not mine.silenced:
                mine.silenced = True
                await self._play(session, state, side, -1, self._silence)
            return
        if mine.silenced:
            mine.silenced = False
            await self._ask([_stop(session, side)])
        if remote == mine.remote and remote is not None:
            return
        # The filter first: a late packet from the old address must not win the side back.
        await self._filter([_rule(mine, remote)])
        await self._ask([self._command(session, side, mine, remote)])
        if mine.remote is None:
            self._refresh_later()

    def _known(self, session: str) -> _Session:
        state = self._sessions.get(session)
        if state is None:
            if not self._alive:
                raise self._gone()
            raise MediaError("no-session", "the session was not opened here")
        return state

    def _command(self, session: str, side: Side, mine: _SideState, remote: Remote | None) -> str:
        """Note a side's new address and return the command that tells the engine."""
        catch = ""
        if remote is not None and remote.dtmf_payload not in (None, mine.dtmf):
            catch = f" && M3:1 {session} {remote.dtmf_payload}"
        mine.note(remote)
        return self._update(session, side, mine, framed=mine.remote is None) + catch

    def _update(self, session: str, side: Side, mine: _SideState, *, framed: bool) -> str:
        """Return the command that gives a side's address; `framed` as in the module's text."""
        kind = "U" if side == "a" else "L"
        frame = "z20" if framed else ""
        codecs = "c" + ",".join(map(str, mine.payloads)) if mine.payloads else ""
        host, port = (NOWHERE, _NOWHERE_PORT)
        if mine.remote is not None:
            host, port = mine.remote.host, mine.remote.port
        notify = f" {self._notify} {session}" if side == "a" else ""
        return f"{kind}{frame}{codecs} {session} {host} {port} a b{notify}"

    async def _play(
        self, session: str, state: _Session, side: Side, count: int, prompt: str
    ) -> None:
        order = "a b" if side == "a" else "b a"
        command = f"P{count} {session} {prompt} session {order}"
        other: Side = "b" if side == "a" else "a"
        theirs = state.of(other)
        if theirs.remote is None:
            await self._ask([command])
        elif theirs.remote.strict:
            # The frame length counts at the moment the player starts.
            await self._ask(
                [
                    self._update(session, other, theirs, framed=True),
                    command,
                    self._update(session, other, theirs, framed=False),
                ]
            )
        else:
            # An update would let anyone take a latching side over for ten seconds: the prompt
            # goes out in the engine's own frames of 10 ms instead.
            await self._ask([command])

    async def _filters_stand(self, session: str, state: _Session) -> bool:
        # b's sockets were made first, which is the order they are found in fastest
        rules = [_rule(state.b, state.b.remote), _rule(state.a, state.a.remote)]
        guarded = [rule for rule in rules if rule.policy != "open"]
        if not guarded:
            return True
        try:
            await self._filter(guarded)
        except MediaError:
            await self.delete(session)
            raise
        (reply,) = await self._ask([f"Q {session} b a npkts_ina npkts_ino"])
        counts = reply.split()
        return all(
            count == "0" for rule, count in zip(rules, counts, strict=True) if rule in guarded
        )

    async def _filter(self, rules: list[Rule]) -> None:
        # Released ports first: their descriptors may be those of the new ones.
        words = [f"-{port}" for port in self._released]
        words += [rule.encode() for rule in rules]
        self._released.clear()
        replies = await self._request(self._side, ["f " + " ".join(words)])
        if replies[0] != "ok":
            raise MediaError("no-filter", replies[0])

    async def _ask(self, commands: list[str]) -> list[str]:
        """Send commands and return their replies.

        Raises:
            MediaError: the engine refused one of them.
            EngineLost: the process is gone.
        """
        replies = await self._talk(commands)
        for command, reply in zip(commands, replies, strict=True):
            if reply.startswith("E") or "&& -" in reply:
                code = _CODES.get(reply, "refused")
                raise MediaError(code, f"{self.name} answered {reply} to {command[0]}")
        return replies

    async def _talk(self, commands: list[str]) -> list[str]:
        return await self._request(self._control, commands)

    async def _request(self, connection: LineProtocol | None, lines: list[str]) -> list[str]:
        if connection is None or not self._alive:
            raise self._gone()
        try:
            return await connection.request(lines)
        except ConnectionError:
            raise self._gone() from None

    def _gone(self) -> EngineLost:
        return EngineLost("engine-lost", f"{self.name} does not answer")

    # the connection

    async def _connect_until_up(self) -> None:
        tries = 0
        while not self._closed:
            try:
                await self._connect_once()
            except (OSError, ValueError):
                await asyncio.sleep(BACK_OFF[min(tries, len(BACK_OFF) - 1)])
                tries += 1
            else:
                return

    async def _connect_once(self) -> None:
        loop = asyncio.get_running_loop()
        greeting: asyncio.Future[bytes] = loop.create_future()

        def notice(line: bytes) -> bool:
            if line.startswith(b"n "):
                self._told(line.decode("ascii", "replace").split())
                return True
            if line.startswith(b"hello "):
                if not greeting.done():
                    greeting.set_result(line)
                return True
            return False

        _, side = await loop.create_unix_connection(
            lambda: LineProtocol(self._connection_lost, notice), self._path + SIDE_SUFFIX
        )
        try:
            async with asyncio.timeout(STALL_SECONDS):
                words = (await greeting).decode("ascii", "replace").split()
            _, control = await loop.create_unix_connection(
                lambda: LineProtocol(self._connection_lost), self._path
            )
        except OSError:  # TimeoutError is one
            side.close()
            raise
        self._side, self._control = side, control
        self._notify, self._timeout = words[2], int(words[6])
        self._alive = True

    def _connection_lost(self) -> None:
        if not self._alive:
            return
        self._alive = False
        connections, self._control, self._side = (self._control, self._side), None, None
        for connection in connections:
            if connection is not None:
                connection.close()
        self._sessions.clear()
        self._released.clear()
        if self.on_lost is not None:
            self.on_lost(self)
        if not self._closed:
            self._reconnect = asyncio.get_running_loop().create_task(self._come_back())

    async def _come_back(self) -> None:
        await self._connect_until_up()
        if self._alive and self.on_back is not None:
            self.on_back(self)

    def _told(self, words: list[str]) -> None:
        """Pass a notice on: `n SESSION` or `n SESSION DIGIT VOLUME DURATION SIDE`."""
        if len(words) < 2 or words[1] not in self._sessions or self.on_event is None:
            return
        if len(words) == 2:
            self.on_event(MediaTimeout(words[1]))
        elif len(words) == 6 and words[4].isdigit():
            # RFC 4733 §2.3.5: the duration counts in units of the timestamp, 8 a millisecond.
            side: Side = "a" if words[5] == "0" else "b"
            self.on_event(DtmfEvent(words[1], side, words[2], int(words[4]) // 8))

    # sessions without packets

    def _refresh_later(self) -> None:
        if self._refresh is None and not self._closed:
            loop = asyncio.get_running_loop()
            self._refresh = loop.call_later(self._timeout / _REFRESHES, self._refresh_idle)

    def _refresh_idle(self) -> None:
        self._refresh = None
        commands = []
        for session, state in self._sessions.items():
            if state.idle:
                # Naming an absent side's address again changes nothing but the session's time.
                side: Side = "b" if state.b.remote is None else "a"
                commands.append(self._update(session, side, state.of(side), framed=True))
        if self._control is not None and self._alive and commands:
            self._control.request(commands)
        if any(state.idle for state in self._sessions.values()):
            self._refresh_later()


def _absent(remote: Remote | None) -> bool:
    """Whether nothing is to be sent to a side: no address, or the hold of RFC 2543."""
    return remote is None or remote.host == "0.0.0.0"


def check_address(remote: Remote | None) -> None:
    """See that a phone's address may be sent to.

    Raises:
        MediaError: "bad-address" for anything but a unicast IPv4 address and a port. None and
            0.0.0.0 pass: nothing is sent there.
    """
    if remote is None or _absent(remote):
        return
    try:
        address = ipaddress.IPv4Address(remote.host)
    except ValueError:
        raise MediaError("bad-address", "the phone's address is no IPv4 address") from None
    # 240.0.0.0/4 has the broadcast address and NOWHERE in it
    if address.is_multicast or address.is_reserved:
        raise MediaError("bad-address", "the phone's address is not a unicast address")
    if not 0 < remote.port < 65536:
        raise MediaError("bad-address", "the phone's port is out of range")


def _rule(mine: _SideState, remote: Remote | None) -> Rule:
    port = mine.local.port if mine.local is not None else 0
    if remote is None or _absent(remote):
        return Rule(port, "drop")
    if not remote.strict:
        return Rule(port, "open")
    if remote.any_port:
        return Rule(port, "host", remote.host)
    return Rule(port, "exact", remote.host, remote.port)


def _stop(session: str, side: Side) -> str:
    return f"S {session} a b" if side == "a" else f"S {session} b a"


def _local(reply: str) -> Local:
    port, host, *_ = reply.split()
    return Local(host, int(port))


def _quality(reply: str) -> SideQuality:
    packets, lost, jitter = reply.split()
    received = int(packets)
    return SideQuality(
        packets=received,
        lost=int(lost),
        jitter_ms=round(float(jitter) / _CLOCK_RATE * 1000, 2) if received else None,
    )
