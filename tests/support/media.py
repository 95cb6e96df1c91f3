"""Engine processes and RTP sockets for tests."""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

SAMPLES = 160


def free_ports(count: int = 80) -> tuple[int, int]:
    """Return an even range of UDP ports that nobody uses now."""
    while True:
        low = random.randrange(20000, 30000, 2)
        sockets = []
        try:
            for port in range(low, low + count):
                sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                sockets.append(sock)
                sock.bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for sock in sockets:
                sock.close()
        return low, low + count - 2


class EngineProcess:
    """One `sip.media.child`."""

    def __init__(self, folder: Path, *extra: str, name: str = "media-t") -> None:
        self.path = folder / "e" / f"{name}.sock"
        self.low, self.high = free_ports()
        self.name = name
        self._extra = extra
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "sip.media.child", "--socket", str(self.path)),
                *("--port-min", str(self.low), "--port-max", str(self.high)),
                *("--name", self.name, *self._extra),
            ],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    def kill(self) -> None:
        """As kill -9."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it anew at the same path."""
        self.process = self._start()

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(5)


class RtpSocket:
    """A UDP socket that sends RTP packets by hand and remembers what it hears."""

    def __init__(self, host: str = "127.0.0.1", ssrc: int | None = None, payload: int = 8) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.host = host
        self.port: int = self.socket.getsockname()[1]
        self.ssrc = random.getrandbits(32) if ssrc is None else ssrc
        self.payload = payload
        self.sequence = 100

    def close(self) -> None:
        """Free the port."""
        self.socket.close()

    def packet(self, fill: int = 0x55, marker: bool = False) -> bytes:
        """Return the next packet: 20 ms whose payload is one repeated byte."""
        self.sequence += 1
        header = struct.pack(
            "!BBHII",
            0x80,
            self.payload | (0x80 if marker else 0),
            self.sequence & 0xFFFF,
            self.sequence * SAMPLES & 0xFFFFFFFF,
            self.ssrc,
        )
        return header + bytes([fill]) * SAMPLES

    def send(self, port: int, count: int = 1, fill: int = 0x55) -> None:
        """Send packets to a port of 127.0.0.1 at once."""
        for _ in range(count):
            self.socket.sendto(self.packet(fill), ("127.0.0.1", port))

    def key(self, port: int, digit: int, payload: int = 101) -> None:
        """Press a key of 60 ms (RFC 4733)."""
        start = self.sequence * SAMPLES & 0xFFFFFFFF
        for step in range(6):
            self.sequence += 1
            packet = struct.pack(
                "!BBHIIBBH",
                *(0x80, payload | (0x80 if step == 0 else 0), self.sequence & 0xFFFF),
                *(start, self.ssrc, digit, 10 | (0x80 if step > 2 else 0)),
                SAMPLES * min(step + 1, 3),
            )
            self.socket.sendto(packet, ("127.0.0.1", port))

    def heard(self) -> list[bytes]:
        """Return the packets that are there now."""
        packets = []
        while True:
            try:
                packets.append(self.socket.recv(2048))
            except BlockingIOError:
                return packets

    def wait(self, count: int = 1, timeout: float = 2.0) -> list[bytes]:
        """Return at least `count` packets, fewer if they do not come in time."""
        until = time.monotonic() + timeout
        packets = self.heard()
        while len(packets) < count and (left := until - time.monotonic()) > 0:
            select.select([self.socket], [], [], left)
            packets += self.heard()
        return packets
