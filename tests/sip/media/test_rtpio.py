"""What rtp-io does with real packets when it is driven through `RtpIoEngine`."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from sip.media.engine import (
    DtmfEvent,
    EngineEvent,
    EngineLost,
    Local,
    MediaError,
    MediaTimeout,
    Remote,
)
from sip.media.rtpio import RtpIoEngine
from tests.support.media import EngineProcess, RtpSocket

REAL, FALSE, MUSIC, SILENT = 0x41, 0x66, 0x33, 0xD5


@pytest.fixture
def process(tmp_path: Path) -> Iterator[EngineProcess]:
    engine = EngineProcess(tmp_path)
    yield engine
    engine.close()


@pytest.fixture
async def engine(process: EngineProcess) -> AsyncIterator[RtpIoEngine]:
    client = await RtpIoEngine.connect(process.path, "media-t")
    yield client
    await client.close()


@pytest.fixture
def phones() -> Iterator[list[RtpSocket]]:
    sockets = [RtpSocket() for _ in range(4)]
    yield sockets
    for sock in sockets:
        sock.close()


@pytest.fixture
def music(tmp_path: Path) -> str:
    (tmp_path / "moh.8").write_bytes(bytes([MUSIC]) * 8000)
    return str(tmp_path / "moh")


def at(phone: RtpSocket, *, strict: bool = True, any_port: bool = False) -> Remote:
    return Remote(phone.host, phone.port, (8, 101), 101, strict, any_port)


def fills(packets: list[bytes]) -> set[int]:
    return {packet[12] for packet in packets}


def hears(listener: RtpSocket, count: int = 3) -> set[int]:
    """Return what arrives until `count` real packets did, without music that was on its way."""
    packets: list[bytes] = []
    until = time.monotonic() + 3
    while sum(p[12] == REAL for p in packets) < count and time.monotonic() < until:
        packets += listener.wait(1, timeout=0.2)
    return fills(packets) - {MUSIC, SILENT}


def assert_two_way(a: RtpSocket, b: RtpSocket, local_a: Local, local_b: Local) -> None:
    """Both hear the other, and nothing that a stranger sent before."""
    a.send(local_a.port, 3, REAL)
    assert hears(b) == {REAL}
    b.send(local_b.port, 3, REAL)
    assert hears(a) == {REAL}


async def test_two_phones_hear_each_other(engine: RtpIoEngine, phones: list[RtpSocket]) -> None:
    a, b, *_ = phones
    local_a, local_b = await engine.open("c1", at(a), at(b))
    assert_two_way(a, b, local_a, local_b)
    assert engine.sessions == 1
    quality = await engine.delete("c1")
    assert quality is not None
    assert (quality.a.packets, quality.b.packets) == (3, 3)
    assert (quality.a.lost, quality.b.lost) == (0, 0)
    assert engine.sessions == 0
    assert await engine.delete("c1") is None


@pytest.mark.parametrize("strangers_host", ["127.0.0.1", "127.0.0.9"])
async def test_a_third_socket_never_reaches_a_listener(
    engine: RtpIoEngine, phones: list[RtpSocket], strangers_host: str
) -> None:
    a, b, *_ = phones
    local_a, local_b = await engine.open("c1", at(a), at(b))

    def intrude() -> None:
        """Any SSRC, the phones' own SSRC with the next numbers, and far numbers."""
        for phone, local in ((a, local_a), (b, local_b)):
            for ssrc, sequence in ((None, 7), (phone.ssrc, phone.sequence + 1), (phone.ssrc, 9999)):
                stranger = RtpSocket(strangers_host, ssrc)
                stranger.sequence = sequence
                stranger.send(local.port, 3, FALSE)
                assert stranger.heard() == []
                stranger.close()

    intrude()  # before the first packet
    assert_two_way(a, b, local_a, local_b)
    intrude()  # while they talk
    assert_two_way(a, b, local_a, local_b)
    await engine.set_remote("c1", "b", None)
    await engine.set_remote("c1", "b", at(b))
    intrude()  # in the seconds after an update, and in silence
    assert_two_way(a, b, local_a, local_b)


