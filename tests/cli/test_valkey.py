"""The embedded Valkey: its folder, what survives, and how its failures are told."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from pathlib import Path

import pytest
from redis.asyncio import Redis
from support.servers import eventually

from comms import valkey
from comms.compose import valkey_child
from comms.folders import prepare_folders
from comms.settings import Settings, load_settings
from comms.supervisor import StartError, Supervisor, read_status


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = load_settings(environ={"COMMS_GENERAL__DATA_DIR": str(tmp_path)})
    prepare_folders(made)
    return made


def supervise(settings: Settings) -> Supervisor:
    return Supervisor([valkey_child(settings)], run_dir=settings.run_dir, environment={})


async def test_a_killed_server_is_back_with_everything_that_was_answered(
    settings: Settings,
) -> None:
    supervisor = supervise(settings)
    running = asyncio.create_task(supervisor.run())
    await asyncio.wait_for(supervisor.ready.wait(), 20)
    assert stat.S_IMODE(settings.run_dir.stat().st_mode) == 0o700
    async with Redis.from_url(settings.redis_url) as client:
        assert (await client.config_get("maxmemory-policy"))["maxmemory-policy"] == "noeviction"
        for number in range(100):
            await client.xadd("journal", {"m": number})
        killed = read_status(settings.run_dir)["valkey"]["pid"]
        os.kill(killed, signal.SIGKILL)
        await eventually(lambda: read_status(settings.run_dir)["valkey"]["pid"] != killed)
        await eventually(lambda: valkey.answers(settings), 20)
    async with Redis.from_url(settings.redis_url) as client:
        assert await client.xlen("journal") == 100
    supervisor.stop()
    await asyncio.wait_for(running, 20)
    assert not await valkey.answers(settings)


async def test_damaged_files_are_named_with_what_to_do(settings: Settings) -> None:
    supervisor = supervise(settings)
    running = asyncio.create_task(supervisor.run())
    await asyncio.wait_for(supervisor.ready.wait(), 20)
    async with Redis.from_url(settings.redis_url) as client:
        await client.set("key", "value")
    supervisor.stop()
    await asyncio.wait_for(running, 20)
    files = list(valkey.folder(settings).rglob("*.aof"))
    assert files
    for file in files:
        file.write_bytes(b"*3\r\n$3\r\nSET\r\n$nonsense" + file.read_bytes())
    with pytest.raises(StartError) as caught:
        await asyncio.wait_for(supervise(settings).run(), 20)
    assert str(caught.value) == (
        f"the embedded Valkey does not start: the files in {valkey.folder(settings)} are damaged; "
        "restore the folder from a backup, or move it away to start with no live state"
    )


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Can't handle RDB format version 99", "written by a newer Valkey"),
        ("Can't open the append-only file: Permission denied", "cannot be written"),
        ("write error: No space left on device", "is full"),
        ("Bad file format reading the append only file", "are damaged"),
        ("Failed listening on unix socket", "Failed listening on unix socket"),
    ],
)
def test_what_it_prints_becomes_one_line(settings: Settings, line: str, words: str) -> None:
    text = valkey.explain(settings, ["something before", line, ""])
    assert text.startswith("the embedded Valkey does not start: ")
    assert words in text
    assert "\n" not in text


def test_silence_is_told_as_such(settings: Settings) -> None:
    assert valkey.explain(settings, []).endswith("it printed nothing")
