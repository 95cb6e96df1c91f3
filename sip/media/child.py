"""The process of one media engine: rtp-io and what has to stand beside it.

`python -m sip.media.child --socket PATH --port-min 20000 --port-max 21998` makes three sockets:

* PATH: rtp-io's own command protocol (unix stream, no authentication: the folder is closed
  to other users);
* PATH.side: this module's protocol, lines of text. The child greets with
  `hello NAME NOTIFY ADDRESS PORT_MIN PORT_MAX TTL`. A client sends `f [-PORT...] RULE...` (see
  `sip.media.guard`; ports with a minus are released) and gets `ok` or `failed PORT`, or `w`,
  which wakes the engine up to free the ports of ended sessions, and gets `ok`. Each notice of
  the engine (a DTMF digit, a session that timed out) goes to every client as `n TAG ...`.

The process ends with its parent, on SIGTERM, and when the engine relays no packets any more.
Exit codes: 2 usage, 3 the socket's folder or path, 4 the address, 5 the ports, 6 the engine.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import errno
import os
import selectors
import signal
import socket
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from sip.media.guard import Guard, Rule
from sip.media.heartbeat import PERIOD, Heartbeat

EXIT_FOLDER = 3
EXIT_ADDRESS = 4
EXIT_PORTS = 5
EXIT_ENGINE = 6

SIDE_SUFFIX = ".side"
#: a second of silence beside the command socket, one file a payload type
SILENCE = "silence"
_SILENT_BYTES = {0: 0xFF, 8: 0xD5, 9: 0xFA}
#: sockaddr_un holds 108 bytes, the last one zero
_MAX_SOCKET_PATH = 107
_PR_SET_PDEATHSIG = 1
#: a client that does not read its notices is cut off beyond this many bytes
_MAX_UNSENT = 1 << 20
_MAX_LINE = 1 << 16
_MAX_READ = 1 << 14
#: RTP and RTCP of both sides, for the heartbeat and one call
_LEAST_PORTS = 8


class CannotStart(Exception):
    """Why the engine cannot start or go on, in one sentence, and the exit code that says it."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sip.media.child")
    parser.add_argument("--socket", required=True, help="path of the command socket")
    parser.add_argument("--address", default="127.0.0.1", help="IPv4 address of the RTP ports")
    parser.add_argument("--port-min", type=int, required=True, help="lowest RTP port (even)")
    parser.add_argument("--port-max", type=int, required=True, help="highest RTP port (even)")
    parser.add_argument("--name", default="media-1")
    parser.add_argument("--ttl", type=int, default=60, help="seconds without packets")
    parser.add_argument("--records", default=None, help="folder for recordings")
    args = parser.parse_args(argv)
    if not (1024 <= args.port_min < args.port_max <= 65534) or args.port_min % 2:
        parser.error(
            f"--port-min {args.port_min} --port-max {args.port_max}: wanted an even number from "
            "1024 and a higher one up to 65534"
        )
    if args.ttl < 1:
        parser.error(f"--ttl {args.ttl}: wanted at least 1 second")
    return args


def _die_with_parent() -> None:
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    # The parent may have died before the call; then no signal will come.
    if os.getppid() != parent:
        os._exit(0)


def check_folder(path: Path) -> None:
    """Make the command socket's folder, or see that it is closed to others.

    Raises:
        CannotStart: the folder or the socket cannot be used.
    """
    if len(os.fsencode(path)) + len(SIDE_SUFFIX) > _MAX_SOCKET_PATH:
        raise CannotStart(EXIT_FOLDER, f"the socket's path {path} is too long for a unix socket")
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.stat()
        if state.st_uid != os.geteuid():
            raise CannotStart(EXIT_FOLDER, f"the folder {folder} belongs to another user")
        if stat.S_IMODE(state.st_mode) & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        raise CannotStart(EXIT_FOLDER, f"the folder {folder} cannot be used: {error}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CannotStart(EXIT_FOLDER, f"the folder {folder} is not writable")
    for taken in (path, Path(f"{path}{SIDE_SUFFIX}")):
        if not taken.exists():
            continue
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(taken))
            except OSError:
                taken.unlink()
            else:
                raise CannotStart(EXIT_FOLDER, f"another engine already answers at {taken}")


