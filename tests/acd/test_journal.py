"""The journal's leader with a real Valkey: publishing once, the lease, losses of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError
from structlog.testing import capture_logs
from support.queues import agent, only
from support.servers import ValkeyInstance, eventually

from acd import scripts
from acd.engine import Engine
from acd.journal import Journal, Rules, keep
from acd.publication import score
from comms.bus.acd import (
    AgentView,
    Command,
    Configure,
    Event,
    OfferAccepted,
    OfferEnded,
    OfferMade,
    QueueConfig,
    QueueView,
    SetAgentState,
    SetReachable,
    WorkArrived,
    WorkAssigned,
    WorkClosed,
    WorkEnded,
    WorkLeft,
    WorkView,
)
from comms.bus.streams import Codec, Keys

ROOT = Path(__file__).parents[2]
KEYS = Keys("test")
COMMANDS: Codec[Command] = Codec(Command)
EVENTS: Codec[Event] = Codec(Event)
#: Everything faster than in service, so that nothing is waited for.
RULES = Rules(lease=0.6, gather=0.002, snapshot_every=50, snapshot_pause=0.0, metrics_every=0.2)

CITY = Configure(
    (QueueConfig("zentrale", wrap_up=0.05, offer_timeout=1.0, refusal_pause=0.0),),
    (agent("anna", "zentrale"), agent("mehmet", "zentrale")),
)


@dataclass
class House:
    """A Valkey, and what other roles do with it."""

    redis: Redis
    valkey: ValkeyInstance
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    journals: dict[str, Journal] = field(default_factory=dict)

    async def tell(self, *commands: Command) -> list[bytes]:
        """Append commands to the journal."""
        async with self.redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.xadd(KEYS.acd_journal, COMMANDS.fields(command))
            return await pipe.execute()

    async def events(self) -> list[Event]:
        """Return everything published."""
        return [e for _, e in EVENTS.entries(await self.redis.xrange(KEYS.acd_events))]

    async def on_duty(self, *names: str) -> None:
        """Bring agents to work."""
        for name in names:
            await self.tell(SetReachable(name, True), SetAgentState(name, "available"))

    async def until(self, kind: type[Any], count: int = 1, seconds: float = 20.0) -> list[Any]:
        """Wait for so many events of a kind; return all of that kind."""
        found: list[Any] = []

        async def there() -> bool:
            found[:] = only(await self.events(), kind)
            return len(found) >= count

        await eventually(there, seconds, f"{count} x {kind.__name__}")
        return found

    def start(self, name: str, rules: Rules = RULES) -> Journal:
        """Start an instance in this process."""
        client: Redis = Redis.from_url(self.valkey.url)
        self.journals[name] = journal = Journal(client, KEYS, name, rules)
        self.tasks[name] = asyncio.create_task(self._keep(journal))
        return journal

    async def _keep(self, journal: Journal) -> None:
        async with contextlib.aclosing(journal.client):
            await keep(journal)

    async def stop(self, name: str) -> None:
        """Stop an instance in good order."""
        task = self.tasks.pop(name)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def leader(self) -> str | None:
        """Return the name of the instance that holds the lease."""
        holder = await self.redis.get(KEYS.acd_lease)
        return holder.decode().partition(":")[0] if holder else None

    async def replayed(self) -> tuple[Engine, list[Event]]:
        """Apply the whole journal to a new engine: what ought to have happened."""
        engine, events = Engine(), []
        for entry, fields in await self.redis.xrange(KEYS.acd_journal):
            command = COMMANDS.decode(fields[b"m"])
            events += engine.apply(command, int(entry.partition(b"-")[0]) / 1000)
        return engine, events

    async def check(self) -> None:
        """Assert that events and views are exactly what the journal gives, once and in order."""
        engine, events = await self.replayed()
        assert await self.events() == events
        works, agents, queues = engine.views()
        shown = {
            KEYS.acd_works: ({v.work: v for v in works}, WorkView),
            KEYS.acd_agents: ({v.agent: v for v in agents}, AgentView),
            KEYS.acd_queues: ({v.queue: v for v in queues}, QueueView),
        }
        for key, (views, kind) in shown.items():
            stored = await self.redis.hgetall(key)
            assert {
                name.decode(): msgspec.json.decode(raw, type=kind) for name, raw in stored.items()
            } == views
        for queue in queues:
            order = await self.redis.zrange(KEYS.acd_order(queue.queue), 0, -1, withscores=True)
            queued = [v for v in works if v.queue == queue.queue and v.state != "assigned"]
            assert [(w.decode(), s) for w, s in order] == [
                (v.work, score(v)) for v in sorted(queued, key=lambda v: v.rank)
            ]
            for place, (work, _) in enumerate(order, 1):
                assert engine.position(work.decode()) == place


@pytest.fixture
async def house(redis: Redis, valkey: ValkeyInstance) -> AsyncIterator[House]:
    made = House(redis, valkey)
    yield made
    for name in list(made.tasks):
        await made.stop(name)


async def quiet(house: House, journal: Journal) -> None:
    """Wait until the leader has read the whole journal."""

    async def read() -> bool:
        entries = await house.redis.xlen(KEYS.acd_journal)
        return journal.counters.leading and journal.counters.commands >= entries

    await eventually(read, what="the whole journal read")


async def test_a_call_from_arrival_to_wrap_up(house):
    house.start("queue-1")
    await house.tell(CITY)
    await house.on_duty("anna")
    await house.tell(WorkArrived("w1", "zentrale", owner="sip-1"))
    (offer,) = await house.until(OfferMade)
    assert await house.redis.zrank(KEYS.acd_order("zentrale"), "w1") == 0
    await house.tell(OfferAccepted(offer.offer))
    await house.until(WorkAssigned)
    assert await house.redis.zrank(KEYS.acd_order("zentrale"), "w1") is None
    await house.tell(WorkEnded("w1"))
    await house.until(WorkClosed)

    async def free() -> bool:
        raw = await house.redis.hget(KEYS.acd_agents, "anna")
        return msgspec.json.decode(raw, type=AgentView).activity == "available"

    # The end of the wrap-up comes from a Tick that the leader writes by itself.
    await eventually(free)
    await house.check()


async def test_offers_time_out_without_anybody_saying_a_word(house):
    house.start("queue-1")
    await house.tell(CITY)
    await house.on_duty("anna", "mehmet")
    await house.tell(WorkArrived("w1", "zentrale", owner="sip-1"))
    offers = await house.until(OfferMade, 2)
    assert [o.agent for o in offers[:2]] == ["anna", "mehmet"]
    ended = await house.until(OfferEnded, 1)
    assert ended[0].outcome == "timed-out"


async def test_idle_leader_writes_no_ticks(house):
    journal = house.start("queue-1")
    await house.tell(CITY)
    await house.on_duty("anna")
    await quiet(house, journal)
    length = await house.redis.xlen(KEYS.acd_journal)
    # The next timer is midnight; renewals of the lease go on meanwhile.
    renewals = {await house.redis.pttl(KEYS.acd_lease)}

    async def renewed() -> bool:
        renewals.add(await house.redis.pttl(KEYS.acd_lease))
        return sum(b > a for a, b in zip(list(renewals), list(renewals)[1:], strict=False)) > 2

    await eventually(renewed)
    assert await house.redis.xlen(KEYS.acd_journal) == length


class TestLease:
    async def test_one_leads_and_the_other_takes_over_at_once_when_it_stops(self, house):
        first = house.start("queue-1")
        await eventually(lambda: first.counters.leading)
        second = house.start("queue-2")
        await house.tell(CITY)
        await house.on_duty("anna")
        await quiet(house, first)
        assert not second.counters.leading
        await house.stop("queue-1")
        await eventually(lambda: second.counters.leading, 0.5)
        await house.tell(WorkArrived("w1", "zentrale", owner="sip-1"))
        await house.until(OfferMade)
        await house.check()

    async def test_a_leader_that_was_away_too_long_changes_nothing_any_more(self, house):
        """Its publishing is refused by the token, also when the lease is free again."""
        first = house.start("queue-1")
        await house.tell(CITY)
        await quiet(house, first)
        guard = first.guard()
        assert await house.redis.delete(KEYS.acd_lease)
        second = house.start("queue-2")
        await eventually(lambda: second.counters.leading or first.counters.takeovers > 1)
        await house.redis.delete(KEYS.acd_lease)
        await house.redis.incr(KEYS.acd_fence)
        before = await house.redis.xlen(KEYS.acd_events)
        keys = (KEYS.acd_lease, KEYS.acd_fence, KEYS.acd_applied, KEYS.acd_events)
        answer = await house.redis.eval(
            scripts.PUBLISH, 4, *keys, *guard, "9999999999999-0", 1000, 1, b"{}"
        )
        assert answer == -1
        assert await house.redis.xlen(KEYS.acd_events) == before

    async def test_a_stopped_leader_wakes_up_and_stands_by(self, house):
        """Two leaders at odds: whatever both decided, only one published."""
        first = house.start("queue-1")
        await house.tell(CITY)
        await house.on_duty("anna", "mehmet")
        await quiet(house, first)
        second = house.start("queue-2")
        # As if queue-1 had been stopped beyond its lease.
        await house.redis.eval(
            "redis.call('DEL', KEYS[1]); redis.call('INCR', KEYS[2])",
            2,
            KEYS.acd_lease,
            KEYS.acd_fence,
        )
        for n in range(40):
            await house.tell(WorkArrived(f"w{n}", "zentrale", owner="sip-1"))
        await house.until(OfferMade, 2)
        await eventually(lambda: first.counters.leading != second.counters.leading)
        await settle(house)
        await house.check()

    async def test_the_same_batch_is_published_once(self, house):
        journal = house.start("queue-1", Rules(lease=30.0))
        await house.tell(CITY)
        await quiet(house, journal)
        await eventually(lambda: _exists(house, KEYS.acd_applied))
        await house.stop("queue-1")
        await house.redis.set(KEYS.acd_lease, "me")
        token = await house.redis.get(KEYS.acd_fence)
        keys = (KEYS.acd_lease, KEYS.acd_fence, KEYS.acd_applied, KEYS.acd_events)
        arguments = (*keys, "me", token, 1000, "9999999999999-0", 1000, 1, b"{}")
        before = await house.redis.xlen(KEYS.acd_events)
        assert await house.redis.eval(scripts.PUBLISH, 4, *arguments) == 1
        assert await house.redis.eval(scripts.PUBLISH, 4, *arguments) == 0
        assert await house.redis.xlen(KEYS.acd_events) == before + 1


async def _exists(house: House, key: str) -> bool:
    return bool(await house.redis.exists(key))


async def settle(house: House) -> None:
    """End everything that has timers, and wait until the journal's last entry is published."""
    await house.tell(SetAgentState("anna", "offline"), SetAgentState("mehmet", "offline"))

    async def published() -> bool:
        ((last, fields),) = await house.redis.xrevrange(KEYS.acd_journal, count=1)
        if b"work-arrived" not in fields[b"m"]:
            # A timer had been near. Of an arrival something always comes.
            last = (await house.tell(WorkArrived(f"marker-{last}", "zentrale", owner="s")))[0]
        return await house.redis.get(KEYS.acd_applied) == last

    await eventually(published, 60, "the last entry published")


