"""A system of our own and load for it, as the benchmarks of whole calls need them.

The system runs on one core, whoever calls it on the other. CPU is user and system time of the
system's whole process tree (supervisor, Valkey, SIP, queue, web, media), read from /proc.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from redis import Redis
from sqlalchemy import insert

from comms.bus import acd
from comms.bus.streams import Codec, Keys
from comms.people.actions import do_change_house
from comms.store import models as m
from comms.store.engine import open_engine, writing
from comms.store.house import load_house
from comms.store.migrate import migrate
from sip.core.digest import authorize, ha1

DOMAIN = "probe"
SERVER_CORE, LOAD_CORE = "0", "1"
SIP_PORT, WEB_PORT, TRUNK_PORT, PHONES_PORT = 15060, 18000, 15081, 15080
QUEUE_NUMBER, PLAIN_NUMBER = "700", "800"
_TICK = os.sysconf("SC_CLK_TCK")
_journal: Codec[acd.Command] = Codec(acd.Command)


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process tree in seconds."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / _TICK


def cpu_by_name(pid: int) -> dict[str, float]:
    """Return the same by the part of the system, for finding out where it goes."""
    parts: dict[str, float] = {}
    for one in tree(pid):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")
            text = b" ".join(words).decode(errors="replace")
            name = next(
                (n for n in ("valkey", "sip-1", "queue-1", "web-1", "media") if n in text), "other"
            )
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            parts[name] = parts.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / _TICK
    return parts


def resident_bytes(pid: int) -> int:
    """Return the proportional set size of a process tree in bytes."""
    total = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


@dataclass
class System:
    """`comms serve` on the server's core, with made-up people in it."""

    agents: int = 0
    accounts: int = 0
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="comms-bench-"))
        self.redis_url = f"unix://{self.folder / 'run' / 'valkey.sock'}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> System:
        asyncio.run(self._seed())
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        root = Path(__file__).parents[1]
        variables = {
            "GENERAL__DATA_DIR": str(self.folder),
            "GENERAL__DOMAIN": DOMAIN,
            "SIP__UDP_PORT": str(SIP_PORT),
            "SIP__TCP_PORT": str(SIP_PORT),
            "SIP__MAX_CALLS": "20000",
            # the load generator knows MD5 only, as the peers do
            "SIP__DIGEST": "MD5",
            "WEB__PORT": str(WEB_PORT),
            "MEDIA__PORT_MIN": "20000",
            "MEDIA__PORT_MAX": "29998",
            "LOGGING__LEVEL": "warning",
            # sipp holds calls without sending audio
            "MEDIA__TIMEOUT_SECONDS": "3600",
            **self.settings,
        }
        environment = {k: v for k, v in os.environ.items() if not k.startswith("COMMS_")}
        environment |= {f"COMMS_{key}": value for key, value in variables.items()}
        environment["PYTHONPATH"] = f"{root}:{root / 'queue'}"
        self._process = subprocess.Popen(
            [
                "taskset",
                "-c",
                SERVER_CORE,
                sys.executable,
                "-c",
                "from comms.cli import app; app()",
                "serve",
            ],
            env=environment,
            cwd=self.folder,
            stdout=(self.folder / "log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 120
        while not self._serves():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "log").read_text()[-4000:])
            time.sleep(0.1)
        self.redis = Redis.from_url(self.redis_url)
        users = [f"a{i:04d}" for i in range(1, self.agents + 1)]
        asyncio.run(register([*users, "peer"]))
        for user in users:
            command = acd.SetAgentState(user, "available")
            self.redis.xadd(Keys().acd_journal, {"m": _journal.encode(command)})
        self._await_agents()

    def _await_agents(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            views: Any = self.redis.hvals(Keys().acd_agents)
            if sum(b'"activity":"available"' in view for view in views) == self.agents:
                return
            time.sleep(0.2)
        raise RuntimeError("the agents do not become available")

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _serves(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{WEB_PORT}/api/v1/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    async def _seed(self) -> None:
        url = f"sqlite+aiosqlite:///{self.folder / 'comms.db'}"
        await migrate(url)
        engine = open_engine(url)
        agents = [f"a{i:04d}" for i in range(1, self.agents + 1)]
        people = [*agents, "peer"]
        accounts = [f"u{i:05d}" for i in range(1, self.accounts + 1)]
        rules = {
            "name": "bench",
            "wrap_up": 0.0,
            "strategy": "longest-idle",
            "title": {"de": "Bench", "en": "Bench"},
        }
        async with writing(engine) as session:
            house = replace(await load_house(session), domain=DOMAIN)
            await do_change_house(session, "system", house)
            await session.execute(
                insert(m.Person),
                [
                    {
                        "id": p,
                        "name": p,
                        "roles": ["agent", "staff"],
                        "language": "de",
                        "skills": {},
                    }
                    for p in people
                ],
            )
            await session.execute(
                insert(m.Device),
                [_device(user, user) for user in people]
                + [_device(user, None) for user in accounts],
            )
            await session.execute(
                insert(m.Queue),
                [
                    {
                        "name": "bench",
                        "number": QUEUE_NUMBER,
                        "language": "de",
                        "rules": rules,
                        "calls": {"announce_position": False},
                    }
                ],
            )
            numbers = [
                {"number": QUEUE_NUMBER, "kind": "queue", "target": "bench"},
                {"number": PLAIN_NUMBER, "kind": "person", "target": "peer"},
            ]
            await session.execute(insert(m.Number), numbers)
            if agents:
                await session.execute(
                    insert(m.Membership), [{"queue": "bench", "person": a} for a in agents]
                )
            await session.execute(
                insert(m.Trunk),
                [
                    {
                        "name": "load",
                        "kind": "address",
                        "host": "127.0.0.1",
                        "port": TRUNK_PORT,
                        "allowed": ["127.0.0.1"],
                    }
                ],
            )
        await engine.dispose()


def password(user: str) -> str:
    """Return the SIP password of a made-up account."""
    return f"pw{user[1:]}"


def _device(user: str, person: str | None) -> dict[str, Any]:
    return {
        "user": user,
        "person": person,
        "ha1_md5": ha1(user, DOMAIN, password(user)),
        "ha1_sha256": ha1(user, DOMAIN, password(user), "SHA-256"),
    }


async def register(users: list[str], port: int = PHONES_PORT) -> None:
    """Register accounts from one socket, one after the other; their phones answer at `port`."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", port))
        for user in users:
            extra = ""
            for number in (1, 2):
                request = (
                    f"REGISTER sip:{DOMAIN} SIP/2.0\r\n"
                    f"Via: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{user}{number};rport\r\n"
                    f"From: <sip:{user}@{DOMAIN}>;tag=1\r\nTo: <sip:{user}@{DOMAIN}>\r\n"
                    f"Call-ID: {user}\r\nCSeq: {number} REGISTER\r\nMax-Forwards: 70\r\n"
                    f"Contact: <sip:{user}@127.0.0.1:{port}>;expires=3600\r\n{extra}"
                    "Content-Length: 0\r\n\r\n"
                )
                answer = await _ask(loop, sock, request.encode())
                if " 401 " in answer.split("\r\n")[0]:
                    offered = [
                        line.partition(": ")[2]
                        for line in answer.split("\r\n")
                        if line.startswith("WWW-Authenticate")
                    ]
                    value = authorize(
                        offered, "REGISTER", f"sip:{DOMAIN}", user, password(user), 1, "c"
                    )
                    extra = f"Authorization: {value}\r\n"
                else:
                    break
            if " 200 " not in answer.split("\r\n")[0]:
                raise RuntimeError(f"registration failed: {answer.splitlines()[0]}")


async def _ask(loop: asyncio.AbstractEventLoop, sock: socket.socket, request: bytes) -> str:
    """Send a request, again while no answer comes: the SIP role may still be starting."""
    for _ in range(20):
        await loop.sock_sendto(sock, request, ("127.0.0.1", SIP_PORT))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                return (await loop.sock_recv(sock, 65535)).decode()
    raise RuntimeError("the SIP role does not answer")


@dataclass(frozen=True)
class Load:
    """What sipp reached."""

    done: int
    failed: int
    retransmissions: int
    seconds: float


def sipp(
    scenario: Path,
    *,
    service: str,
    rate: float,
    count: int,
    hold_ms: int,
    port: int = 15070,
    target: int = SIP_PORT,
    extra: tuple[str, ...] = (),
) -> Load:
    """Run sipp as the caller on the load's core until `count` calls are over."""
    with tempfile.TemporaryDirectory() as folder:
        statistics = Path(folder) / "s.csv"
        started = time.monotonic()
        subprocess.run(
            ["taskset", "-c", LOAD_CORE, "sipp", "-sf", str(scenario), "-i", "127.0.0.1",
             "-p", str(port), f"127.0.0.1:{target}", "-s", service, "-r", str(rate),
             "-m", str(count), "-l", "100000", "-d", str(hold_ms), "-nostdin",
             "-buff_size", "4000000", "-trace_stat", "-stf", str(statistics), "-fd", "1",
             "-recv_timeout", "20000",
             # two of them may run side by side, each with a media port of its own
             "-mp", str(31000 + port % 100 * 10), *extra],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
            timeout=count / rate + 120,
        )  # fmt: skip
        seconds = time.monotonic() - started
        *_, last = csv.DictReader(statistics.open(), delimiter=";")
    return Load(
        done=int(last["SuccessfulCall(C)"]),
        failed=int(last["FailedCall(C)"]),
        retransmissions=int(last["Retransmissions(C)"]),
        seconds=seconds,
    )


@contextlib.contextmanager
def phones(scenario: Path, port: int = PHONES_PORT) -> Any:
    """Run sipp as all called phones on the load's core."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            ["taskset", "-c", LOAD_CORE, "sipp", "-sf", str(scenario), "-i", "127.0.0.1",
             "-p", str(port), "-nostdin", "-buff_size", "4000000", "-mp", "33000"],
            cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(0.5)
        try:
            yield process
        finally:
            process.kill()
            process.wait()
