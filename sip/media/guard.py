"""A kernel filter on each of the engine's RTP sockets: who may send into it.

rtp-io checks the source host, not the port, and follows another source under several conditions
(the same SSRC, ten seconds after an update). A socket filter decides before the engine sees a
packet: no third socket is heard, neither before the first packet nor during silence, and what is
refused costs the engine nothing. The filter is classic BPF, so no privilege is needed; only the
process that owns the sockets can set it, hence this module runs in the engine's process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
from itertools import chain
from typing import Literal, NamedTuple, get_args

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
#: descriptors above the highest known one that a new socket may have
_GAP = 64

_recv = ctypes.CDLL(None).recv
_pack_constant = struct.Struct("I").pack_into

Policy = Literal["open", "drop", "host", "exact"]
_POLICIES: dict[str, Policy] = {p: p for p in get_args(Policy)}


class Rule(NamedTuple):
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


class _Filter:
    """A filter's instructions at a fixed place in memory, whose address and port are filled in."""

    def __init__(self, steps: list[tuple[int, int, int, int]]) -> None:
        code = b"".join(struct.pack("HBBI", *step) for step in steps)
        self._code = ctypes.create_string_buffer(code, len(code))
        self._header = struct.pack("HL", len(steps), ctypes.addressof(self._code))

    def attach(self, handle: socket.SocketType, host: str = "", source: int = 0) -> None:
        """Set the filter on a socket.

        Raises:
            OSError: `host` is no IPv4 address, or the kernel refused the filter.
        """
        if host:
            # struct sock_filter has 8 bytes, its constant at 4; the network's byte order is as
            # loaded by the filter's machine
            _pack_constant(self._code, 12, int.from_bytes(socket.inet_aton(host)))
        if source:
            _pack_constant(self._code, 28, source)
        handle.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, self._header)


_DROP = _Filter([_REFUSE])
_HOST = _Filter([(_LD_WORD, 0, 0, _IP_SOURCE), (_JEQ, 0, 1, 0), _ACCEPT, _REFUSE])
_EXACT = _Filter(
    [
        (_LD_WORD, 0, 0, _IP_SOURCE),
        (_JEQ, 0, 3, 0),
        (_LD_HALF, 0, 0, _UDP_SOURCE),
        (_JEQ, 0, 1, 0),
        _ACCEPT,
        _REFUSE,
    ]
)


class PortSockets:
    """Finds this process's own UDP socket that is bound to a port.

    The kernel gives out the lowest free descriptor, so a new socket is found among those that
    were released or just above the highest known one.
    """

    def __init__(self) -> None:
        self._fds: dict[int, int] = {}
        self._released: set[int] = set()
        self._last = 3
        #: for each descriptor a handle that stays for good: collecting one would close what is
        #: the engine's; it is a number only, so another socket under the same number fits
        self._handles: dict[int, socket.SocketType] = {}
        # What is open now belongs to the engine itself.
        opened = {int(name) for name in os.listdir("/proc/self/fd")}
        self._top = max(opened) + 1
        self._released |= set(range(3, self._top)) - opened

    def find(self, port: int) -> socket.SocketType | None:
        """Return a handle of the socket bound to `port`, None if there is none."""
        fd = self._fds.get(port)
        if fd is not None and self._port_of(fd) == port:
            return self._handles[fd]
        # A session's sockets are made one after the other.
        if self._port_of(self._last + 1) == port:
            return self._keep(port, self._last + 1)
        for fd in chain(sorted(self._released), range(self._top, self._top + _GAP)):
            found = self._port_of(fd)
            if found == port:
                return self._keep(port, fd)
            if found == 0:
                # another kind of socket, such as a client's connection: not to be looked at again
                self._released.discard(fd)
        self._look_at_all()
        fd = self._fds.get(port)
        return None if fd is None else self._handles[fd]

    def release(self, port: int) -> None:
        """The engine closes the socket of `port`."""
        fd = self._fds.pop(port, None)
        if fd is not None:
            self._released.add(fd)

    def _keep(self, port: int, fd: int) -> socket.SocketType:
        self._fds[port] = self._last = fd
        self._released.discard(fd)
        if fd >= self._top:
            self._released.update(range(self._top, fd))
            self._top = fd + 1
        return self._handles[fd]

    def _look_at_all(self) -> None:
        """Build the map anew: it is stale where a client ended without releasing ports."""
        fds = {int(name) for name in os.listdir("/proc/self/fd")}
        self._fds = {port: fd for fd in fds if (port := self._port_of(fd))}
        self._top = max(fds) + 1
        self._released = set(range(3, self._top)) - set(self._fds.values())

    def _port_of(self, fd: int) -> int | None:
        """Return the port of an IPv4 socket, 0 for another socket, None for no socket."""
        try:
            handle = self._handles.get(fd)
            if handle is None:
                handle = socket.SocketType(socket.AF_INET, socket.SOCK_DGRAM, 0, fd)
                self._handles[fd] = handle
            name = handle.getsockname()
        except OSError:
            return None
        # Unix sockets have a path, those of IPv6 four parts.
        return name[1] if type(name) is tuple and len(name) == 2 else 0


class Guard:
    """Sets the filters of the sockets of this process."""

    def __init__(self) -> None:
        self._sockets = PortSockets()
        self._junk = ctypes.create_string_buffer(1)

    def apply(self, rule: Rule) -> bool:
        """Filter the RTP and RTCP sockets of a port; False if there are none.

        What waits in a socket from before is thrown away, since nobody vouches for it.

        Raises:
            OSError: the host is no IPv4 address, or the kernel refused the filter.
        """
        for port in (rule.port, rule.port + 1):
            handle = self._sockets.find(port)
            if handle is None:
                return False
            if rule.policy == "open":
                # fails with ENOENT where no filter was set, which is what is wanted
                with contextlib.suppress(FileNotFoundError):
                    handle.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
                continue
            if rule.policy == "drop":
                _DROP.attach(handle)
            elif rule.policy == "host" or port != rule.port:
                _HOST.attach(handle, rule.host)
            else:
                _EXACT.attach(handle, rule.host, rule.source)
            fd = handle.fileno()
            while _recv(fd, self._junk, 1, socket.MSG_DONTWAIT) >= 0:
                pass
        return True

    def release(self, port: int) -> None:
        """A session with this RTP port is over."""
        self._sockets.release(port)
        self._sockets.release(port + 1)