class TestReplay:
    async def test_snapshot_and_journal_behind_it(self, house):
        journal = house.start("queue-1")
        await house.tell(CITY)
        await house.on_duty("anna", "mehmet")
        await house.tell(*(WorkArrived(f"w{n}", "zentrale", owner="sip-1") for n in range(120)))
        await eventually(lambda: journal.counters.snapshots > 0)
        await eventually(lambda: _exists(house, KEYS.acd_snapshot))
        await house.tell(*(WorkLeft(f"w{n}") for n in range(20, 60)))
        await settle(house)
        await house.stop("queue-1")
        house.start("queue-2")
        await house.tell(WorkArrived("late", "zentrale", owner="sip-1"))
        await eventually(lambda: _has(house, "late"))
        await settle(house)
        await house.check()

    async def test_journal_is_trimmed_only_behind_the_snapshot_and_what_is_kept(self, house):
        rules = Rules(lease=0.6, gather=0.0, snapshot_every=50, snapshot_pause=0.0, keep_hours=0.0)
        journal = house.start("queue-1", rules)
        await house.tell(CITY)
        for n in range(400):
            await house.tell(WorkArrived(f"w{n}", "zentrale", owner="s"), WorkLeft(f"w{n}"))
        await quiet_trimmed(house)
        first = (await house.redis.xrange(KEYS.acd_journal, count=1))[0][0]
        at = await house.redis.hget(KEYS.acd_snapshot, "id")
        assert _number(first) <= _number(at) or journal.counters.snapshots > 1
        await house.tell(WorkArrived("w9999", "zentrale", owner="s"))
        await eventually(lambda: _has(house, "w9999"))
        await house.stop("queue-1")
        house.start("queue-2", rules)
        await house.tell(WorkLeft("w9999"))
        await eventually(lambda: _has_not(house, "w9999"))

    async def test_unusable_snapshot_falls_back_on_the_journal(self, house):
        journal = house.start("queue-1", Rules(lease=0.6, gather=0.0))
        await house.tell(CITY)
        await house.on_duty("anna")
        await house.tell(WorkArrived("w1", "zentrale", owner="sip-1"))
        await house.until(OfferMade)
        await quiet(house, journal)
        await house.stop("queue-1")
        await house.redis.hset(KEYS.acd_snapshot, mapping={"id": "5-0", "data": b"of long ago"})
        # Views that are wrong, as they may be after a change of the layout.
        await house.redis.hset(KEYS.acd_works, "phantom", b"{}")
        house.start("queue-2", Rules(lease=0.6, gather=0.0))
        await eventually(lambda: _has_not(house, "phantom"))
        await house.tell(WorkLeft("w1"))
        await house.until(WorkClosed)
        await settle(house)
        await house.check()


