"""What a SIP worker stores: written first, spoken of afterwards, never lost, never in the way."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from support.servers import ValkeyInstance, eventually

from sip.state import Committer


@pytest.fixture
async def own_valkey(tmp_path: Path) -> AsyncIterator[ValkeyInstance]:
    """A server of this test alone, to be killed."""
    server = ValkeyInstance(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def committer(own_valkey: ValkeyInstance) -> AsyncIterator[Committer]:
    client = Redis.from_url(own_valkey.url, socket_timeout=2.0)
    one = Committer(client)
    yield one
    await one.close()
    await client.aclose()


async def stored(server: ValkeyInstance, key: str, field: str) -> bytes | None:
    client = Redis.from_url(server.url)
    value = await client.hget(key, field)
    await client.aclose()
    assert not isinstance(value, str)
    return value


async def commit(committer: Committer) -> None:
    done = asyncio.Event()
    committer.after(done.set)
    async with asyncio.timeout(5):
        await done.wait()


async def test_what_waits_is_released_when_the_state_is_stored(
    committer: Committer, own_valkey: ValkeyInstance
) -> None:
    committer.put("calls", "c1", b"talking")
    seen: list[str] = []
    committer.after(lambda: seen.append("sent"))
    assert not seen, "nothing is sent before it is stored"
    await commit(committer)
    assert seen == ["sent"]
    assert await stored(own_valkey, "calls", "c1") == b"talking"


async def test_nothing_to_store_means_nothing_to_wait_for(committer: Committer) -> None:
    seen: list[str] = []
    committer.after(lambda: seen.append("sent"))
    assert seen == ["sent"]


async def test_only_the_newest_state_is_written(
    committer: Committer, own_valkey: ValkeyInstance
) -> None:
    committer.put("calls", "c1", b"ringing")
    committer.put("calls", "c1", b"talking")
    committer.put("calls", "c2", b"ringing")
    committer.put("calls", "c2", None)
    await commit(committer)
    assert committer.commits == 1
    assert await stored(own_valkey, "calls", "c1") == b"talking"
    assert await stored(own_valkey, "calls", "c2") is None


async def test_without_a_store_calls_go_on_and_their_states_are_written_later(
    committer: Committer, own_valkey: ValkeyInstance
) -> None:
    await commit(committer)
    committer.put("calls", "c1", b"ringing")
    await commit(committer)
    own_valkey.stop(signal.SIGKILL)
    committer.put("calls", "c1", b"talking")
    await commit(committer)
    await eventually(lambda: not committer.ok)
    seen: list[str] = []
    committer.after(lambda: seen.append("sent"))
    assert seen == ["sent"], "a call in progress does not wait for the store"
    own_valkey.start()
    await eventually(lambda: committer.ok)
    assert await stored(own_valkey, "calls", "c1") == b"talking"


async def test_a_command_that_is_refused_does_not_hold_up_the_others(
    committer: Committer, own_valkey: ValkeyInstance
) -> None:
    committer.write("SET", "text", "x")
    await commit(committer)
    committer.write("HSET", "text", "field", "value")
    committer.put("calls", "c1", b"talking")
    await commit(committer)
    assert committer.ok
    committer.put("calls", "c2", b"talking")
    await commit(committer)
    assert await stored(own_valkey, "calls", "c2") == b"talking"


async def test_a_broken_committer_is_noticed(
    committer: Committer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(committer, "_send", broken)
    committer.put("calls", "c1", b"talking")
    with pytest.raises(ValueError, match="broken"):
        async with asyncio.timeout(5):
            await committer.wait()
    monkeypatch.undo()
