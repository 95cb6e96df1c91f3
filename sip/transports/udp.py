"""SIP over UDP (RFC 3261 section 18, RFC 3581).

The socket is emptied in bursts, so that datagrams wait in the worker, where it is known how long
they have waited, and not in the kernel.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any

from sip.core.flow import Flow

#: datagrams read before others get a turn of the event loop
_BURST = 200
_RECEIVE_BUFFER = 8 * 1024 * 1024
_MAX_DATAGRAM = 65_535
#: senders whose flows are remembered
_MAX_FLOWS = 10_000


class UdpTransport:
    """One bound socket.

    Args:
        host: address to bind.
        port: port to bind, 0 for a free one.
        received: called with each datagram and its flow.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, host: str, port: int, received: Callable[[bytes, Flow], None]) -> None:
        self._received = received
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self.unsent = 0
        self._flows: dict[tuple[Any, ...], Flow] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        receive = self._socket.recvfrom
        flows = self._flows
        for _ in range(_BURST):
            try:
                data, address = receive(_MAX_DATAGRAM)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # an ICMP error of an earlier send is reported here; it concerns that send alone
                continue
            flow = flows.get(address)
            if flow is None:
                if len(flows) >= _MAX_FLOWS:
                    flows.clear()
                flow = flows[address] = Flow("udp", self.address, address[:2])
            self._received(data, flow)

    def send(self, flow: Flow, data: bytes) -> None:
        """Send a datagram; what the kernel cannot take now is lost, as UDP may lose it."""
        try:
            self._socket.sendto(data, flow.remote)
        except OSError:
            self.unsent += 1

    def close(self) -> None:
        """Stop reading and close the socket."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