async def quiet_trimmed(house: House) -> None:
    async def short() -> bool:
        return await house.redis.xlen(KEYS.acd_journal) < 700

    await eventually(short, what="the journal trimmed")


async def _has(house: House, work: str) -> bool:
    return bool(await house.redis.hexists(KEYS.acd_works, work))


async def _has_not(house: House, work: str) -> bool:
    return not await _has(house, work)


def _number(entry: bytes) -> tuple[int, ...]:
    return tuple(map(int, entry.split(b"-")))


class TestBadEntries:
    async def test_what_is_no_command_is_passed_over_and_counted_without_its_content(self, house):
        secret = "+4922112345678"
        bad: list[dict[bytes, bytes]] = [
            {b"m": b"no json " + secret.encode()},
            {b"m": b'{"type":"work-arrived","work":7,"number":"' + secret.encode() + b'"}'},
            {b"m": b'{"type":"conquer-the-world"}'},
            {b"m": b"\xff\xfe"},
            {b"x": secret.encode()},
            {b"m": b'{"type":"tick"' + b" " * 200_000},
        ]
        with capture_logs() as logs:
            journal = house.start("queue-1")
            for fields in bad:
                await house.redis.xadd(KEYS.acd_journal, fields)
            await house.tell(CITY)
            await house.on_duty("anna")
            await house.tell(WorkArrived("w1", "zentrale", owner="sip-1", number=secret))
            await house.until(OfferMade)
            await house.stop("queue-1")
        assert journal.counters.unreadable == len(bad)
        assert secret not in repr(logs)
        assert sum(entry["event"] == "journal-entry-unreadable" for entry in logs) == len(bad)

    async def test_configuration_that_cannot_be_carried_out(self, house):
        journal = house.start("queue-1")
        await house.tell(CITY)
        await house.tell(Configure((QueueConfig("a"), QueueConfig("a")), ()))
        await house.on_duty("anna")
        await house.tell(WorkArrived("w1", "zentrale", owner="sip-1"))
        await house.until(OfferMade)
        assert journal.counters.refused == 1

    async def test_a_command_the_engine_fails_at_is_set_aside(self, house, monkeypatch):
        """Without that, every leader would die of it again."""
        sound = Engine._work_left

        def faulty(engine: Engine, command: WorkLeft) -> None:
            if command.work == "w-evil":
                engine._state.agents["anna"].state = "talking"
                raise KeyError("a defect")
            sound(engine, command)

        monkeypatch.setattr(Engine, "_work_left", faulty)
        with capture_logs():
            journal = house.start("queue-1")
            await house.tell(CITY)
            await house.on_duty("anna")
            await house.tell(WorkLeft("w-evil"))
            await house.tell(WorkArrived("w1", "zentrale", owner="sip-1"))
            offers = await house.until(OfferMade)
        assert [o.agent for o in offers] == ["anna"]
        assert journal.counters.set_aside == 1
        assert len(await house.redis.smembers(KEYS.acd_set_aside)) == 1