async def test_nobody_can_take_the_place_of_an_absent_side(
    engine: RtpIoEngine, phones: list[RtpSocket], music: str
) -> None:
    caller, agent, stranger, _ = phones
    local_a, local_b = await engine.open("c1", at(caller))
    stranger.send(local_b.port, 5, FALSE)
    await engine.play("c1", "a", music, None)
    caller.send(local_a.port, 5, REAL)
    assert fills(caller.wait(3)) == {MUSIC}
    assert stranger.heard() == []
    await engine.stop("c1", "a")
    await engine.set_remote("c1", "b", at(agent))
    caller.heard()
    assert_two_way(caller, agent, local_a, local_b)
    assert stranger.heard() == []


async def test_a_prompt_plays_in_frames_of_20_ms_and_can_be_stopped(
    engine: RtpIoEngine, phones: list[RtpSocket], music: str
) -> None:
    caller, *_ = phones
    await engine.open("c1", at(caller))
    await engine.play("c1", "a", music, None)
    packets = caller.wait(10)
    assert {len(packet) for packet in packets} == {12 + 160}
    assert {packet[1] & 0x7F for packet in packets} == {8}
    await engine.stop("c1", "a")
    await engine.play("c1", "a", music, 1)
    # 8,000 bytes are a second
    assert len(caller.wait(60, timeout=1.5)) in range(49, 54)


async def test_a_prompt_for_one_side_of_a_connected_call_silences_the_other(
    engine: RtpIoEngine, phones: list[RtpSocket], music: str
) -> None:
    a, b, *_ = phones
    local_a, local_b = await engine.open("c1", at(a), at(b))
    await engine.play("c1", "b", music, None)
    a.send(local_a.port, 3, REAL)
    b.send(local_b.port, 3, REAL)
    heard = b.wait(5)
    assert fills(heard) == {MUSIC}
    assert {len(packet) for packet in heard} == {12 + 160}
    assert fills(a.wait(3)) == {REAL}
    await engine.stop("c1", "b")
    b.heard()
    assert_two_way(a, b, local_a, local_b)


async def test_the_switch_from_music_to_the_agents_voice_takes_under_300_ms(
    engine: RtpIoEngine, phones: list[RtpSocket], music: str
) -> None:
    caller, agent, *_ = phones
    _, local_b = await engine.open("c1", at(caller))
    await engine.play("c1", "a", music, None)
    assert fills(caller.wait(3)) == {MUSIC}
    answered = time.monotonic()
    await engine.stop("c1", "a")
    await engine.set_remote("c1", "b", at(agent))
    heard: set[int] = set()
    while REAL not in heard and time.monotonic() - answered < 2:
        agent.send(local_b.port, 1, REAL)
        heard |= fills(caller.wait(1, timeout=0.02))
    assert time.monotonic() - answered < 0.3


async def test_nothing_is_sent_to_a_side_on_hold_and_the_other_hears_music(
    engine: RtpIoEngine, phones: list[RtpSocket], music: str
) -> None:
    a, b, *_ = phones
    local_a, local_b = await engine.open("c1", at(a), at(b))
    assert_two_way(a, b, local_a, local_b)
    await engine.set_remote("c1", "b", None)
    await engine.play("c1", "a", music, None)
    a.send(local_a.port, 5, REAL)
    b.send(local_b.port, 5, REAL)
    heard = a.wait(6)
    assert fills(heard) == {MUSIC}
    assert {len(packet) for packet in heard} == {12 + 160}
    assert b.heard() == []
    await engine.stop("c1", "a")
    await engine.set_remote("c1", "b", at(b))
    a.heard()
    assert_two_way(a, b, local_a, local_b)


async def test_changes_asked_for_at_once_happen_in_order(
    engine: RtpIoEngine, phones: list[RtpSocket], music: str
) -> None:
    a, b, *_ = phones
    local_a, local_b = await engine.open("c1", at(a), at(b))
    await asyncio.gather(
        engine.set_remote("c1", "b", None),
        engine.play("c1", "a", music, None),
        engine.stop("c1", "a"),
        engine.set_remote("c1", "b", at(b)),
        engine.set_remote("c1", "b", None),
        engine.play("c1", "a", music, None),
    )
    a.heard()
    heard = a.wait(4)
    assert fills(heard) == {MUSIC}
    assert {len(packet) for packet in heard} == {12 + 160}
    await asyncio.gather(engine.stop("c1", "a"), engine.set_remote("c1", "b", at(b)))
    a.heard()
    assert_two_way(a, b, local_a, local_b)


