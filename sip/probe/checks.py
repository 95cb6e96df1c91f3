"""The probe: places a real call and judges each step of it.

A probe registers like any phone, calls, sends a tone, listens for the answer's tone, presses
keys, reads the phone's own RTP counts and hangs up. Whoever takes the call is either an echo
extension of the system or a second account that the probe registers itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from dataclasses import dataclass, field
from typing import Literal

from sip.probe.phone import Phone, PhoneCall, PhoneError, PhoneTimeout, phone_available

TONE = 700.0
ANSWER_TONE = 1100.0
KEYS = "159#"

Transport = Literal["udp", "tcp", "tls"]


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """Where to, as whom, and what counts as good."""

    host: str
    user: str
    password: str
    port: int = 5060
    #: number to call: an echo extension, or None with `second_user`
    to: str | None = None
    transport: Transport = "udp"
    #: SIP domain where it is not the host
    domain: str = ""
    #: a second account; the probe's second phone registers with it and takes the call
    second_user: str | None = None
    second_password: str | None = None
    #: seconds that a step may take
    patience: float = 8.0
    #: seconds of audio over which loss is counted
    talk: float = 3.0
    #: limits: seconds until the call stands, percent of packets lost
    max_setup: float = 3.0
    max_loss: float = 1.0
    #: the probe's own address; "" takes the one that the way to the host starts from
    bind: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One step's outcome. `ok` is None where it could not be judged."""

    name: str
    ok: bool | None
    #: what was measured, in `unit`
    value: float | None = None
    unit: str = ""
    detail: str = ""


@dataclass(slots=True)
class ProbeReport:
    """All steps in their order."""

    target: str
    started: float
    checks: list[Check] = field(default_factory=list)
    #: why the probe could not run at all
    trouble: str = ""

    @property
    def ok(self) -> bool:
        """Whether every step that was judged passed and the probe could run."""
        return not self.trouble and all(check.ok is not False for check in self.checks)

    @property
    def exit_code(self) -> int:
        """0: all is well. 1: a step failed. 2: the probe could not run."""
        return 2 if self.trouble else 0 if self.ok else 1

    def add(
        self, name: str, ok: bool | None, value: float | None = None, unit: str = "", why: str = ""
    ) -> bool:
        """Note a step and return whether it did not fail."""
        rounded = None if value is None else round(value, 3)
        self.checks.append(Check(name, ok, rounded, unit, why))
        return ok is not False


async def run_probe(options: ProbeOptions) -> ProbeReport:
    """Place the call and return what was found. Failures are in the report, never raised."""
    report = ProbeReport(f"{options.host}:{options.port}/{options.transport}", time.time())
    if not phone_available():
        report.trouble = 'the probe needs the "probe" extra: pip install "comms[probe]"'
    elif options.second_user is None and options.to is None:
        report.trouble = "tell the probe a number to call or a second account that takes the call"
    else:
        report.trouble = await _unreachable(options)
    if report.trouble:
        return report
    try:
        async with contextlib.AsyncExitStack() as stack:
            await _probe(options, report, stack)
    except PhoneError as error:
        report.add("phone", False, why=str(error))
    return report


async def _unreachable(options: ProbeOptions) -> str:
    """Return why nothing can be sent to the host, "" if something can.

    UDP tells nothing before the registration's answer, so only the name is looked up.
    """
    loop = asyncio.get_running_loop()
    where = f"{options.host} port {options.port} over {options.transport}"
    try:
        await loop.getaddrinfo(options.host, options.port, family=socket.AF_INET)
    except OSError as error:
        return f"{options.host} has no IPv4 address: {error.strerror or error}"
    if options.transport == "udp":
        return ""
    try:
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(options.host, options.port), options.patience
        )
    except TimeoutError:
        return f"no connection to {where} within {options.patience:g} s"
    except OSError as error:
        return f"no connection to {where}: {error.strerror or error}"
    writer.close()
    return ""


async def _probe(
    options: ProbeOptions, report: ProbeReport, stack: contextlib.AsyncExitStack
) -> None:
    caller = await _phone(options, options.user, options.password, TONE, stack)
    if not await _register(report, "registration", caller, options.patience):
        return
    stack.push_async_callback(_leave, caller, options.patience)
    callee: Phone | None = None
    if options.second_user is not None:
        password = options.second_password or ""
        callee = await _phone(options, options.second_user, password, ANSWER_TONE, stack)
        if not await _register(report, "second registration", callee, options.patience):
            return
        stack.push_async_callback(_leave, callee, options.patience)

    call = await caller.call(options.to or options.second_user or "")
    taken = await _set_up(options, report, call, callee)
    if call.state != "CONFIRMED" or (callee is not None and taken is None):
        with contextlib.suppress(PhoneError):
            await call.hangup()
        return
    await _audio(report, call, taken)
    await _keys(report, call, taken)
    await _loss(options, report, call)
    await _hang_up(options, report, call, taken)


