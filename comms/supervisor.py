"""Starts, watches, restarts and stops the processes of one running system.

Children start in stages: all of a stage are ready before the next one starts, and they stop in
the opposite order. A child that ends is started again: at once the first time, then with a
growing pause, and after too many times in a row the system stops with the child's last lines. A
child with a standby has a second process that has already imported and read everything, so that
its work goes on within milliseconds.

Children die with the supervisor, whatever ends it (`PR_SET_PDEATHSIG`).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import structlog

from comms.errors import OperatorError
from comms.ready import READY_VARIABLE, STANDBY_VARIABLE

log = structlog.get_logger(__name__)

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl

#: lines of a child's output that are kept to explain its end
_KEPT_LINES = 20
_PROBE_SECONDS = 0.01


class StartError(OperatorError):
    """The system cannot start or go on."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process to keep running."""

    name: str
    argv: tuple[str, ...]
    #: lower stages start first and stop last
    stage: int = 1
    #: says whether the child serves; None: the child calls `comms.ready.tell_ready`
    probe: Callable[[], Awaitable[bool]] | None = None
    #: run just before each start, e.g. to remove what a killed predecessor left
    prepare: Callable[[], None] | None = None
    #: keep a second process that waits in `comms.ready.wait_for_turn`
    standby: bool = False
    #: what the child gets when the supervisor dies without stopping it
    death_signal: int = signal.SIGKILL
    #: False: what it prints is no log of ours and is passed on inside of events
    structured: bool = True
    ready_seconds: float = 60.0
    stop_seconds: float = 10.0
    #: makes the line for the operator out of the child's last lines
    explain: Callable[[Sequence[str]], str] | None = None


@dataclass(frozen=True, slots=True)
class Restart:
    """How often and how fast a child is started again."""

    #: pause before the second restart in a row; it doubles with each further one
    pause: float = 0.1
    max_pause: float = 5.0
    #: a child that served this long starts again with a clean slate
    healthy_after: float = 10.0
    #: so many ends in a row and the system stops
    give_up_after: int = 8


@dataclass(slots=True)
class _Process:
    """A started process and the supervisor's end of its socket pair."""

    process: asyncio.subprocess.Process
    link: socket.socket
    started: float
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    reader: asyncio.Task[None] | None = None

    async def ended(self) -> int:
        """Wait for the end and for the last output; return the exit code."""
        code = await self.process.wait()
        if self.reader is not None:
            # a grandchild may hold the pipe open; what matters is there long before
            await asyncio.wait([self.reader], timeout=0.5)
        return code


