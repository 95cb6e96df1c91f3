"""What a relayed packet costs the media engine.

    python bench/relay.py [--calls 300] [--seconds 10] [--json]

Two-way G.711, 50 packets a second a side, the engine's process on one core and this program on
the other. CPU is user and system time of the engine's whole process. Others are measured with
the same load by `measure`, given their process and one `Stream` a direction.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from bench.results import Figure, report  # noqa: E402
from bench.rig import LOAD_CORE, SERVER_CORE, cpu_seconds  # noqa: E402
from sip.media.engine import Local, Remote  # noqa: E402
from sip.media.rtpio import RtpIoEngine  # noqa: E402

ADDRESS = "127.0.0.1"
PCMA = 8
FRAME_SECONDS = 0.02
#: the streams are spread over so many moments of a frame, as real phones are
SLOTS = 20
_HEADER = struct.Struct("!BBHII")
_SETTLE_SECONDS = 1.0
#: every so many-th stream is timed by the kernel's clock
_TIMED = 10
_SO_TIMESTAMPNS = 35


class Stream:
    """A phone's socket: it sends a packet a frame to `target`, if it has one, and counts."""

    def __init__(self, number: int) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ADDRESS, 0))
        self.socket.setblocking(False)
        self.port: int = self.socket.getsockname()[1]
        self.sent = 0
        self.received = 0
        #: the stream whose packets arrive here
        self.peer: Stream | None = None
        self.timed = number % _TIMED == 0
        self.sent_at: dict[int, float] = {}
        self.delays: list[float] = []
        self._packet = bytearray(_HEADER.size + 160)
        self._ssrc = number + 1
        self._sequence = 0
        if self.timed:
            self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)

    def aim(self, local: Local) -> None:
        """Send to the engine's port of this phone."""
        self.socket.connect((local.host, local.port))

    def send(self) -> None:
        """Send the next packet."""
        self._sequence = sequence = (self._sequence + 1) & 0xFFFF
        _HEADER.pack_into(self._packet, 0, 0x80, PCMA, sequence, sequence * 160, self._ssrc)
        if self.peer is not None and self.peer.timed:
            self.sent_at[sequence] = time.time()
        self.socket.send(self._packet)
        self.sent += 1

    def receive(self, buffer: bytearray) -> None:
        """Take the next packet."""
        if not self.timed:
            self.socket.recv_into(buffer)
            self.received += 1
            return
        data, control, _, _ = self.socket.recvmsg(256, 64)
        self.received += 1
        if self.peer is not None and control:
            seconds, nanoseconds = struct.unpack("qq", control[0][2])
            begin = self.peer.sent_at.pop(int.from_bytes(data[2:4]), None)
            if begin is not None:
                self.delays.append(seconds + nanoseconds / 1e9 - begin)


@dataclass(frozen=True, slots=True)
class Result:
    """What was measured of one server."""

    name: str
    sent: int
    received: int
    cpu_seconds: float
    #: CPU per packet that arrived
    microseconds: float
    p50_ms: float
    p99_ms: float

    @property
    def loss(self) -> float:
        """Share of the packets that did not arrive."""
        return 1 - self.received / self.sent if self.sent else 0.0


def measure(
    name: str, pid: int, streams: Sequence[Stream], seconds: float, *, send: bool
) -> Result:
    """Let the streams run for `seconds` and return what it cost process `pid`.

    With `send` all of them send; without, they only listen.
    """
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    _drive(streams, _SETTLE_SECONDS, send)
    for stream in streams:
        stream.sent = stream.received = 0
        stream.delays.clear()
    before = cpu_seconds(pid)
    _drive(streams, seconds, send)
    used = cpu_seconds(pid) - before
    received = sum(stream.received for stream in streams)
    sent = sum(stream.sent for stream in streams)
    delays = sorted(delay for stream in streams for delay in stream.delays) or [0.0]
    return Result(
        name=name,
        sent=sent,
        received=received,
        cpu_seconds=round(used, 2),
        microseconds=round(used / max(1, received) * 1e6, 2),
        p50_ms=round(delays[len(delays) // 2] * 1000, 2),
        p99_ms=round(delays[len(delays) * 99 // 100] * 1000, 2),
    )


def _drive(streams: Sequence[Stream], seconds: float, send: bool) -> None:
    by_fd = {stream.socket.fileno(): stream for stream in streams}
    poll = select.epoll()
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    slots = [streams[number::SLOTS] for number in range(SLOTS)] if send else [[]] * SLOTS
    buffer = bytearray(2048)
    step = FRAME_SECONDS / SLOTS
    begin = time.monotonic()
    for tick in range(round(seconds / step)):
        for stream in slots[tick % SLOTS]:
            stream.send()
        for fd, _ in poll.poll(0, len(by_fd)):
            by_fd[fd].receive(buffer)
        wait = begin + (tick + 1) * step - time.monotonic()
        if wait > 0:
            time.sleep(wait)
    poll.close()


@contextmanager
def engine_process(sessions: int, *options: str) -> Iterator[tuple[int, Path]]:
    """Run one engine on the server's core; give its process id and command socket."""
    with tempfile.TemporaryDirectory(prefix="comms-bench-") as folder:
        path = Path(folder) / "run" / "media-1.sock"
        process = subprocess.Popen(
            [
                *("taskset", "-c", SERVER_CORE, sys.executable, "-m", "sip.media.child"),
                *("--socket", str(path), "--name", "media-1", "--address", ADDRESS),
                *("--port-min", "20000", "--port-max", str(20000 + 5 * sessions + 20), *options),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        try:
            yield process.pid, path
        finally:
            process.terminate()
            process.wait(10)


def run(calls: int, seconds: float, *, keys: bool = True) -> Result:
    """Measure our engine with two-way calls; `keys` listens for DTMF as real calls do."""
    with engine_process(calls) as (pid, path):
        streams = asyncio.run(_open(path, calls, 101 if keys else None))
        try:
            return measure("comms", pid, streams, seconds, send=True)
        finally:
            for stream in streams:
                stream.socket.close()


async def _open(path: Path, calls: int, dtmf: int | None) -> list[Stream]:
    engine = await RtpIoEngine.connect(path, "media-1")
    streams: list[Stream] = []
    for number in range(calls):
        a, b = Stream(2 * number), Stream(2 * number + 1)
        a.peer, b.peer = b, a
        remotes = [Remote(ADDRESS, phone.port, (PCMA, 101), dtmf) for phone in (a, b)]
        for phone, local in zip((a, b), await engine.open(f"c{number}", *remotes), strict=True):
            phone.aim(local)
        streams += [a, b]
    await engine.close()
    return streams


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    args = parser.parse_args()
    result = run(args.calls, args.seconds)
    if args.json:
        print(json.dumps(asdict(result)))
        return
    report(
        Figure(
            work=f"relayed packet, {args.calls} calls",
            value=result.microseconds,
            unit="µs CPU",
            reach=11.0,
            aim=8.5,
            note=f"p50 {result.p50_ms} ms, p99 {result.p99_ms} ms, loss {result.loss:.2%}",
        )
    )


if __name__ == "__main__":
    main()