def check_ports(address: str, low: int, high: int) -> int:
    """Return how many of the ports from `low` to `high` are in use by others.

    Raises:
        CannotStart: the address is not this machine's, or hardly any port is free.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        raise CannotStart(EXIT_ADDRESS, f"cannot bind the address {address}: {error}") from error
    used = free_pairs = 0
    for port in range(low, high + 1, 2):
        pair = [_is_free(address, port), _is_free(address, port + 1)]
        used += pair.count(False)
        free_pairs += all(pair)
    if free_pairs * 2 < _LEAST_PORTS:
        raise CannotStart(
            EXIT_PORTS, f"the UDP ports {low} to {high} of {address} are in use by other programs"
        )
    return used


def _is_free(address: str, port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise CannotStart(
                EXIT_PORTS, f"cannot bind UDP port {port} of {address}: {error}"
            ) from error
    return True


class _Client:
    """One connection at PATH.side."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.unread = b""
        self.unsent = b""
        #: whether the loop waits until more can be sent
        self.blocked = False

    def send(self, data: bytes) -> None:
        """Send without blocking; keep what does not fit.

        Raises:
            OSError: the client is gone, or too slow.
        """
        self.unsent += data
        if len(self.unsent) > _MAX_UNSENT:
            raise OSError(errno.ENOBUFS, "the client does not read")
        if not self.unsent:
            return
        try:
            sent = self.connection.send(self.unsent)
        except BlockingIOError:
            return
        self.unsent = self.unsent[sent:]

    def lines(self) -> Iterator[str]:
        """Read what is there and yield the complete lines.

        Raises:
            OSError: the client is gone, or sent a line without end.
        """
        data = self.connection.recv(_MAX_READ)
        if not data:
            raise OSError(errno.EPIPE, "closed")
        *complete, self.unread = (self.unread + data).split(b"\n")
        if len(self.unread) > _MAX_LINE:
            raise OSError(errno.EMSGSIZE, "line too long")
        for line in complete:
            yield line.decode("ascii", "replace")


class _Side:
    """The loop beside the engine: notices out, filters in, the end on a signal."""

    def __init__(
        self, listener: socket.socket, notices: socket.socket, hello: bytes, heartbeat: Heartbeat
    ) -> None:
        self._heartbeat = heartbeat
        self._listener = listener
        self._notices = notices
        self._hello = hello
        self._guard = Guard()
        self._unread = b""
        self._selector = selectors.DefaultSelector()
        self._clients: set[_Client] = set()

    def run(self, wake: socket.socket) -> None:
        """Serve until a byte comes from `wake`.

        Raises:
            CannotStart: the engine does not relay any more.
        """
        for source in (self._listener, self._notices, wake):
            source.setblocking(False)
            self._selector.register(source, selectors.EVENT_READ)
        beat_at = time.monotonic()
        while True:
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + PERIOD
                if not self._heartbeat.beat():
                    raise CannotStart(EXIT_ENGINE, "the engine relays no packets any more")
            for key, mask in self._selector.select(max(0.0, beat_at - time.monotonic())):
                if key.fileobj is wake:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._notices:
                    self._pass_on()
                else:
                    self._serve(key.data, mask)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        client = _Client(connection)
        self._clients.add(client)
        self._selector.register(connection, selectors.EVENT_READ, client)
        self._send(client, self._hello)

    def _pass_on(self) -> None:
        *complete, self._unread = (self._unread + self._notices.recv(65536)).split(b"\n")
        data = b"".join(b"n " + line.strip(b"\0") + b"\n" for line in complete if line)
        for client in list(self._clients):
            self._send(client, data)

    def _serve(self, client: _Client, mask: int) -> None:
        try:
            if mask & selectors.EVENT_READ:
                for line in client.lines():
                    client.unsent += self._obey(line.split())
        except OSError:
            self._drop(client)
            return
        self._send(client, b"")

    def _obey(self, words: list[str]) -> bytes:
        if words == ["w"]:
            self._heartbeat.wake()
            return b"ok\n"
        for word in words[1:]:
            try:
                if word.startswith("-"):
                    self._guard.release(int(word[1:]))
                elif not self._guard.apply(Rule.decode(word)):
                    return f"failed {word.split(':')[0]}\n".encode()
            except (ValueError, KeyError, OSError) as error:
                print(f"a filter could not be set: {error}", file=sys.stderr, flush=True)
                return b"failed\n"
        return b"ok\n"

    def _send(self, client: _Client, data: bytes) -> None:
        try:
            client.send(data)
        except OSError:
            self._drop(client)
            return
        blocked = bool(client.unsent)
        if blocked != client.blocked:
            client.blocked = blocked
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if blocked else 0)
            self._selector.modify(client.connection, events, client)

    def _drop(self, client: _Client) -> None:
        self._clients.discard(client)
        self._selector.unregister(client.connection)
        client.connection.close()