class Supervisor:
    """Runs children until a signal or a child that cannot be kept running ends it."""

    def __init__(
        self,
        children: Sequence[Child],
        *,
        run_dir: Path,
        environment: Mapping[str, str],
        restart: Restart | None = None,
        output: IO[str] | None = None,
    ) -> None:
        """Plan to run `children` with `environment` over the own one.

        `run_dir` gets `supervisor.json` with each child's process id and number of restarts, for
        `comms check` and for tests. What children print goes to `output`, standard error.
        """
        self._children = sorted(children, key=lambda child: child.stage)
        self._run_dir = run_dir
        self._environment = {**os.environ, **environment}
        self._restart = restart or Restart()
        self._output = output or sys.stderr
        self._running: dict[str, _Process] = {}
        self._standbys: dict[str, _Process] = {}
        self._restarts: dict[str, int] = {child.name: 0 for child in children}
        self._watchers: list[asyncio.Task[None]] = []
        self._ready = asyncio.Event()
        self._stop = asyncio.Event()
        self._failure: StartError | None = None

    @property
    def ready(self) -> asyncio.Event:
        """Set once every child served for the first time."""
        return self._ready

    def stop(self) -> None:
        """Ask `run` to stop all children in order and return."""
        self._stop.set()

    def fail(self, reason: str) -> None:
        """Ask `run` to stop all children and raise `StartError`."""
        self._failure = self._failure or StartError(reason)
        self._stop.set()

    async def run(self) -> None:
        """Start everything, keep it running, and stop it in order on `stop` or a signal.

        Raises:
            StartError: another supervisor uses the folder, a child did not start, or one
                crashed again and again.
        """
        loop = asyncio.get_running_loop()
        with _lock(self._run_dir):
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop.set)
            try:
                await self._start_all()
                await self._stop.wait()
            finally:
                # a second signal does not wait for children that finish their work
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.add_signal_handler(number, self._kill_all)
                await self._stop_all()
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.remove_signal_handler(number)
        if self._failure is not None:
            raise self._failure

    async def _start_all(self) -> None:
        for stage in sorted({child.stage for child in self._children}):
            starting = [
                asyncio.create_task(self._first_start(child), name=child.name)
                for child in self._children
                if child.stage == stage
            ]
            stopping = asyncio.create_task(self._stop.wait())
            together = asyncio.ensure_future(asyncio.gather(*starting))
            waited: list[asyncio.Future[Any]] = [together, stopping]
            try:
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if together.done():
                    together.result()
            finally:
                stopping.cancel()
                for task in starting:
                    task.cancel()
                await asyncio.gather(together, stopping, return_exceptions=True)
            if self._stop.is_set():
                return
        self._ready.set()
        for child in self._children:
            if child.standby:
                self._standbys[child.name] = await self._spawn(child, standby=True)
            self._watchers.append(
                asyncio.create_task(self._watch(child), name=f"watch-{child.name}")
            )
        self._write_status()

    async def _first_start(self, child: Child) -> None:
        running = self._running[child.name] = await self._spawn(child)
        self._write_status()
        if not await self._served(child, running):
            raise StartError(await self._why(child, running))
        log.info(
            "child serves",
            child=child.name,
            pid=running.process.pid,
            after_ms=round((time.monotonic() - running.started) * 1000),
        )

    async def _watch(self, child: Child) -> None:
        """Start `child` again whenever it ends, until it ends too often."""
        in_a_row = 0
        while True:
            running = self._running[child.name]
            code = await running.process.wait()
            if time.monotonic() - running.started > self._restart.healthy_after:
                in_a_row = 0
            in_a_row += 1
            log.warning("child ended", child=child.name, code=code, in_a_row=in_a_row)
            if in_a_row >= self._restart.give_up_after:
                self.fail(
                    f"{child.name} ended {in_a_row} times in a row; it printed last: "
                    + await self._why(child, running)
                )
                return
            if in_a_row > 1:
                pause = self._restart.pause * 2 ** (in_a_row - 2)
                await asyncio.sleep(min(pause, self._restart.max_pause))
            try:
                await self._start_again(child)
            except StartError as error:
                self.fail(str(error))
                return

    async def _start_again(self, child: Child) -> None:
        standby = self._standbys.pop(child.name, None)
        if standby is not None and standby.process.returncode is None:
            running = standby
            running.started = time.monotonic()
            with contextlib.suppress(OSError):
                running.link.send(b"G")
        else:
            running = await self._spawn(child)
        self._running[child.name].link.close()
        self._running[child.name] = running
        self._restarts[child.name] += 1
        self._write_status()
        if await self._served(child, running):
            log.info(
                "child serves again",
                child=child.name,
                pid=running.process.pid,
                after_ms=round((time.monotonic() - running.started) * 1000),
            )
        elif running.process.returncode is None:
            log.error("child does not become ready", child=child.name)
            _send(running, signal.SIGKILL)
        if child.standby:
            self._standbys[child.name] = await self._spawn(child, standby=True)

    async def _spawn(self, child: Child, *, standby: bool = False) -> _Process:
        if child.prepare is not None:
            child.prepare()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        environment = {**self._environment, READY_VARIABLE: str(theirs.fileno())}
        if standby:
            environment[STANDBY_VARIABLE] = "1"
        started = time.monotonic()
        try:
            process = await asyncio.create_subprocess_exec(
                *child.argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=environment,
                pass_fds=(theirs.fileno(),),
                # a Ctrl-C at the terminal reaches the supervisor alone, which stops in order
                process_group=0,
                preexec_fn=partial(_die_with_parent, child.death_signal, os.getpid()),
            )
        except OSError as error:
            ours.close()
            raise StartError(f"{child.name} cannot be started: {error}") from None
        finally:
            theirs.close()
        running = _Process(process, ours, started)
        running.reader = asyncio.create_task(self._forward(child, running))
        return running

    async def _forward(self, child: Child, running: _Process) -> None:
        """Pass on what the child prints, and keep the last lines."""
        stream = running.process.stdout
        assert stream is not None
        while True:
            try:
                line = await stream.readline()
            except ValueError:
                # longer than the reader's limit: asyncio has dropped it
                continue
            if not line:
                return
            text = line.decode(errors="replace")
            running.lines.append(text.rstrip("\n"))
            if child.structured:
                self._output.write(text)
                self._output.flush()
            else:
                log.debug("child printed", child=child.name, line=text.rstrip("\n"))

    async def _served(self, child: Child, running: _Process) -> bool:
        """Wait until the child serves; False when it ended or took too long."""
        loop = asyncio.get_running_loop()
        ended = asyncio.create_task(running.process.wait())
        serves: asyncio.Task[bool] = asyncio.create_task(
            _probe(child.probe) if child.probe else _told(loop, running.link)
        )
        try:
            await asyncio.wait(
                [ended, serves],
                timeout=child.ready_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not ended.done() and serves.done() and not serves.result():
                # the child closed its end without a word: it is about to end
                await asyncio.wait([ended], timeout=1.0)
            return serves.done() and serves.result() and not ended.done()
        finally:
            ended.cancel()
            serves.cancel()
            await asyncio.gather(ended, serves, return_exceptions=True)

    async def _why(self, child: Child, running: _Process) -> str:
        if running.process.returncode is None:
            return f"{child.name} was not ready after {child.ready_seconds:g} s"
        code = await running.ended()
        lines = [line for line in running.lines if line.strip()]
        if child.explain is not None:
            return child.explain(lines)
        if lines:
            return lines[-1].strip()
        return f"{child.name} ended with code {code} and printed nothing"

    async def _stop_all(self) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        for standby in self._standbys.values():
            _send(standby, signal.SIGKILL)
        for stage in sorted({child.stage for child in self._children}, reverse=True):
            stopping = [
                self._stop_one(child, self._running[child.name])
                for child in self._children
                if child.stage == stage and child.name in self._running
            ]
            await asyncio.gather(*stopping)
        for process in (*self._running.values(), *self._standbys.values()):
            await process.ended()
            process.link.close()
            if process.reader is not None:
                process.reader.cancel()
        _status_file(self._run_dir).unlink(missing_ok=True)

    async def _stop_one(self, child: Child, running: _Process) -> None:
        _send(running, signal.SIGTERM)
        try:
            async with asyncio.timeout(child.stop_seconds):
                await running.process.wait()
        except TimeoutError:
            log.warning("child did not stop in time", child=child.name)
            _send(running, signal.SIGKILL)

    def _kill_all(self) -> None:
        for process in self._running.values():
            _send(process, signal.SIGKILL)

    def _write_status(self) -> None:
        status = {
            "pid": os.getpid(),
            "children": {
                name: {"pid": running.process.pid, "restarts": self._restarts[name]}
                for name, running in self._running.items()
            },
        }
        path = _status_file(self._run_dir)
        new = path.with_suffix(".new")
        new.write_text(json.dumps(status))
        new.replace(path)


def read_status(run_dir: Path) -> dict[str, dict[str, int]]:
    """Return each child's `pid` and `restarts` of the system that runs on a folder, {} if none."""
    try:
        return dict(json.loads(_status_file(run_dir).read_text())["children"])
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        return {}


def _status_file(run_dir: Path) -> Path:
    return run_dir / "supervisor.json"


@contextlib.contextmanager
def _lock(run_dir: Path) -> Iterator[None]:
    """Hold the folder against a second supervisor. The lock goes when the process does."""
    with (run_dir / "supervisor.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(
                f"another comms runs on this data folder (it holds {file.name}); stop it, or "
                "choose another folder with --data or general.data_dir"
            ) from None
        yield


def _die_with_parent(number: int, parent: int) -> None:
    """Run in the child between fork and exec."""
    _prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _send(running: _Process, number: int) -> None:
    # not Process.send_signal: it asks for the exit code first and so takes it from asyncio
    if running.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.process.pid, number)


async def _told(loop: asyncio.AbstractEventLoop, link: socket.socket) -> bool:
    try:
        return await loop.sock_recv(link, 1) == b"R"
    except OSError:
        return False


async def _probe(probe: Callable[[], Awaitable[bool]]) -> bool:
    # another program is asked, which has no event to wait for
    while not await probe():  # noqa: ASYNC110
        await asyncio.sleep(_PROBE_SECONDS)
    return True