class TestLossOfValkey:
    async def test_gone_and_back_nothing_lost(self, house, valkey):
        journal = house.start("queue-1")
        await house.tell(CITY)
        await house.on_duty("anna", "mehmet")
        await house.tell(*(WorkArrived(f"w{n}", "zentrale", owner="sip-1") for n in range(20)))
        await house.until(OfferMade, 2)
        with capture_logs() as logs:
            valkey.stop(signal.SIGKILL)
            await eventually(lambda: not journal.counters.leading)
            valkey.start()
            await eventually(lambda: journal.counters.leading)
        assert any(entry["event"] == "redis-lost" for entry in logs)
        await house.tell(WorkLeft("w5"), WorkArrived("w99", "zentrale", owner="sip-1"))
        await eventually(lambda: _has(house, "w99"))
        await settle(house)
        await house.check()

    async def test_not_there_yet_when_the_role_starts(self, house, valkey):
        valkey.stop()
        journal = house.start("queue-1")
        valkey.start()
        await eventually(lambda: journal.counters.leading)

    async def test_emptied_under_the_leaders_feet(self, house):
        journal = house.start("queue-1")
        await house.tell(CITY)
        await quiet(house, journal)
        await house.redis.flushall()
        await eventually(lambda: journal.counters.takeovers == 2)
        await house.tell(CITY)
        await house.on_duty("anna")
        await house.tell(WorkArrived("w1", "zentrale", owner="sip-1"))
        await house.until(OfferMade)
        await house.check()

    async def test_silent_server_is_noticed(self, house, valkey, monkeypatch):
        monkeypatch.setattr("comms.bus.link.SILENCE", 0.3)
        journal = house.start("queue-1")
        await eventually(lambda: journal.counters.leading)
        assert valkey.process is not None
        with capture_logs() as logs:
            valkey.process.send_signal(signal.SIGSTOP)
            try:
                await eventually(lambda: not journal.counters.leading)
            finally:
                valkey.process.send_signal(signal.SIGCONT)
            await eventually(lambda: journal.counters.leading)
        assert any(entry["event"] == "redis-silent" for entry in logs)


