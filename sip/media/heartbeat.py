"""One session of the engine's own that carries a packet a second.

It serves two ends. rtp-io closes the sockets of deleted sessions only when its threads wake up,
so that an engine without packets would run out of ports with no session left. And an engine whose
relay stands still must be replaced, which the command socket alone does not show.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path

PERIOD = 1.0
#: heartbeats in a row that were not relayed, after which the engine is taken for dead
MAX_MISSED = 10
_SESSION = "heartbeat"


class Heartbeat:
    """Sends to one side of a session and listens at the other."""

    def __init__(self, control: Path, address: str) -> None:
        """Open the session.

        Raises:
            OSError: the engine refused it.
        """
        self.missed = 0
        self._number = 0
        self._from = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for sock in (self._from, self._to):
            sock.bind((address, 0))
            sock.setblocking(False)
        with socket.socket(socket.AF_UNIX) as commands:
            commands.settimeout(5)
            commands.connect(str(control))
            ports = []
            for kind, sock in (("Ua", self._from), ("La", self._to)):
                port = sock.getsockname()[1]
                commands.sendall(f"{kind} {_SESSION} {address} {port} a b\n".encode())
                ports.append(int(commands.recv(256).split()[0]))
        self._target = (address, ports[1])
        self._control_target = (address, ports[1] + 1)

    def beat(self) -> bool:
        """Send the next packet; False if too many before it were not relayed."""
        try:
            while self._to.recv(256):
                self.missed = 0
        except BlockingIOError:
            pass
        self.wake()
        self.missed += 1
        return self.missed <= MAX_MISSED

    def wake(self) -> None:
        """Wake the engine's threads up."""
        self._number += 1
        packet = struct.pack(
            "!BBHII", 0x80, 0, self._number & 0xFFFF, self._number * 160 & 0xFFFFFFFF, 1
        )
        self._from.sendto(packet + bytes(160), self._target)
        # An empty receiver report (RFC 3550 §6.4.2) for the thread of the RTCP ports.
        self._from.sendto(struct.pack("!BBHI", 0x80, 201, 1, 1), self._control_target)
