"""`Phone`: a real SIP phone (pjsua2) as an awaitable object.

Each phone lives in a child process, because the library is compiled for one endpoint and four
calls a process and a crash in it must not take its user along. What the phone hears is recorded
to a file and judged by the tone in it, so that "they hear each other" is a measurement.

```
async with await Phone.start("201", "secret", host="127.0.0.1", port=5060, tone=700) as phone:
    assert (await phone.register()).code == 200
    call = await phone.call("202")
    await call.until("CONFIRMED", within=5)
    await call.hears(1100)
```

Times are seconds; points in time are of `time.monotonic()`, which all processes share.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from sip.media.tones import PURE_SHARE, SILENCE_RMS, Samples, rms, tone_share

RECORDING_RATE = 16000
_WAV_HEADER = 44
#: The recorder writes blocks of 4,000 bytes; a mark may lie this far behind what was heard.
RECORDING_LAG = 0.15
_POLL = 0.02

CallState = Literal[
    "NULL", "CALLING", "INCOMING", "EARLY", "CONNECTING", "CONFIRMED", "DISCONNECTED"
]


class PhoneError(Exception):
    """The phone refused an order or is gone."""


class PhoneMissing(PhoneError):
    """The pjsua2 wheel is not installed."""


class PhoneTimeout(PhoneError):
    """What was waited for did not happen in time; the text says what did."""


@dataclass(frozen=True, slots=True)
class Registration:
    """The registrar's last word."""

    code: int
    reason: str
    active: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Passage:
    """A state that a call went through."""

    state: CallState
    code: int
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """The phone's own RTP counts of a call."""

    sent: int
    received: int
    lost: int
    jitter_ms: float
    round_trip_ms: float | None


def phone_available() -> bool:
    """Return whether the pjsua2 wheel (extra `probe`) is installed."""
    return importlib.util.find_spec("pjsua2") is not None