async def test_a_caller_without_an_address_yet_is_absent(
    engine: RtpIoEngine, phones: list[RtpSocket]
) -> None:
    a, b, stranger, _ = phones
    local_a, local_b = await engine.open("c1", Remote("0.0.0.0", 0, (8,)), at(b))
    stranger.send(local_a.port, 3, FALSE)
    await engine.set_remote("c1", "a", at(a))
    assert_two_way(a, b, local_a, local_b)
    assert stranger.heard() == []


async def test_a_side_moves_to_another_address(
    engine: RtpIoEngine, phones: list[RtpSocket]
) -> None:
    a, b, moved, _ = phones
    local_a, local_b = await engine.open("c1", at(a), at(b))
    assert_two_way(a, b, local_a, local_b)
    await engine.set_remote("c1", "b", at(moved))
    b.send(local_b.port, 3, FALSE)
    assert_two_way(a, moved, local_a, local_b)
    assert b.heard() == []
    await engine.set_remote("c1", "a", at(b))
    a.send(local_a.port, 3, FALSE)
    assert_two_way(b, moved, local_a, local_b)


async def test_a_device_behind_nat_is_found_by_its_first_packet(
    engine: RtpIoEngine, phones: list[RtpSocket], music: str
) -> None:
    a, b, *_ = phones
    behind = Remote("10.99.0.1", 4000, (8, 101), 101, strict=False)
    local_a, local_b = await engine.open("c1", behind, at(b))
    a.send(local_a.port, 1, REAL)
    b.wait(1)
    assert_two_way(a, b, local_a, local_b)
    # On hold it hears silence in place of the other's voice, who hears music.
    await engine.set_remote("c1", "a", None)
    await engine.play("c1", "b", music, None)
    a.wait(1)
    a.heard()
    b.send(local_b.port, 5, REAL)
    assert fills(a.wait(5)) == {SILENT}
    assert fills(b.wait(3)) == {MUSIC}
    await engine.stop("c1", "b")
    await engine.set_remote("c1", "a", behind)
    a.heard()
    b.heard()
    assert_two_way(a, b, local_a, local_b)


async def test_an_agent_behind_nat_can_follow_an_absent_side(
    engine: RtpIoEngine, phones: list[RtpSocket], music: str
) -> None:
    caller, agent, stranger, _ = phones
    local_a, local_b = await engine.open("c1", at(caller))
    stranger.send(local_b.port, 3, FALSE)
    await engine.play("c1", "a", music, None)
    caller.wait(2)
    await engine.stop("c1", "a")
    await engine.set_remote("c1", "b", Remote("10.99.0.1", 4000, (8,), strict=False))
    agent.send(local_b.port, 1, REAL)
    caller.wait(1)
    caller.heard()
    assert_two_way(caller, agent, local_a, local_b)


async def test_any_port_of_the_host_is_heard_where_a_device_needs_it(
    engine: RtpIoEngine, phones: list[RtpSocket]
) -> None:
    a, b, sender, _ = phones
    _, local_b = await engine.open("c1", at(a), at(b, any_port=True))
    stranger = RtpSocket("127.0.0.7")
    stranger.send(local_b.port, 3, FALSE)
    stranger.close()
    sender.send(local_b.port, 3, REAL)
    assert fills(a.wait(3)) == {REAL}


async def test_keys_are_told_with_their_side(
    process: EngineProcess, phones: list[RtpSocket]
) -> None:
    events: asyncio.Queue[EngineEvent] = asyncio.Queue()
    client = await RtpIoEngine.connect(process.path, "media-t", on_event=events.put_nowait)
    a, b, *_ = phones
    local_a, local_b = await client.open("c1", at(a))
    a.key(local_a.port, 5)
    assert await asyncio.wait_for(events.get(), 2) == DtmfEvent("c1", "a", "5", 60)
    await client.set_remote("c1", "b", at(b))
    b.key(local_b.port, 11)
    assert await asyncio.wait_for(events.get(), 2) == DtmfEvent("c1", "b", "#", 60)
    a.key(local_a.port, 0)
    assert await asyncio.wait_for(events.get(), 2) == DtmfEvent("c1", "a", "0", 60)
    await client.close()