async def _phone(
    options: ProbeOptions,
    user: str,
    password: str,
    tone: float,
    stack: contextlib.AsyncExitStack,
) -> Phone:
    phone = await Phone.start(
        user,
        password,
        host=options.host,
        port=options.port,
        domain=options.domain,
        proxy=bool(options.domain),
        transport=options.transport,
        tone=tone,
        bind=options.bind or _own_address(options.host, options.port),
        expires=120,
    )
    return await stack.enter_async_context(phone)


def _own_address(host: str, port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, port))  # chooses a route, sends nothing
        address: str = probe.getsockname()[0]
    return address


async def _leave(phone: Phone, patience: float) -> None:
    """Take the registration back, so that nobody's calls go to a probe that is gone."""
    with contextlib.suppress(PhoneError):
        await phone.unregister(patience)


async def _register(report: ProbeReport, name: str, phone: Phone, patience: float) -> bool:
    try:
        answer = await phone.register(patience)
    except PhoneTimeout:
        why = f"no answer from {report.target} within {patience:g} s"
        return report.add(name, False, why=why)
    if answer.code != 200:
        return report.add(name, False, answer.seconds, "s", f"{answer.code} {answer.reason}")
    return report.add(name, True, answer.seconds, "s")


async def _set_up(
    options: ProbeOptions, report: ProbeReport, call: PhoneCall, callee: Phone | None
) -> PhoneCall | None:
    taken: PhoneCall | None = None
    try:
        if callee is not None:
            taken = await callee.incoming(options.patience)
            await taken.answer(180)
            await taken.answer(200)
        confirmed = await call.until("CONFIRMED", options.patience)
    except PhoneTimeout as error:
        refused = call.passages[-1] if call.state == "DISCONNECTED" else None
        why = f"{refused.code} {refused.reason}" if refused else str(error)
        report.add("set-up", False, why=why)
        return None
    seconds = confirmed.at - call.started
    slow = seconds > options.max_setup
    why = f"slower than {options.max_setup:g} s" if slow else ""
    report.add("set-up", not slow, seconds, "s", why)
    return taken


async def _audio(report: ProbeReport, call: PhoneCall, taken: PhoneCall | None) -> None:
    if taken is None:
        await _hearing(report, "echo comes back", call, TONE)
        return
    await asyncio.gather(
        _hearing(report, "caller hears", call, ANSWER_TONE),
        _hearing(report, "callee hears", taken, TONE),
    )


async def _hearing(report: ProbeReport, name: str, call: PhoneCall, hz: float) -> None:
    began = call.reached("CONFIRMED")
    try:
        onset = await call.hears(hz, since=0, within=5.0)
    except PhoneTimeout as error:
        report.add(name, False, why=str(error))
        return
    delay = max(0.0, onset - began.at) if began is not None else None
    report.add(name, True, delay, "s", f"{hz:g} Hz")


async def _keys(report: ProbeReport, call: PhoneCall, taken: PhoneCall | None) -> None:
    listener = taken or call
    await call.dtmf(KEYS)
    try:
        await listener.until_digits(KEYS, within=4.0)
    except PhoneTimeout:
        if taken is None:
            report.add("keys", None, why="the echo returned no keys, so they cannot be judged")
        else:
            report.add("keys", False, why=f"sent {KEYS}, arrived {listener.digits or 'nothing'}")
        return
    report.add("keys", True, why=KEYS)


async def _loss(options: ProbeOptions, report: ProbeReport, call: PhoneCall) -> None:
    talked = call.reached("CONFIRMED")
    if talked is not None:
        await call.listen(max(0.0, options.talk - (time.monotonic() - talked.at)))
    if call.state != "CONFIRMED":
        report.add("loss", False, why="the call ended by itself")
        return
    counts = await call.statistics()
    expected = counts.received + counts.lost
    percent = 100.0 * counts.lost / expected if expected else 100.0
    ok = percent <= options.max_loss
    why = f"{counts.lost} of {expected} packets" + ("" if ok else f", limit {options.max_loss:g} %")
    report.add("loss", ok, percent, "%", why)
    report.add("jitter", None, counts.jitter_ms, "ms")
    if counts.round_trip_ms is not None:
        report.add("round trip", None, counts.round_trip_ms, "ms")


async def _hang_up(
    options: ProbeOptions, report: ProbeReport, call: PhoneCall, taken: PhoneCall | None
) -> None:
    began = time.monotonic()
    far = taken or call
    try:
        await call.hangup()
        ended = await far.until("DISCONNECTED", options.patience)
        await call.until("DISCONNECTED", options.patience)
    except PhoneError as error:
        report.add("hang-up", False, why=str(error))
        return
    report.add("hang-up", True, ended.at - began, "s")
