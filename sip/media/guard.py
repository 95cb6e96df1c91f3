"""A kernel filter on each of the engine's RTP sockets: who may send into it.

rtp-io checks the source host, not the port, and follows another source under several conditions
(the same SSRC, ten seconds after an update). A socket filter decides before the engine sees a
packet: no third socket is heard, neither before the first packet nor during silence, and what is
refused costs the engine nothing. The filter is classic BPF, so no privilege is needed; only the
process that owns the sockets can set it, hence this module runs in the engine's process.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from dataclasses import dataclass
from typing import Literal, get_args

#: asm-generic/socket.h; the socket module does not name them
_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
#: linux/filter.h: loads relative to the network header; a UDP socket's filter sees the UDP header
_SKF_NET_OFF = 0xFFF00000
_IP_SOURCE = _SKF_NET_OFF + 12
_UDP_SOURCE = 0
_LD_WORD, _LD_HALF, _JEQ, _RET = 0x20, 0x28, 0x15, 0x06
_ACCEPT = (_RET, 0, 0, 0xFFFFFFFF)
_REFUSE = (_RET, 0, 0, 0)
#: fds are given out lowest first, so that many missing ones in a row mean the end
_GAP = 64

_libc = ctypes.CDLL(None, use_errno=True)

Policy = Literal["open", "drop", "host", "exact"]
_POLICIES: dict[str, Policy] = {p: p for p in get_args(Policy)}


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may send to the RTP port `port` (and to its RTCP port, one above)."""

    port: int
    policy: Policy
    #: IPv4 address, for "host" and "exact"
    host: str = ""
    #: UDP port, for "exact"; RTCP is accepted from any port of the host
    source: int = 0

    def encode(self) -> str:
        """Return the rule as one word of the guard's protocol."""
        return f"{self.port}:{self.policy}:{self.host}:{self.source}"

    @classmethod
    def decode(cls, word: str) -> Rule:
        """Return the rule in `word`.

        Raises:
            ValueError, KeyError: it is none.
        """
        port, name, host, source = word.split(":")
        return cls(int(port), _POLICIES[name], host, int(source))


def program(policy: Policy, host: str, source: int) -> bytes | None:
    """Return the filter's instructions, None where no filter is needed.

    Raises:
        OSError: `host` is no IPv4 address.
    """
    if policy == "open":
        return None
    code: list[tuple[int, int, int, int]]
    if policy == "drop":
        code = [_REFUSE]
    else:
        (address,) = struct.unpack("!I", socket.inet_aton(host))
        code = [(_LD_WORD, 0, 0, _IP_SOURCE), (_JEQ, 0, 1, address), _ACCEPT, _REFUSE]
        if policy == "exact":
            code = [
                (_LD_WORD, 0, 0, _IP_SOURCE),
                (_JEQ, 0, 3, address),
                (_LD_HALF, 0, 0, _UDP_SOURCE),
                (_JEQ, 0, 1, source),
                _ACCEPT,
                _REFUSE,
            ]
    return b"".join(struct.pack("HBBI", *step) for step in code)


class PortSockets:
    """Finds this process's own UDP socket that is bound to a port."""

    def __init__(self) -> None:
        self._fds: dict[int, int] = {}
        self._taken: set[int] = set()
        self._name = ctypes.create_string_buffer(28)
        self._size = ctypes.c_uint(28)
        self._size_ref = ctypes.byref(self._size)

    def find(self, port: int) -> int | None:
        """Return the file descriptor of the socket bound to `port`, None if there is none."""
        fd = self._fds.get(port)
        if fd is not None:
            if self._port_of(fd) == port:
                return fd
            self.release(port)
        below = self._fds.get(port - 1)
        if below is not None and self._port_of(below + 1) == port:
            return self._keep(port, below + 1)
        missing = 0
        fd = 2
        while missing < _GAP:
            fd += 1
            if fd in self._taken:
                missing = 0
                continue
            found = self._port_of(fd)
            if found == port:
                return self._keep(port, fd)
            missing = missing + 1 if found is None else 0
        return self._search(port)

    def release(self, port: int) -> None:
        """The engine has closed the socket of `port`."""
        fd = self._fds.pop(port, None)
        if fd is not None:
            self._taken.discard(fd)

    def _keep(self, port: int, fd: int) -> int:
        self._fds[port] = fd
        self._taken.add(fd)
        return fd

    def _search(self, port: int) -> int | None:
        """Look at every descriptor: a client died without releasing, so the map is stale."""
        self._fds.clear()
        self._taken.clear()
        for name in os.listdir("/proc/self/fd"):
            found = self._port_of(int(name))
            if found == port:
                return self._keep(port, int(name))
        return None

    def _port_of(self, fd: int) -> int | None:
        """Return the port of an IPv4 socket, 0 for another socket, None for no socket."""
        self._size.value = 28
        if _libc.getsockname(fd, self._name, self._size_ref) != 0:
            return None
        family: int
        port: int
        (family,) = struct.unpack_from("H", self._name)
        (port,) = struct.unpack_from("!H", self._name, 2)
        return port if family == socket.AF_INET else 0


class Guard:
    """Sets the filters of the sockets of this process."""

    def __init__(self) -> None:
        self._sockets = PortSockets()

    def apply(self, rule: Rule) -> bool:
        """Filter the RTP and RTCP sockets of a port; False if there are none.

        What waits in a socket from before is thrown away, since nobody vouches for it.

        Raises:
            OSError: the kernel refused the filter.
        """
        rtcp_policy: Policy = "host" if rule.policy == "exact" else rule.policy
        return self._attach(rule.port, program(rule.policy, rule.host, rule.source)) and (
            self._attach(rule.port + 1, program(rtcp_policy, rule.host, 0))
        )

    def release(self, port: int) -> None:
        """A session with this RTP port is over."""
        self._sockets.release(port)
        self._sockets.release(port + 1)

    def _attach(self, port: int, code: bytes | None) -> bool:
        fd = self._sockets.find(port)
        if fd is None:
            return False
        if code is None:
            zero = ctypes.c_int(0)
            # fails with ENOENT where no filter was set, which is what is wanted
            _libc.setsockopt(fd, socket.SOL_SOCKET, _SO_DETACH_FILTER, ctypes.byref(zero), 4)
            return True
        steps = ctypes.create_string_buffer(code, len(code))
        header = struct.pack("HL", len(code) // 8, ctypes.addressof(steps))
        if _libc.setsockopt(fd, socket.SOL_SOCKET, _SO_ATTACH_FILTER, header, len(header)) != 0:
            raise OSError(ctypes.get_errno(), "the kernel refused a socket filter")
        junk = ctypes.create_string_buffer(1)
        while _libc.recv(fd, junk, 1, socket.MSG_DONTWAIT) >= 0:
            pass
        return True