async def test_silence_ends_a_session_but_hold_and_music_do_not(
    tmp_path: Path, phones: list[RtpSocket], music: str
) -> None:
    process = EngineProcess(tmp_path, "--ttl", "1")
    events: asyncio.Queue[EngineEvent] = asyncio.Queue()
    client = await RtpIoEngine.connect(process.path, "media-t", on_event=events.put_nowait)
    a, b, *_ = phones
    await client.open("waiting", at(a))
    await client.open("music", at(a))
    await client.play("music", "a", music, None)
    await client.open("held", at(a), at(b))
    await client.set_remote("held", "a", None)
    await client.set_remote("held", "b", None)
    await client.open("silent", at(a), at(b))
    assert await asyncio.wait_for(events.get(), 5) == MediaTimeout("silent")
    await client.open("again", at(a), at(b))
    assert await asyncio.wait_for(events.get(), 5) == MediaTimeout("again")
    assert await client.delete("silent") is None
    for session in ("waiting", "music", "held"):
        assert await client.delete(session) is not None
    await client.close()
    process.close()


@pytest.mark.parametrize("payload", [0, 8, 9])
async def test_prompts_play_in_the_phones_first_encoding(
    engine: RtpIoEngine, phones: list[RtpSocket], tmp_path: Path, payload: int
) -> None:
    for kind in (0, 8, 9):
        (tmp_path / f"hello.{kind}").write_bytes(bytes([kind + 1]) * 1600)
    caller, *_ = phones
    payloads = (payload, *({0, 8, 9} - {payload}), 101)
    await engine.open("c1", Remote(caller.host, caller.port, payloads, 101))
    await engine.play("c1", "a", str(tmp_path / "hello"))
    packets = caller.wait(10)
    assert len(packets) == 10
    assert {packet[1] & 0x7F for packet in packets} == {payload}
    assert fills(packets) == {payload + 1}
    stamps = [int.from_bytes(packet[4:8]) for packet in packets]
    # G.722 counts 8,000 a second, too (RFC 3551 §4.5.2)
    assert {later - earlier for earlier, later in pairwise(stamps)} == {160}


async def test_loss_and_jitter_are_counted(engine: RtpIoEngine, phones: list[RtpSocket]) -> None:
    a, b, *_ = phones
    local_a, _ = await engine.open("c1", at(a), at(b))
    for step in range(20):
        if step in (8, 9, 15):
            a.packet()  # lost on the way
        else:
            a.send(local_a.port)
        b.wait(1, timeout=0.02)
    quality = await engine.delete("c1")
    assert quality is not None
    assert (quality.a.packets, quality.a.lost) == (17, 3)
    assert quality.a.jitter_ms is not None
    assert 0 <= quality.a.jitter_ms < 40
    assert (quality.b.packets, quality.b.jitter_ms) == (0, None)


@pytest.mark.parametrize(
    ("remote", "code"),
    [
        (Remote("musterstadt.example", 4000, (8,)), "bad-address"),
        (Remote("255.255.255.255", 4000, (8,)), "bad-address"),
        (Remote("239.1.1.1", 4000, (8,)), "bad-address"),
        (Remote("127.0.0.1 4000\nX", 4000, (8,)), "bad-address"),
        (Remote("::1", 4000, (8,)), "bad-address"),
        (Remote("127.0.0.1", 0, (8,)), "bad-address"),
        (Remote("127.0.0.1", 70000, (8,)), "bad-address"),
    ],
)
async def test_hostile_addresses_are_refused(
    engine: RtpIoEngine, remote: Remote, code: str
) -> None:
    with pytest.raises(MediaError) as caught:
        await engine.open("c1", remote)
    assert caught.value.code == code


