"""Runs SIPp scenarios of tests/e2e/sipp and reads what came of them.

SIPp is a second, independent SIP implementation: what a phone library hides (a CANCEL in the
right moment, a refused re-INVITE) it plays literally.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import os
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

SCENARIOS = Path(__file__).parents[1] / "e2e" / "sipp"
_POLL = 0.02


class SippError(AssertionError):
    """The scenario failed or did not end in time; the text carries SIPp's own errors."""


@dataclass(frozen=True, slots=True)
class SippResult:
    """The scenario's end."""

    exit_code: int
    successful: int
    failed: int
    retransmissions: int
    #: everything sent and received, as SIPp logs it
    messages: str


def sipp_available() -> bool:
    """Return whether the program `sipp` is installed."""
    return shutil.which("sipp") is not None


def free_port(kind: socket.SocketKind = socket.SOCK_DGRAM, pair: bool = False) -> int:
    """Return a port that is free on 127.0.0.1; with `pair` an even one whose successor is too."""
    while True:
        with socket.socket(socket.AF_INET, kind) as one:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            if not pair:
                return port
            if port % 2 or port > 65000:
                continue
            with socket.socket(socket.AF_INET, kind) as two, contextlib.suppress(OSError):
                two.bind(("127.0.0.1", port + 1))
                return port


def _listens(port: int) -> bool:
    wanted = f":{port:04X} "
    lines = Path("/proc/net/udp").read_text().splitlines()[1:]
    return any(wanted in " ".join(line.split()[1:2]) + " " for line in lines)


class Sipp:
    """A running scenario. Use `sipp(...)`, which also ends it."""

    def __init__(
        self, process: asyncio.subprocess.Process, scenario: str, port: int, folder: Path
    ) -> None:
        self._process = process
        self._scenario = scenario
        self._folder = folder
        self.port = port

    @property
    def messages(self) -> str:
        """The message log so far."""
        path = self._folder / "messages.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def errors(self) -> str:
        """SIPp's error log so far."""
        path = self._folder / "errors.log"
        return path.read_text(errors="replace") if path.exists() else ""

    async def until(self, text: str, within: float = 5.0) -> None:
        """Wait until `text` (such as "SIP/2.0 180") is in the message log.

        Raises:
            SippError: it was not in time.
        """
        deadline = time.monotonic() + within
        while True:
            if text in self.messages:
                return
            if time.monotonic() > deadline:
                raise SippError(f"{self._scenario}: no {text!r} within {within:g} s. {self.errors}")
            await asyncio.sleep(_POLL)

    async def ready(self, within: float = 5.0) -> None:
        """Wait until SIPp listens."""
        deadline = time.monotonic() + within
        while True:
            if _listens(self.port):
                return
            if self._process.returncode is not None or time.monotonic() > deadline:
                raise SippError(f"{self._scenario}: SIPp does not listen. {self.errors}")
            await asyncio.sleep(_POLL)

    async def done(self, within: float = 15.0, expect_success: bool = True) -> SippResult:
        """Wait for the end and return the result.

        Raises:
            SippError: not in time, or failed although success was expected.
        """
        try:
            code = await asyncio.wait_for(self._process.wait(), within)
        except TimeoutError:
            raise SippError(
                f"{self._scenario} did not end within {within:g} s. {self.errors}\n"
                f"{self.messages[-3000:]}"
            ) from None
        row = self._last_statistics()
        result = SippResult(
            code,
            int(row.get("SuccessfulCall(C)", 0)),
            int(row.get("FailedCall(C)", 0)),
            int(row.get("Retransmissions(C)", 0)),
            self.messages,
        )
        if expect_success and (code != 0 or result.failed):
            raise SippError(
                f"{self._scenario} failed (exit {code}). {self.errors}\n{self.messages[-3000:]}"
            )
        return result

    def _last_statistics(self) -> dict[str, str]:
        path = self._folder / "statistics.csv"
        if not path.exists():
            return {}
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";"))
        return rows[-1] if rows else {}

    async def end(self) -> None:
        """End SIPp if it still runs and remove its logs."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


@asynccontextmanager
async def sipp(
    scenario: str,
    server: tuple[str, int] | None = None,
    *,
    number: str = "",
    keys: Mapping[str, str] | None = None,
    status: str = "",
    port: int = 0,
    calls: int = 1,
    rate: float | None = None,
    user: str = "",
    password: str = "",
    echo: bool = False,
    transport: str = "u1",
    pause_ms: int = 1000,
) -> AsyncIterator[Sipp]:
    """Run a scenario by its file's stem.

    Args:
        server: where requests go; None for a scenario that is called.
        number: the number called, `[service]` in the file.
        keys: further keywords of the file, such as caller.
        status: what stands for `%STATUS%` in the file, such as "486 Busy Here" (SIPp wants the
            status of a response literally).
        echo: send received RTP back.
        pause_ms: how long a conversation lasts.
    """
    folder = Path(tempfile.mkdtemp(prefix="comms-sipp-"))
    source = (SCENARIOS / f"{scenario}.xml").read_text()
    (folder / f"{scenario}.xml").write_text(source.replace("%STATUS%", status))
    port = port or free_port()
    media = free_port(pair=True)
    options = [
        *(["-s", number] if number else []),
        *(["-r", str(rate)] if rate is not None else []),
        *(["-au", user, "-ap", password] if user else []),
        *(["-rtp_echo"] if echo else []),
        *[part for key, value in (keys or {}).items() for part in ("-key", key, value)],
    ]
    with (folder / "screen.log").open("wb") as screen:
        process = await asyncio.create_subprocess_exec(
            "sipp",
            *([f"{server[0]}:{server[1]}"] if server else []),
            *("-sf", str(folder / f"{scenario}.xml")),
            *("-i", "127.0.0.1", "-p", str(port), "-mi", "127.0.0.1", "-mp", str(media)),
            *("-t", transport, "-m", str(calls), "-d", str(pause_ms)),
            *("-nostdin", "-trace_stat", "-stf", str(folder / "statistics.csv"), "-fd", "1"),
            *("-trace_msg", "-message_file", str(folder / "messages.log")),
            *("-trace_err", "-error_file", str(folder / "errors.log")),
            *options,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=screen,
            stderr=screen,
            cwd=folder,
            env={**os.environ, "TERM": "dumb"},
        )
    run = Sipp(process, scenario, port, folder)
    try:
        await run.ready()
        yield run
    finally:
        await run.end()