def _end(path: Path, name: str, error: CannotStart | None = None) -> NoReturn:
    """End at once while the engine still lives: taking it apart would need a second."""
    for made in (path, Path(f"{path}{SIDE_SUFFIX}")):
        with contextlib.suppress(OSError):
            made.unlink()
    if error is not None:
        print(f"{name}: {error}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(0 if error is None else error.code)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one engine until the process is told to end."""
    args = _arguments(argv)
    _die_with_parent()
    wake, signals = socket.socketpair()
    signals.setblocking(False)
    signal.set_wakeup_fd(signals.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    path = Path(args.socket).absolute()
    try:
        check_folder(path)
        used = check_ports(args.address, args.port_min, args.port_max)
        if used:
            print(
                f"{args.name}: {used} of the UDP ports {args.port_min} to {args.port_max} are in "
                "use by other programs and are left out",
                file=sys.stderr,
                flush=True,
            )
        _run(args, path, wake)
    except CannotStart as error:
        print(f"{args.name}: {error}", file=sys.stderr, flush=True)
        raise SystemExit(error.code) from None


def _run(args: argparse.Namespace, path: Path, wake: socket.socket) -> NoReturn:
    # Imported late: a wrong setting is told without loading the engine.
    from rtp.io import rtpproxy

    records = args.records or str(path.parent)
    try:
        for payload, byte in _SILENT_BYTES.items():
            path.with_name(f"{SILENCE}.{payload}").write_bytes(bytes([byte]) * 8000)
    except OSError as error:
        raise CannotStart(EXIT_FOLDER, f"cannot write beside {path}: {error}") from error
    try:
        engine = rtpproxy(
            debug_level="err",
            port_min=args.port_min,
            port_max=args.port_max,
            ttl=args.ttl,
            setup_ttl=args.ttl,
            rec_spool_dir=records,
            rec_final_dir=records,
            modules=["catch_dtmf", "dtls_gw", "ice_lite"],
            # -t 184: the packets carry DSCP EF (RFC 3246)
            extra_args=["-l", args.address, "-F", "-t", "184", "-s", f"cunix:{path}"],
        )
    except (RuntimeError, OSError, ValueError) as error:
        raise CannotStart(EXIT_ENGINE, f"the engine did not start: {error}") from error
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}{SIDE_SUFFIX}")
    listener.listen(16)
    hello = (
        f"hello {args.name} {engine.rtpp_nsock_spec} {args.address} "
        f"{args.port_min} {args.port_max} {args.ttl}\n"
    )
    try:
        heartbeat = Heartbeat(path, args.address)
        _Side(listener, engine.rtpp_nsock, hello.encode(), heartbeat).run(wake)
    except (OSError, ValueError) as error:
        _end(path, args.name, CannotStart(EXIT_ENGINE, f"the engine refused a session: {error}"))
    except CannotStart as error:
        _end(path, args.name, error)
    _end(path, args.name)


if __name__ == "__main__":
    main()