class PhoneCall:
    """One call of a phone. Its passed states stay readable after it ended."""

    def __init__(self, phone: Phone, number: int) -> None:
        self._phone = phone
        self.number = number
        self.passages: list[Passage] = []
        self.media: list[tuple[str, float]] = []
        self.digits = ""
        self.remote = ""
        #: the INVITE as it arrived, for an incoming call
        self.invite = ""
        self.recording: Path | None = None
        self.recording_since = 0.0
        self.transfer_codes: list[int] = []
        self.started = time.monotonic()

    # --- what is known ---

    @property
    def state(self) -> CallState:
        """The newest state, "NULL" before the first."""
        return self.passages[-1].state if self.passages else "NULL"

    @property
    def code(self) -> int:
        """The newest SIP status."""
        return self.passages[-1].code if self.passages else 0

    def reached(self, state: CallState) -> Passage | None:
        """Return when the state was first reached, None if it was not."""
        return next((p for p in self.passages if p.state == state), None)

    def header(self, name: str) -> str | None:
        """Return the value of a header field of the incoming INVITE, None if it has none."""
        found = re.search(rf"(?im)^{re.escape(name)}\s*:\s*(.*?)\r?$", self.invite)
        return found[1] if found else None

    def samples(self, since: int = 0) -> Samples:
        """Return what was heard from sample number `since` on, at `RECORDING_RATE`."""
        if self.recording is None or not self.recording.exists():
            return np.zeros(0, np.int16)
        with self.recording.open("rb") as file:
            file.seek(_WAV_HEADER + 2 * since)
            data = file.read()
        return np.frombuffer(data[: len(data) & ~1], "<i2").astype(np.int16)

    @property
    def heard(self) -> int:
        """How many samples are recorded so far: a mark for `samples` and `hears`."""
        if self.recording is None or not self.recording.exists():
            return 0
        return max(0, self.recording.stat().st_size - _WAV_HEADER) // 2

    def when(self, sample: int) -> float:
        """Return when a sample of the recording was heard, to about 50 ms."""
        return self.recording_since + sample / RECORDING_RATE

    # --- orders ---

    async def answer(self, code: int = 200) -> None:
        """Answer an incoming call with a status: 180 rings, 183 opens early media, 200 takes it."""
        try:
            await self._phone._order("answer", call=self.number, code=code)
        except PhoneError as error:
            raise PhoneError(f"{error}: {self._story()}") from None

    async def hangup(self, code: int = 0) -> None:
        """End the call; an incoming one that rings is refused with `code` (603 by default)."""
        await self._phone._order("hangup", call=self.number, code=code)

    async def hold(self) -> None:
        """Hold the far end (re-INVITE with sendonly)."""
        await self._phone._order("hold", call=self.number)

    async def resume(self) -> None:
        """Take the far end back from hold."""
        await self._phone._order("resume", call=self.number)

    async def update(self) -> None:
        """Send an UPDATE (RFC 3311) with a fresh offer."""
        await self._phone._order("update", call=self.number)

    async def dtmf(self, digits: str) -> None:
        """Press keys (RFC 4733)."""
        await self._phone._order("dtmf", call=self.number, digits=digits)

    async def transfer(self, target: str) -> None:
        """Transfer the far end to `target` without asking (REFER)."""
        await self._phone._order("transfer", call=self.number, uri=self._phone.uri(target))

    async def attend(self, other: PhoneCall) -> None:
        """Connect this call's far end with that of `other` (REFER with Replaces)."""
        await self._phone._order("attend", call=self.number, other=other.number)

    async def statistics(self) -> Statistics:
        """Return the phone's RTP counts; only while the call lives."""
        return Statistics(**await self._phone._order("statistics", call=self.number))

    # --- conditions ---

    async def until(self, state: CallState, within: float = 5.0) -> Passage:
        """Wait for a state and return the passage.

        Raises:
            PhoneTimeout: not within the time, or the call ended without it.
        """
        await self._phone._until(
            lambda: self.reached(state) or (self.state == "DISCONNECTED"),
            within,
            lambda: f"{state} of call {self.number}, which went through {self._story()}",
        )
        passage = self.reached(state)
        if passage is None:
            raise PhoneTimeout(f"call {self.number} ended without {state}: {self._story()}")
        return passage

    async def until_media(self, status: str, within: float = 5.0) -> None:
        """Wait until the newest media status is `status` (active, local-hold, remote-hold)."""
        await self._phone._until(
            lambda: bool(self.media) and self.media[-1][0] == status,
            within,
            lambda: f"media {status} of call {self.number}; it has {self.media[-1:] or 'none'}",
        )

    async def until_digits(self, digits: str, within: float = 5.0) -> None:
        """Wait until these keys were received."""
        await self._phone._until(
            lambda: digits in self.digits,
            within,
            lambda: f"keys {digits} of call {self.number}, which got {self.digits!r}",
        )

    async def hears(
        self, hz: float, seconds: float = 0.3, within: float = 4.0, since: int | None = None
    ) -> float:
        """Wait until the tone was heard for `seconds` in total and return when it began.

        Counts what is recorded from now on, or from the mark `since` (see `heard`).

        Raises:
            PhoneTimeout: the tone was not heard that long within the time.
        """
        mark = self.heard if since is None else since
        block = RECORDING_RATE // 25
        deadline = time.monotonic() + within
        hits = 0
        begin: float | None = None
        while True:
            samples = self.samples(mark)
            whole = len(samples) - len(samples) % block
            for start in range(0, whole, block):
                if tone_share(samples[start : start + block], hz, RECORDING_RATE) >= PURE_SHARE:
                    hits += 1
                    if begin is None:
                        begin = self.when(mark + start)
            mark += whole
            if begin is not None and hits * block / RECORDING_RATE >= seconds:
                return begin
            if time.monotonic() > deadline:
                raise PhoneTimeout(
                    f"{hz:g} Hz was heard for {hits * block / RECORDING_RATE:.2f} s of {seconds} s"
                    f" within {within} s in call {self.number} ({self._story()})"
                )
            await asyncio.sleep(_POLL)

    async def listen(self, seconds: float) -> Samples:
        """Return the next `seconds` of what is heard; less comes back if the call ends."""
        mark = self.heard
        wanted = round(seconds * RECORDING_RATE)
        deadline = time.monotonic() + seconds + 2.0
        while True:
            if self.heard >= mark + wanted or time.monotonic() > deadline:
                return self.samples(mark)[:wanted]
            await asyncio.sleep(_POLL)

    async def hears_sound(self, seconds: float = 0.5, within: float = 4.0) -> None:
        """Wait until something (a voice, music) was heard for `seconds` in total.

        Raises:
            PhoneTimeout: it stayed silent.
        """
        mark = self.heard
        block = RECORDING_RATE // 25
        deadline = time.monotonic() + within
        while True:
            samples = self.samples(mark)
            loud = sum(
                rms(samples[start : start + block]) >= SILENCE_RMS
                for start in range(0, len(samples) - block + 1, block)
            )
            if loud * block / RECORDING_RATE >= seconds:
                return
            if time.monotonic() > deadline:
                raise PhoneTimeout(f"call {self.number} heard no sound ({self._story()})")
            await asyncio.sleep(_POLL)

    def _story(self) -> str:
        steps = [f"{p.state} {p.code} +{p.at - self.started:.2f}s" for p in self.passages]
        return ", ".join(steps) or "nothing"


