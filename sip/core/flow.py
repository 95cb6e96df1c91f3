"""Where a message came from and where its answers go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Transport = Literal["udp", "tcp", "tls", "ws", "wss"]

#: As the transport is written in Via (RFC 3261 §20.42, RFC 7118 §5.2).
VIA_NAMES: dict[str, str] = {"udp": "UDP", "tcp": "TCP", "tls": "TLS", "ws": "WS", "wss": "WSS"}


@dataclass(frozen=True, slots=True, eq=True)
class Flow:
    """A pair of transport addresses (RFC 5626 §3), plus the connection for a stream.

    Two flows are equal when every field is equal.
    """

    transport: Transport
    #: our address: the listener's for UDP, the socket's for a connection
    local: tuple[str, int]
    #: the peer's address as the socket saw it
    remote: tuple[str, int]
    #: number of the connection, given by the transport; 0 for UDP
    connection: int = 0

    @property
    def reliable(self) -> bool:
        """Whether the transport retransmits by itself (everything but UDP)."""
        return self.transport != "udp"

    @property
    def secure(self) -> bool:
        """Whether the transport is encrypted."""
        return self.transport in ("tls", "wss")

    def __hash__(self) -> int:
        return hash(self.remote) ^ self.connection
