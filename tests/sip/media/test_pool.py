"""Sessions over several engine processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sip.media.engine import EngineLost, MediaError, Remote
from sip.media.pool import EnginePool
from sip.media.rtpio import RtpIoEngine
from tests.support.media import EngineProcess

CALLER = Remote("127.0.0.1", 4000, (8,))


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[list[EngineProcess]]:
    started = [EngineProcess(tmp_path, name=f"media-{number}") for number in (1, 2)]
    yield started
    for process in started:
        process.close()


@pytest.fixture
async def engines(processes: list[EngineProcess]) -> AsyncIterator[list[RtpIoEngine]]:
    clients = [await RtpIoEngine.connect(process.path, process.name) for process in processes]
    yield clients
    for client in clients:
        await client.close()


async def test_sessions_go_where_the_fewest_are(engines: list[RtpIoEngine]) -> None:
    pool = EnginePool(engines)
    names = [pool.place(f"c{number}").name for number in range(6)]
    assert names.count("media-1") == names.count("media-2") == 3
    assert pool.place("c0").name == names[0]
    for number in range(6):
        if names[number] == "media-1":
            pool.forget(f"c{number}")
    assert pool.on("media-1") == frozenset()
    assert pool.place("next").name == "media-1"


async def test_a_lost_engines_sessions_are_named_and_placed_elsewhere(
    engines: list[RtpIoEngine], processes: list[EngineProcess]
) -> None:
    told: asyncio.Queue[tuple[str, list[str]]] = asyncio.Queue()
    pool = EnginePool(
        engines,
        on_lost=lambda name, sessions: told.put_nowait((name, sessions)),
        on_back=lambda name: told.put_nowait((name, ["back"])),
    )
    for number in range(4):
        await pool.place(f"c{number}").open(f"c{number}", CALLER)
    lost = sorted(pool.on("media-2"))
    processes[1].kill()
    assert await asyncio.wait_for(told.get(), 2) == ("media-2", lost)
    assert pool.alive == 1
    for session in lost:
        engine = pool.place(session)
        assert engine.name == "media-1"
        await engine.open(session, CALLER)
    assert pool.on("media-1") == {f"c{number}" for number in range(4)}
    processes[1].restart()
    assert await asyncio.wait_for(told.get(), 5) == ("media-2", ["back"])
    assert pool.place("next").name == "media-2"


async def test_no_engine_and_no_room_are_told_apart(
    engines: list[RtpIoEngine], processes: list[EngineProcess]
) -> None:
    lost: asyncio.Queue[str] = asyncio.Queue()
    pool = EnginePool(engines, limit=1, on_lost=lambda name, _: lost.put_nowait(name))
    assert pool.free == 2
    pool.place("c1")
    pool.place("c2")
    assert pool.free == 0
    with pytest.raises(MediaError, match="no-room"):
        pool.place("c3")
    for process in processes:
        process.kill()
        await asyncio.wait_for(lost.get(), 2)
    with pytest.raises(MediaError, match="no-engine"):
        pool.place("c3")


async def test_sessions_of_a_former_process_go_on(
    engines: list[RtpIoEngine], processes: list[EngineProcess]
) -> None:
    first = EnginePool(engines)
    engine = first.place("c1")
    local_a, local_b = await engine.open("c1", CALLER)
    later = [await RtpIoEngine.connect(process.path, process.name) for process in processes]
    pool = EnginePool(later)
    adopted = pool.adopt("c1", engine.name, local_a, local_b, CALLER, None)
    assert pool.on(engine.name) == {"c1"}
    assert pool.where("c1") is adopted
    assert await adopted.delete("c1") is not None
    pool.forget("c1")
    with pytest.raises(MediaError, match="no-engine"):
        pool.adopt("c2", "media-9", local_a, local_b, CALLER, None)
    await pool.close()
    with pytest.raises(EngineLost):
        await adopted.open("c3", CALLER)