async def test_metrics(house):
    journal = house.start("queue-1")
    await house.tell(CITY)
    await house.on_duty("anna")
    await house.tell(WorkArrived("w1", "zentrale", owner="sip-1"))

    async def counted() -> bool:
        found = await house.redis.hgetall(KEYS.metrics("queue-1"))
        return found.get(b"comms_acd_decisions_total") == b"1"

    await eventually(counted)
    assert journal.counters.events > 3
    assert await house.redis.hget(KEYS.metrics("queue-1"), "comms_acd_leading") == b"1"


# --- processes that are killed ----------------------------------------------------------------


@contextlib.asynccontextmanager
async def process(url: str, name: str, lease: float = 0.8) -> AsyncIterator[Any]:
    """Run the role as a process of its own."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'queue'}"}
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "acd.role", "--redis", url, "--tenant", "test"),
        *("--name", name, "--lease", str(lease)),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            started.kill()
        await started.wait()


class Telephony:
    """Floods the journal, and plays the calls that the events tell of."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._stopping = False
        self.closed = 0

    async def flood(self) -> None:
        """Let work arrive in bursts, and a third of it leave again."""
        number = 0
        while not self._stopping:
            burst: list[Command] = []
            for _ in range(10):
                number += 1
                burst.append(WorkArrived(f"w{number}", "zentrale", owner="sip-1"))
                if number % 3 == 0:
                    burst.append(WorkLeft(f"w{number - 2}"))
            await self._house.tell(*burst)
            await asyncio.sleep(0.005)

    async def talk(self) -> None:
        """Accept each offer, end each conversation."""
        last: Any = "0"
        while not self._stopping:
            rows = await self._house.redis.xread({KEYS.acd_events: last}, 500, 50)
            for entry, event in EVENTS.entries(_entries(rows)):
                last = entry
                if isinstance(event, OfferMade):
                    await self._house.tell(OfferAccepted(event.offer))
                elif isinstance(event, WorkAssigned):
                    await self._house.tell(WorkEnded(event.work))
                elif isinstance(event, WorkClosed):
                    self.closed += event.outcome == "answered"

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Flood and talk as long as the body runs."""
        tasks = [asyncio.create_task(self.flood()), asyncio.create_task(self.talk())]
        try:
            yield
        finally:
            self._stopping = True
            await asyncio.gather(*tasks)


async def test_kill_9_of_the_leader_under_load(house, valkey):
    """Again and again in the middle of batches: order kept, no event twice, none lost."""
    await house.tell(CITY)
    await house.on_duty("anna", "mehmet")
    telephony = Telephony(house)
    took = []
    async with contextlib.AsyncExitStack() as stack:
        names = [f"queue-{n}" for n in range(4)]
        running = {
            name: await stack.enter_async_context(process(valkey.url, name)) for name in names
        }
        for name in names:
            # Leader or stand-by: whoever is up reports.
            await eventually(lambda n=name: _exists(house, KEYS.metrics(n)), 30, name)
        async with telephony.at_work():
            for round_ in range(1, 4):
                await eventually(lambda r=round_: telephony.closed >= 10 * r, 60, "ten more calls")
                took.append(await _kill(house, running))
        await settle(house)
    # The machine may be busy with other things; one of three times it was not.
    assert min(took) < 2.0, took
    await house.check()


async def _leader(house: House) -> str:
    found: list[str] = []

    async def there() -> bool:
        name = await house.leader()
        found[:] = [name] if name else []
        return bool(found)

    await eventually(there, 30, "a leader")
    return found[0]


async def _kill(house: House, running: dict[str, Any]) -> float:
    """Kill the leader with SIGKILL; return after how many seconds somebody else led."""
    name = await _leader(house)
    before = await house.redis.get(KEYS.acd_fence)
    loop = asyncio.get_running_loop()
    killed = loop.time()
    victim = running.pop(name)
    victim.send_signal(signal.SIGKILL)
    await victim.wait()

    async def taken_over() -> bool:
        return await house.redis.get(KEYS.acd_fence) != before

    await eventually(taken_over, 30, "another leader")
    return loop.time() - killed


def _entries(rows: Any) -> list[Any]:
    if not rows:
        return []
    return next(iter(rows.values()))[0] if isinstance(rows, dict) else rows[0][1]


async def test_role_ends_in_good_order_on_sigterm(house, valkey):
    async with process(valkey.url, "queue-1") as started:
        await eventually(lambda: _exists(house, KEYS.acd_lease), 30)
        started.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(started.wait(), 20) == 0
    assert not await house.redis.exists(KEYS.acd_lease)


async def test_stands_up_to_a_server_that_refuses_to_write(house):
    """Out of memory: nothing is lost, and it goes on when there is room again."""
    journal = house.start("queue-1")
    await house.tell(CITY)
    await quiet(house, journal)
    with capture_logs() as logs:
        await house.redis.config_set("maxmemory", "1")
        await eventually(lambda: not journal.counters.leading)
        with pytest.raises(RedisError):
            await house.tell(CITY)
        await house.redis.config_set("maxmemory", "0")
        await house.on_duty("anna")
        await house.tell(WorkArrived("w1", "zentrale", owner="sip-1"))
        await house.until(OfferMade)
    assert any(entry["event"] == "redis-lost" for entry in logs)
