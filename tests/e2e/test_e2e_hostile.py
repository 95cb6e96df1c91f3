"""Bytes that mean harm: refused with a clear answer, while everybody else goes on calling."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.city import City
from support.phones import both_hear, talk
from support.system import RunningSystem, run

pytestmark = pytest.mark.e2e
A, B = 700.0, 1100.0


@pytest.fixture(scope="module")
def patient(prompts: Path) -> Iterator[RunningSystem]:
    """A system that waits a second, not ten, for the first message of a connection."""
    yield from run(RunningSystem(prompts, SIP__TCP_FIRST_MESSAGE_SECONDS="1.0"))


@pytest.fixture
async def patient_city(patient: RunningSystem) -> AsyncIterator[City]:
    async with City(patient) as one:
        yield one


async def still_serves(city: City) -> None:
    """A TCP phone and a UDP phone register, call and hear each other."""
    one = await city.phone("242", tone=A, transport="tcp")
    two = await city.phone("243", tone=B)
    call, answered = await talk(one, "243", two)
    await both_hear(call, A, answered, B)
    await call.hangup()
    await answered.until("DISCONNECTED")


async def closed(reader: asyncio.StreamReader, within: float) -> bytes:
    """Wait until the server closed the connection; returns what it said before."""
    async with asyncio.timeout(within):
        with contextlib.suppress(ConnectionError):
            return await reader.read()
    return b""


def options(call_id: str, extra: str = "") -> bytes:
    return (
        "OPTIONS sip:musterstadt.example SIP/2.0\r\n"
        f"Via: SIP/2.0/TCP 127.0.0.1:9;branch=z9hG4bK{call_id};rport\r\n"
        "From: <sip:probe@127.0.0.1>;tag=1\r\nTo: <sip:musterstadt.example>\r\n"
        f"Call-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n{extra}"
        "Content-Length: 0\r\n\r\n"
    ).encode()


async def test_ten_thousand_half_open_connections_keep_nobody_from_calling(
    patient: RunningSystem, patient_city: City
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard < 11_000:
        pytest.fail(f"this test needs 11,000 open files, the machine allows {hard}")
    loop = asyncio.get_running_loop()
    sockets: list[socket.socket] = []
    try:
        for number in range(10_000):
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            one.setblocking(False)
            sockets.append(one)
            one.bind((f"127.0.1.{number % 100 + 1}", 0))
            with contextlib.suppress(BlockingIOError, ConnectionError):
                await asyncio.wait_for(
                    loop.sock_connect(one, (patient.host, patient.sip_port)), timeout=5
                )
                await loop.sock_sendall(one, b"INVITE sip:150@musterstadt.example SIP/2.0\r\n")
        await still_serves(patient_city)
    finally:
        for one in sockets:
            one.close()
    await still_serves(patient_city)


async def test_a_slow_sender_is_closed_in_time(patient: RunningSystem) -> None:
    reader, writer = await asyncio.open_connection(patient.host, patient.sip_port)
    started = time.monotonic()
    closing = asyncio.create_task(closed(reader, 5))
    for byte in options("slow"):
        if closing.done():
            break
        writer.write(bytes([byte]))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        await asyncio.wait([closing], timeout=0.05)
    await closing
    assert time.monotonic() - started < 3
    writer.close()


async def test_a_megabyte_header_is_refused_and_the_connection_closed(
    patient: RunningSystem, patient_city: City
) -> None:
    reader, writer = await asyncio.open_connection(patient.host, patient.sip_port)
    writer.write(options("mega", f"Subject: {'x' * 1_000_000}\r\n"))
    await closed(reader, 5)
    writer.close()
    await still_serves(patient_city)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"INVITE\r\n\r\n",
        b"OPTIONS sip:x SIP/2.0\r\nContent-Length: -1\r\n\r\n",
        b"OPTIONS sip:x SIP/2.0\r\nContent-Length: 99999999999\r\n\r\n",
        b"\x00" * 4096 + b"\r\n\r\n",
    ],
)
async def test_garbage_over_tcp_costs_the_sender_its_connection(
    patient: RunningSystem, garbage: bytes
) -> None:
    reader, writer = await asyncio.open_connection(patient.host, patient.sip_port)
    writer.write(garbage)
    await closed(reader, 5)
    writer.close()
    reader, writer = await asyncio.open_connection(patient.host, patient.sip_port)
    writer.write(options("after"))
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"SIP/2.0 200")
    writer.close()


async def test_garbage_over_udp_is_answered_or_ignored(patient: RunningSystem) -> None:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        server = (patient.host, patient.sip_port)
        bad_version = options("v").replace(b"SIP/2.0\r\nVia", b"SIP/9.0\r\nVia", 1)
        await loop.sock_sendto(sock, bad_version, server)
        async with asyncio.timeout(5):
            assert (await loop.sock_recv(sock, 65535)).startswith(b"SIP/2.0 505")
        for data in (b"", b"\r\n\r\n", bytes(2000), b"SIP/2.0 200 OK\r\n\r\n", b"A" * 60000):
            await loop.sock_sendto(sock, data, server)
        await loop.sock_sendto(sock, options("u"), server)
        async with asyncio.timeout(5):
            assert (await loop.sock_recv(sock, 65535)).startswith(b"SIP/2.0 200")