async def test_refusals_have_codes(
    engine: RtpIoEngine, phones: list[RtpSocket], tmp_path: Path
) -> None:
    a, *_ = phones
    with pytest.raises(MediaError, match="bad-session"):
        await engine.open("c 1", at(a))
    with pytest.raises(MediaError, match="no-session"):
        await engine.play("unknown", "a", "x")
    await engine.open("c1", at(a))
    with pytest.raises(MediaError, match="no-prompt"):
        await engine.play("c1", "a", str(tmp_path / "missing"))
    with pytest.raises(MediaError, match="no-prompt"):
        await engine.play("c1", "a", "a b")


async def test_a_full_engine_says_so_and_goes_on(
    engine: RtpIoEngine, phones: list[RtpSocket], process: EngineProcess
) -> None:
    a, b, *_ = phones
    results = await asyncio.gather(
        *(engine.open(f"c{number}", at(a), at(b)) for number in range(40)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, MediaError)]
    assert {error.code for error in refused} == {"no-ports"}
    assert len(results) - len(refused) == engine.sessions
    assert engine.sessions >= (process.high - process.low) // 4 - 1
    for number in range(40):
        await engine.delete(f"c{number}")
    local_a, local_b = await engine.open("again", at(a), at(b))
    assert_two_way(a, b, local_a, local_b)


async def test_many_sessions_side_by_side(engine: RtpIoEngine, phones: list[RtpSocket]) -> None:
    a, b, *_ = phones
    for turn in range(3):
        names = [f"c{turn}-{number}" for number in range(15)]
        locals_ = await asyncio.gather(*(engine.open(name, at(a), at(b)) for name in names))
        for local_a, local_b in locals_:
            assert_two_way(a, b, local_a, local_b)
        counts = await asyncio.gather(*(engine.delete(name) for name in names))
        assert all(count is not None and count.a.packets == 3 for count in counts)


async def test_the_loss_of_the_process_is_told_and_it_comes_back(
    process: EngineProcess, phones: list[RtpSocket]
) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    client = await RtpIoEngine.connect(
        process.path,
        "media-t",
        on_lost=lambda engine: told.put_nowait("lost"),
        on_back=lambda engine: told.put_nowait("back"),
    )
    a, b, *_ = phones
    await client.open("c1", at(a), at(b))
    process.kill()
    assert await asyncio.wait_for(told.get(), 1) == "lost"
    assert not client.alive
    assert client.sessions == 0
    with pytest.raises(EngineLost):
        await client.open("c2", at(a), at(b))
    with pytest.raises(EngineLost):
        await client.delete("c1")
    process.restart()
    assert await asyncio.wait_for(told.get(), 5) == "back"
    local_a, local_b = await client.open("c1", at(a), at(b))
    assert_two_way(a, b, local_a, local_b)
    await client.close()


async def test_a_process_that_hangs_is_lost(
    process: EngineProcess, phones: list[RtpSocket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sip.media.wire.STALL_SECONDS", 0.1)
    lost = asyncio.Event()
    client = await RtpIoEngine.connect(process.path, "media-t", on_lost=lambda engine: lost.set())
    os.kill(process.process.pid, signal.SIGSTOP)
    with pytest.raises(EngineLost):
        await client.open("c1", at(phones[0]))
    assert lost.is_set()
    os.kill(process.process.pid, signal.SIGCONT)
    await client.close()


async def test_a_new_client_takes_sessions_over(
    process: EngineProcess, phones: list[RtpSocket], music: str
) -> None:
    a, b, moved, _ = phones
    former = await RtpIoEngine.connect(process.path, "media-t")
    local_a, local_b = await former.open("c1", at(a), at(b))
    assert_two_way(a, b, local_a, local_b)
    await former.close()
    assert_two_way(a, b, local_a, local_b)
    client = await RtpIoEngine.connect(process.path, "media-t")
    client.adopt("c1", local_a, local_b, at(a), at(b))
    await client.set_remote("c1", "b", None)
    await client.play("c1", "a", music, None)
    assert fills(a.wait(3)) == {MUSIC}
    await client.stop("c1", "a")
    await client.set_remote("c1", "b", at(moved))
    a.heard()
    assert_two_way(a, moved, local_a, local_b)
    quality = await client.delete("c1")
    assert quality is not None
    assert quality.a.packets == 9
    await client.close()