class Phone:
    """A pjsua2 phone in its own process. Use `Phone.start`, and `async with` or `stop`."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process = process
        self._folder = folder
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._changed: set[asyncio.Future[None]] = set()
        self._requests = 0
        self._incoming: list[PhoneCall] = []
        self._gone = False
        self._last_registration: Registration | None = None
        self._reader = asyncio.create_task(self._read())
        self.calls: dict[int, PhoneCall] = {}
        self.troubles: list[str] = []
        #: "host:port" that the phone itself listens at
        self.local = ""
        self._domain = ""
        self._suffix = ""

    @classmethod
    async def start(
        cls,
        user: str,
        password: str = "",
        *,
        host: str = "",
        port: int = 5060,
        domain: str = "",
        transport: Literal["udp", "tcp", "tls"] = "udp",
        codecs: Sequence[str] = ("PCMA", "PCMU", "G722"),
        tone: float | None = None,
        bind: str = "127.0.0.1",
        bind_port: int = 0,
        auto_answer: int = 0,
        session_timer: int = 0,
        srtp: int = 0,
        expires: int = 300,
        proxy: bool = False,
        log: str = "",
    ) -> Phone:
        """Start a phone; it neither registers nor calls yet.

        `host` and `port` are the server's (none: a phone without server, for direct calls);
        `bind_port` is the phone's own port, 0 for a free one;
        `domain` is the SIP domain if it is not the host; `proxy` makes the server an outbound
        proxy (a Route header in each request). `tone` in Hz is sent into each call.
        `session_timer` in seconds (at least 90) demands RFC 4028. `srtp` is 0 off, 1 optional,
        2 mandatory. `log` is a file for the library's own log.

        Raises:
            PhoneMissing: the pjsua2 wheel is not installed.
            PhoneError: the phone could not start.
        """
        if not phone_available():
            raise PhoneMissing('the phone needs the "probe" extra: pip install "comms[probe]"')
        folder = Path(tempfile.mkdtemp(prefix="comms-phone-"))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sip.probe.phone_process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            limit=1 << 20,
        )
        phone = cls(process, folder)
        phone._domain = domain or (f"{host}:{port}" if host else "")
        phone._suffix = "" if transport == "udp" else f";transport={transport}"
        try:
            started = await phone._order(
                "start",
                user=user,
                password=password,
                host=host,
                port=port,
                domain=domain or host,
                transport=transport,
                codecs=list(codecs),
                bind=bind,
                bind_port=bind_port,
                folder=str(folder),
                tone=tone,
                auto_answer=auto_answer,
                session_timer=session_timer,
                srtp=srtp,
                expires=expires,
                proxy=proxy,
                log=log,
            )
        except BaseException:
            await phone.stop()
            raise
        phone.local = started["local"]
        return phone

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def uri(self, target: str) -> str:
        """Return the SIP URI that dialling `target` means."""
        if target.startswith(("sip:", "sips:")):
            return target
        return f"sip:{target}@{self._domain}{self._suffix}"

    # --- orders ---

    async def register(self, within: float = 10.0) -> Registration:
        """Register and return the registrar's answer (also a refusal)."""
        return await self._registration(True, within)

    async def unregister(self, within: float = 10.0) -> Registration:
        """Take the registration back."""
        return await self._registration(False, within)

    async def _registration(self, renew: bool, within: float) -> Registration:
        self._last_registration = None
        began = time.monotonic()
        await self._order("register", renew=renew)
        await self._until(
            lambda: self._last_registration is not None, within, lambda: "the registrar's answer"
        )
        answer = self._last_registration
        assert answer is not None
        return Registration(answer.code, answer.reason, answer.active, time.monotonic() - began)

    async def call(self, target: str, headers: Mapping[str, str] | None = None) -> PhoneCall:
        """Call a number or URI; `headers` go into the INVITE.

        Raises:
            PhoneError: the phone has no free line (it has four) or the URI is no URI.
        """
        began = time.monotonic()
        number = await self._order("call", uri=self.uri(target), headers=dict(headers or {}))
        call = self._call(number)
        call.started = began
        return call

    async def incoming(self, within: float = 5.0) -> PhoneCall:
        """Wait for the next incoming call that was not handed out yet."""
        await self._until(lambda: bool(self._incoming), within, lambda: "an incoming call")
        return self._incoming.pop(0)

    @property
    def rings(self) -> bool:
        """Whether an incoming call waits to be handed out."""
        return bool(self._incoming)

    async def send_tone(self, hz: float) -> None:
        """Send another tone into all calls."""
        await self._order("tone", hz=hz)

    async def send_file(self, path: Path) -> None:
        """Send a WAV file (16 bit mono), again and again, into all calls."""
        await self._order("play", path=str(path))

    async def stop(self) -> None:
        """End the phone's process at once; calls are hung up as a phone's would that loses power:
        not at all. Hang up first where the far end must hear of it."""
        if self._process.returncode is None and self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 2.0)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        await self._reader
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """End the process without a word on the network, as a power cut does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    # --- the pipe ---

    async def _order(self, verb: str, **fields: Any) -> Any:
        if self._gone or self._process.stdin is None:
            raise PhoneError("the phone's process is gone")
        self._requests += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[self._requests] = answer
        line = json.dumps({"id": self._requests, "do": verb, **fields})
        self._process.stdin.write(line.encode() + b"\n")
        return await asyncio.wait_for(answer, 10.0)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            if "event" in message:
                self._take(message)
            else:
                answer = self._answers.pop(message["id"])
                if answer.done():
                    continue
                if "error" in message:
                    answer.set_exception(PhoneError(message["error"]))
                else:
                    answer.set_result(message["result"])
            self._wake()
        self._gone = True
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(PhoneError("the phone's process ended"))
        self._wake()

    def _call(self, number: int) -> PhoneCall:
        return self.calls.setdefault(number, PhoneCall(self, number))

    def _take(self, message: dict[str, Any]) -> None:
        kind, at = message["event"], message["at"]
        if kind == "registration":
            self._last_registration = Registration(
                message["code"], message["reason"], message["active"], 0.0
            )
            return
        if kind == "trouble":
            self.troubles.append(message["text"])
            return
        call = self._call(message["call"])
        if kind == "incoming":
            call.remote = message["remote"]
            call.invite = message["message"]
            if not call.passages:
                call.passages.append(Passage("INCOMING", 0, "", at))
            self._incoming.append(call)
        elif kind == "state":
            call.passages.append(Passage(message["state"], message["code"], message["reason"], at))
        elif kind == "media":
            call.media.append((message["media"], at))
        elif kind == "recording":
            call.recording = Path(message["path"])
            call.recording_since = at
        elif kind == "dtmf":
            call.digits += message["digit"]
        elif kind == "transfer":
            call.transfer_codes.append(message["code"])
        elif kind == "referred":
            self._incoming.append(self._call(message["new"]))

    def _wake(self) -> None:
        for waiter in self._changed:
            if not waiter.done():
                waiter.set_result(None)
        self._changed.clear()

    async def _until(
        self, condition: Callable[[], object], within: float, what: Callable[[], str]
    ) -> None:
        deadline = time.monotonic() + within
        loop = asyncio.get_running_loop()
        while not condition():
            if self._gone:
                raise PhoneError(f"the phone's process ended while it waited for {what()}")
            waiter: asyncio.Future[None] = loop.create_future()
            self._changed.add(waiter)
            try:
                await asyncio.wait_for(waiter, deadline - time.monotonic())
            except TimeoutError:
                raise PhoneTimeout(f"waited {within:g} s for {what()}") from None
            finally:
                self._changed.discard(waiter)
