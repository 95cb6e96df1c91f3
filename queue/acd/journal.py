"""The journal's leader: reads commands, lets the engine decide, publishes what came of it.

One instance leads; it holds the lease and the newest fencing token. A loop over one connection
does everything, so that a command costs one wake-up and one write:

    send  [publish the last batch] [append a Tick] [renew the lease]  XREAD BLOCK ...
    wait  for the first entries, take all there are
    apply each entry to the engine, with the entry's id as the time

The script that publishes checks the token, writes events and views, and records the id of the
last journal entry in them, all in one step. Whoever takes over restores the last snapshot and
applies the journal behind it: up to the recorded id silently, from there on aloud. So nothing is
published twice and nothing is left out, wherever the former leader died.

Whenever anything is in doubt (a lost connection, a lost lease), the leader drops its engine and
begins anew from what Redis holds: Redis alone knows what is true.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from comms.bus.acd import Command, Decision, Event, Tick
from comms.bus.link import Link, Parts
from comms.bus.streams import Codec, Keys

from . import publication, scripts
from .engine import Engine, EngineError, InvalidConfiguration, InvalidSnapshot

_log = structlog.get_logger("acd")

_commands: Codec[Command] = Codec(Command)
_TICK = _commands.encode(Tick())

#: What a defect of the engine raises. The command that brings it out is set aside, because every
#: leader would die of it again and nobody's call would be distributed any more.
_DEFECTS = (EngineError, ArithmeticError, AssertionError, LookupError, TypeError, ValueError)

#: The journal's ids count whole milliseconds: a Tick written earlier could still be too early.
_CLOCK_STEP = 0.001

#: Seconds after which a snapshot is taken however little has happened.
_SNAPSHOT_AT_LATEST = 60.0


class LeaseLost(Exception):
    """Another instance leads, or Redis no longer knows the lease; begin anew."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How the journal is kept.

    Attributes:
        lease: seconds after which a leader that fell silent is replaced.
        batch: most entries applied before their events are published.
        gather: seconds a leader lets entries gather after each batch that took all there were;
            bounds its wake-ups.
        snapshot_every: entries between two snapshots.
        snapshot_pause: least seconds between two snapshots.
        keep_hours: how long entries stay in the journal, to explain decisions.
        events_kept: about how many entries the stream of events keeps.
        metrics_every: seconds between two reports of the counters.
    """

    lease: float = 1.5
    batch: int = 256
    gather: float = 0.04
    snapshot_every: int = 2000
    snapshot_pause: float = 5.0
    keep_hours: float = 48.0
    events_kept: int = 200_000
    metrics_every: float = 5.0


@dataclass(slots=True)
class Counters:
    """What an instance has done since it started."""

    commands: int = 0
    events: int = 0
    decisions: int = 0
    batches: int = 0
    #: entries that are no command, configurations refused, commands set aside for a defect
    unreadable: int = 0
    refused: int = 0
    set_aside: int = 0
    takeovers: int = 0
    snapshots: int = 0
    ticks: int = 0
    leading: bool = False
    waiting: int = 0
    engine_seconds: float = 0.0
    #: how late the last batch began after its oldest entry was written
    lag: float = 0.0

    def pairs(self) -> list[str]:
        """Return names, as metrics show them, and values in turn."""
        named = {
            "comms_acd_leading": str(int(self.leading)),
            "comms_acd_commands_total": str(self.commands),
            "comms_acd_events_total": str(self.events),
            "comms_acd_decisions_total": str(self.decisions),
            "comms_acd_batches_total": str(self.batches),
            "comms_acd_unreadable_total": str(self.unreadable),
            "comms_acd_refused_configurations_total": str(self.refused),
            "comms_acd_set_aside_total": str(self.set_aside),
            "comms_acd_takeovers_total": str(self.takeovers),
            "comms_acd_snapshots_total": str(self.snapshots),
            "comms_acd_ticks_total": str(self.ticks),
            "comms_acd_works": str(self.waiting),
            "comms_acd_engine_seconds_total": f"{self.engine_seconds:.6f}",
            "comms_acd_lag_seconds": f"{self.lag:.3f}",
        }
        return [part for pair in named.items() for part in pair]


@dataclass
class Journal:
    """Everything an instance of the queue role does with Redis."""

    client: Redis
    keys: Keys
    instance: str
    rules: Rules = field(default_factory=Rules)

    def __post_init__(self) -> None:
        self.counters = Counters()
        #: unlike the instance's name, never used twice
        self._holder = f"{self.instance}:{uuid.uuid4().hex}"
        self._lease_ms = int(self.rules.lease * 1000)
        self._token = 0
        #: entries that brought out a defect, not yet noted in Redis
        self.aside: set[bytes] = set()

    # --- the lease ------------------------------------------------------------------------

    async def lead_when_free(self) -> None:
        """Wait for the lease, then lead until it is lost.

        Raises:
            LeaseLost: somebody else leads now.
            redis.exceptions.RedisError: Redis is not there or refuses to serve.
        """
        link = Link(self.client)
        await link.open()
        try:
            await self._acquire(link)
            await _Leader(self, link, self._token).run()
        finally:
            self.counters.leading = False
            await link.close()

    async def release(self) -> None:
        """Give the lease back, so that another instance can lead at once."""
        await self.client.eval(scripts.RELEASE, 1, self.keys.acd_lease, self._holder)

    async def report(self) -> None:
        """Write the counters where the metrics are collected."""
        key = self.keys.metrics(self.instance)
        await self.client.hset(key, items=self.counters.pairs())
        await self.client.expire(key, 60)

    async def _acquire(self, link: Link) -> None:
        reported = -math.inf
        while True:
            token, wait = await link.call(
                *("EVAL", scripts.ACQUIRE, 2, self.keys.acd_lease, self.keys.acd_fence),
                *(self._holder, self._lease_ms),
            )
            if token:
                self._token = token
                self.counters.takeovers += 1
                self.counters.leading = True
                _log.info("queue-leads", instance=self.instance, token=token)
                return
            if time.monotonic() - reported >= self.rules.metrics_every:
                reported = time.monotonic()
                await self.report()
            # Not longer than a while: the leader may give the lease back early.
            await asyncio.sleep(min(max(wait, 0) + 5, 300) / 1000)

    def guard(self) -> Parts:
        """Return the arguments that every guarded script begins with."""
        return (self._holder, self._token, self._lease_ms)


class _Leader:
    """One term of leadership, from the restored engine to the lost lease."""

    def __init__(self, journal: Journal, link: Link, token: int) -> None:
        self._journal = journal
        self._rules = journal.rules
        self._keys = journal.keys
        self._stream = journal.keys.acd_journal
        self._counters = journal.counters
        self._link = link
        self._engine = Engine()
        #: last journal entry applied, and last one whose events are published
        self._position = b"0-0"
        self._applied = b"0-0"
        self._set_aside: set[bytes] = set()
        #: replies that are under way, beside that of XREAD: what their first result means
        self._awaited: list[str] = []
        self._renewed = self._gathered_until = 0.0
        #: server time minus monotonic time
        self._offset = 0.0
        self._tick: bytes | None = None
        self._since_snapshot = 0
        self._snapshot_at = self._reported = 0.0
        self._views_doubtful = False
        #: a batch was sent, and nobody has asked yet whether it was published
        self._unproven = False

    async def run(self) -> None:
        """Lead.

        Raises:
            LeaseLost: another instance has a newer token.
        """
        await self._restore()
        pending: list[Parts] = []
        while True:
            pending += self._duties()
            # What has been decided goes out at once; only the next look at the journal waits.
            if pending:
                self._link.send(*pending)
                pending = []
            pause = self._gathered_until - time.monotonic()
            if pause > 0 and self._tick is None:
                await asyncio.sleep(pause)
            self._link.send(*self._read_commands())
            *done, news = await self._link.replies(len(self._awaited) + 1)
            self._take_replies(done)
            rows = _rows(news)
            if rows:
                pending = self._apply(rows)
                if len(rows) < self._rules.batch:
                    self._gathered_until = time.monotonic() + self._rules.gather

    # --- beginning ------------------------------------------------------------------------

    async def _restore(self) -> None:
        keys, link = self._keys, self._link
        self._publish_sha = await link.call("SCRIPT", "LOAD", scripts.PUBLISH)
        self._renew_sha = await link.call("SCRIPT", "LOAD", scripts.RENEW)
        self._snapshot_sha = await link.call("SCRIPT", "LOAD", scripts.SNAPSHOT)
        self._applied = await link.call("GET", keys.acd_applied) or b"0-0"
        if self._journal.aside:
            await link.call("SADD", keys.acd_set_aside, *self._journal.aside)
        self._set_aside = set(await link.call("SMEMBERS", keys.acd_set_aside))
        at, data = await link.call("HMGET", keys.acd_snapshot, "id", "data")
        if data is not None:
            try:
                self._engine = Engine.restore(data)
                self._position = at
            except InvalidSnapshot as error:
                _log.error("snapshot-unusable", id=error.id, reason=str(error))
        # Without a snapshot the journal may be incomplete; then the views are written anew.
        self._views_doubtful = self._position == b"0-0" and self._applied != b"0-0"
        await self._ask_time()
        self._renewed = self._snapshot_at = time.monotonic()

    async def _ask_time(self) -> None:
        seconds, micros = await self._link.call("TIME")
        self._offset = int(seconds) + int(micros) / 1e6 - time.monotonic()

    # --- what goes out --------------------------------------------------------------------

    def _duties(self) -> list[Parts]:
        """Return commands that are due now besides publishing, and note their replies."""
        found: list[Parts] = []
        now = time.monotonic()
        timer = self._engine.next_timer()
        if timer is not None and self._tick is None and timer + _CLOCK_STEP <= now + self._offset:
            found.append(("XADD", self._stream, "*", "m", _TICK))
            self._awaited.append("tick")
            self._tick = b""
        if now - self._renewed > self._rules.lease / 3:
            found.append(self._guarded(self._renew_sha, ()))
            self._awaited.append("guarded")
            self._renewed = now
        if self._snapshot_due(now):
            found.append(self._snapshot(now))
            self._awaited.append("guarded")
        if now - self._reported > self._rules.metrics_every:
            self._reported = now
            counters = self._counters
            counters.waiting = self._engine.works()
            key = self._keys.metrics(self._journal.instance)
            found += [("HSET", key, *counters.pairs()), ("EXPIRE", key, 60), ("TIME",)]
            self._awaited += ["", "", "time"]
        return found

    def _snapshot_due(self, now: float) -> bool:
        age = now - self._snapshot_at
        if self._since_snapshot >= self._rules.snapshot_every:
            return age > self._rules.snapshot_pause
        return self._since_snapshot > 0 and age > _SNAPSHOT_AT_LATEST

    def _read_commands(self) -> list[Parts]:
        """Return the XREAD that waits for the next entries or the next timer.

        Before it goes the question whether the last batch was published. Publishing itself has
        no reply: under load the answer comes with the entries, in one wake-up.
        """
        wait = self._rules.lease / 3
        timer = self._engine.next_timer()
        if timer is not None and self._tick is None:
            wait = min(wait, timer + _CLOCK_STEP - time.monotonic() - self._offset)
        # At least 1: to Redis, 0 means for ever.
        block = max(1, math.ceil(wait * 1000))
        count = self._rules.batch
        read = ("XREAD", "COUNT", count, "BLOCK", block, "STREAMS", self._stream, self._position)
        if not self._unproven:
            return [read]
        self._awaited.append("applied")
        self._unproven = False
        return [("GET", self._keys.acd_applied), read]

    def _guarded(self, sha: bytes, keys: tuple[str, ...], *arguments: bytes | str | int) -> Parts:
        count = 2 + len(keys)
        lease, fence = self._keys.acd_lease, self._keys.acd_fence
        return ("EVALSHA", sha, count, lease, fence, *keys, *self._journal.guard(), *arguments)

    def _snapshot(self, now: float) -> Parts:
        data = self._engine.snapshot()
        self._since_snapshot = 0
        self._snapshot_at = now
        self._counters.snapshots += 1
        oldest = int((now + self._offset - self._rules.keep_hours * 3600) * 1000)
        keep = min((oldest, 0), _number(self._position))
        keys = (self._keys.acd_snapshot, self._keys.acd_journal)
        return self._guarded(
            self._snapshot_sha, keys, self._position, data, f"{max(keep[0], 0)}-{keep[1]}"
        )

    def _publish(self, events: list[Event], last: bytes) -> list[Parts]:
        """Return the calls that publish a batch whose last entry is `last`, without a reply."""
        batch = publication.Batch(self._keys)
        for event in events:
            batch.add(event)
        found = batch.operations()
        if self._views_doubtful:
            self._views_doubtful = False
            found = publication.rewrite(*self._engine.views(), self._keys)
        numbers: dict[str, int] = {}
        parts: list[bytes | str | int] = []
        for command, key, arguments in found:
            number = numbers.setdefault(key, len(numbers) + 5)
            parts += (command, number, len(arguments))
            parts += arguments
        self._applied = last
        self._renewed = time.monotonic()
        self._counters.batches += 1
        self._counters.events += len(events)
        self._unproven = True
        call = self._guarded(
            self._publish_sha,
            (self._keys.acd_applied, self._keys.acd_events, *numbers),
            last,
            self._rules.events_kept,
            len(batch.events),
            *batch.events,
            *parts,
        )
        return [("CLIENT", "REPLY", "SKIP"), call]

    # --- what comes in --------------------------------------------------------------------

    def _take_replies(self, replies: list[Any]) -> None:
        """Take the replies to everything sent before the XREAD."""
        for meaning, reply in zip(self._awaited, replies, strict=True):
            if (meaning == "guarded" and reply == -1) or (
                meaning == "applied" and reply != self._applied
            ):
                raise LeaseLost
            if meaning == "tick":
                self._tick = reply
                self._counters.ticks += 1
            elif meaning == "time":
                self._offset = int(reply[0]) + int(reply[1]) / 1e6 - time.monotonic()
        self._awaited = []

    def _apply(self, rows: list[tuple[bytes, dict[bytes, bytes]]]) -> list[Parts]:
        """Apply entries; return the call that publishes what came of them, if anything did."""
        counters = self._counters
        began = time.perf_counter()
        aloud: list[Event] = []
        applied = _number(self._applied)
        counters.lag = max(0.0, time.monotonic() + self._offset - _number(rows[0][0])[0] / 1000)
        for entry, fields in rows:
            counters.commands += 1
            self._position = entry
            if entry == self._tick:
                self._tick = None
            events = self._apply_one(entry, fields)
            if events and _number(entry) > applied:
                aloud += events
        self._since_snapshot += len(rows)
        counters.decisions += sum(type(event) is Decision for event in aloud)
        counters.engine_seconds += time.perf_counter() - began
        caught_up = self._views_doubtful and len(rows) < self._rules.batch
        if aloud or caught_up:
            return self._publish(aloud, self._position)
        return []

    def _apply_one(self, entry: bytes, fields: dict[bytes, bytes]) -> list[Event]:
        """Apply one entry. What cannot be applied is counted and passed over."""
        if entry in self._set_aside:
            return []
        raw = fields.get(b"m")
        try:
            if raw is None:
                raise msgspec.ValidationError("no field m")
            command = _commands.decode(raw)
        except msgspec.DecodeError:
            self._counters.unreadable += 1
            _log.warning("journal-entry-unreadable", entry=entry.decode())
            return []
        try:
            return self._engine.apply(command, _number(entry)[0] / 1000)
        except InvalidConfiguration as error:
            self._counters.refused += 1
            _log.error("configuration-refused", entry=entry.decode(), problems=len(error.problems))
            return []
        except _DEFECTS as error:
            raise _Defect(entry, type(command).__name__) from error


class _Defect(Exception):
    """The engine failed at an entry and may be half-way through it."""

    def __init__(self, entry: bytes, command: str) -> None:
        super().__init__(f"{command} at {entry.decode()}")
        self.entry = entry
        self.command = command


async def keep(journal: Journal) -> None:
    """Lead or stand by until cancelled; outlives losses of Redis and of the lease.

    On cancellation the lease is given back.
    """
    pause = 0.05
    try:
        while True:
            began = time.monotonic()
            try:
                await journal.lead_when_free()
            except LeaseLost:
                _log.warning("lease-lost", instance=journal.instance)
            except _Defect as defect:
                entry = defect.entry.decode()
                _log.exception("command-set-aside", command=defect.command, entry=entry)
                journal.counters.set_aside += 1
                journal.aside.add(defect.entry)
            except (RedisError, OSError) as error:
                _log.warning("redis-lost", instance=journal.instance, error=type(error).__name__)
            pause = 0.05 if time.monotonic() - began > 5 else min(pause * 2, 1.0)
            await asyncio.sleep(pause)
    finally:
        await _give_back(journal)


async def _give_back(journal: Journal) -> None:
    try:
        await asyncio.wait_for(journal.release(), 1.0)
    except (RedisError, OSError, TimeoutError):
        # It ends by itself.
        _log.info("lease-not-given-back", instance=journal.instance)


def _number(entry: bytes) -> tuple[int, int]:
    """Return a stream id as (milliseconds, sequence), which sort as the stream does."""
    first, _, second = entry.partition(b"-")
    return int(first), int(second)


def _rows(reply: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Return the entries in XREAD's reply for one stream, in either protocol."""
    if not reply:
        return []
    entries = next(iter(reply.values())) if isinstance(reply, dict) else reply[0][1]
    return [
        (entry, dict(zip(fields[::2], fields[1::2], strict=True)) if fields else {})
        for entry, fields in entries
    ]
