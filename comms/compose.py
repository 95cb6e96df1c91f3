"""The composition root: the one module of `comms` that knows all the roles.

It says which processes make up a system, and runs one role in this process. Everything it
composes is imported where it is used, so that a role starts without the others' libraries.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from comms import valkey
from comms.errors import OperatorError
from comms.folders import prepare_folders
from comms.ready import wait_for_turn
from comms.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from comms.bus.acd import Event
    from comms.supervisor import Child

Role = Callable[[], Awaitable[None]]

ROLES = ("web", "sip", "queue", "media")

#: stages: the live store; what calls lean on, and who writes their records; telephony; people
_STORE, _BASE, _SIP, _PEOPLE = 1, 2, 3, 4


def role_command(role: str, name: str) -> tuple[str, ...]:
    """Return the command line that runs a role in a process of its own."""
    return (sys.executable, "-m", "comms.compose", role, name)


def children(settings: Settings) -> list[Child]:
    """Return the processes of a whole system."""
    from comms.supervisor import Child

    system = [
        Child(
            f"media-{index + 1}",
            media_command(settings, index),
            stage=_BASE,
            probe=partial(media_answers, settings.media_socket(index)),
            # SIGTERM, as the engine's process asks the kernel for by itself
            death_signal=signal.SIGTERM,
        )
        for index in range(settings.media.engines)
    ]
    system += [
        Child("queue-1", role_command("queue", "queue-1"), stage=_BASE),
        Child("web-1", role_command("web", "web-1"), stage=_BASE),
    ]
    system += [
        Child(f"sip-{number}", role_command("sip", f"sip-{number}"), stage=_SIP, standby=True)
        for number in range(1, settings.sip.workers + 1)
    ]
    if settings.embedded_valkey:
        system.insert(0, valkey_child(settings))
    return system


def media_command(settings: Settings, index: int, socket: Path | None = None) -> tuple[str, ...]:
    """Return the command line of media engine `index`, counted from 0.

    `socket` takes the place of its control socket, for a trial beside a running one.
    """
    return (sys.executable, "-m", "sip.media.child", *_media_arguments(settings, index, socket))


def _media_arguments(settings: Settings, index: int, socket: Path | None = None) -> tuple[str, ...]:
    first, last = settings.media.port_range(index)
    options = {
        "socket": socket or settings.media_socket(index),
        "address": settings.media.address,
        "port-min": first,
        "port-max": last,
        "name": f"media-{index + 1}",
        "ttl": settings.media.timeout_seconds,
    }
    return tuple(part for key, value in options.items() for part in (f"--{key}", str(value)))


async def media_answers(socket: Path) -> bool:
    """Return whether a media engine accepts connections at its second socket, the last it opens."""
    from sip.media.child import SIDE_SUFFIX

    try:
        _, writer = await asyncio.open_unix_connection(f"{socket}{SIDE_SUFFIX}")
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def valkey_child(settings: Settings) -> Child:
    """Return the embedded Valkey as a process to keep running."""
    from comms.supervisor import Child

    return Child(
        "valkey",
        valkey.command(settings),
        stage=_STORE,
        probe=partial(valkey.answers, settings),
        # a killed server leaves its socket file, which a new one replaces, and a probe must not
        # mistake it for a server that is slow to answer
        prepare=partial(valkey.socket_path(settings).unlink, missing_ok=True),
        # SIGTERM: it flushes its file before it ends
        death_signal=signal.SIGTERM,
        structured=False,
        explain=partial(valkey.explain, settings),
    )


def simulation_child(
    settings: Settings, *, callers: int, trunk_port: int, visitors: Sequence[str]
) -> Child:
    """Return the demonstration's simulated people as a process to keep running.

    `visitors` are the SIP users whose phones are not simulated.
    """
    from comms.supervisor import Child

    options = {"callers": callers, "trunk-port": trunk_port, "visitors": ",".join(visitors)}
    arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
    return Child(
        "simulation",
        (*_simphone(settings), *arguments),
        stage=_PEOPLE,
        # nothing waits for it: its phones register when they are ready
        probe=_at_once,
    )


def story_command(settings: Settings) -> tuple[str, ...]:
    """Return the command line that plays the demonstration's story once."""
    return (*_simphone(settings), "--story")


def _simphone(settings: Settings) -> tuple[str, ...]:
    server = f"{settings.sip.host}:{settings.sip.udp_port}"
    options = {"server": server, "api": settings.public_url, "domain": settings.general.domain}
    arguments = [part for key, value in options.items() for part in (f"--{key}", value)]
    return (sys.executable, "-m", "sip.simphone", *arguments)


async def _at_once() -> bool:
    return True


class PromptsError(OperatorError):
    """The announcements cannot be made."""


def make_prompts(
    settings: Settings, progress: Callable[[int, int], None] | None = None
) -> tuple[str, ...]:
    """Speak the announcements that are missing or out of date, and make the music.

    `progress` gets how many are done of how many. Returns what is wrong with an operator's own
    recordings, one line each; the spoken text stays in use for these.

    Raises:
        PromptsError: nothing here can speak, or the folder cannot be written.
    """
    from sip.media.prompts import PromptError, PromptStore

    store = PromptStore(settings.prompts_dir)
    try:
        store.ensure(progress)
    except PromptError as error:
        raise PromptsError(str(error)) from None
    return store.problems


def missing_prompts(settings: Settings) -> list[str]:
    """Return the announcements that have not been made, as `language/name`."""
    from sip.media.prompts import PromptStore

    return PromptStore(settings.prompts_dir).missing()


def explain_work(events: Sequence[Event], work: str, language: Literal["de", "en"]) -> list[str]:
    """Return why work was offered to whom, a sentence or two a line. See `acd.explain`."""
    from acd.explain import explain

    return explain(events, work, language)


def run_probe(
    host: str, port: int, user: str, password: str, to: str | None, transport: str, **options: Any
) -> int:
    """Place a call and print what was found; return the exit code. See `sip.probe.run`."""
    from sip.probe import run

    return run(host, port, user, password, to, transport, **options)  # type: ignore[arg-type]


def load_role(settings: Settings, role: str, name: str) -> Role:
    """Import a role and return what runs it.

    Raises:
        SettingsError: there is no such role.
    """
    match role:
        case "web":
            from comms.web import run_web

            return partial(run_web, settings)
        case "sip":
            from sip.worker import run as run_sip

            return partial(run_sip, settings, name)
        case "queue":
            from acd.role import run as run_queue

            return partial(run_queue, settings, name)
        case _:
            raise SettingsError(f"role {role} is unknown; allowed: {', '.join(ROLES)}")


def run_role(settings: Settings, role: str, name: str) -> int:
    """Run one role in this process until SIGTERM or SIGINT; return the exit code."""
    from comms import logs

    logs.configure(settings.logging, name)
    try:
        prepare_folders(settings)
        if role == "media":
            return _run_media(settings, name)
        main = load_role(settings, role, name)
    except OperatorError as error:
        return _refuse(name, str(error), error.exit_code)
    wait_for_turn()
    # what is imported lives as long as the process: the collector need not look at it again
    gc.collect()
    gc.freeze()
    # a role makes hardly any cycles; the usual thresholds would look at every call in progress
    # several times a second
    gc.set_threshold(50_000, 20, 50)
    try:
        _run(main)
    except OperatorError as error:
        return _refuse(name, str(error), error.exit_code)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL, errno.ENOSPC):
            raise
        return _refuse(name, f"{error.strerror or error}", 1)
    return 0


def _run_media(settings: Settings, name: str) -> int:
    """Run a media engine, which has its own loop in native threads."""
    from sip.media.child import main as run_media

    number = name.rpartition("-")[2]
    if not number.isdecimal() or not 1 <= int(number) <= settings.media.engines:
        raise SettingsError(
            f"--name is {name}; allowed: media-1 to media-{settings.media.engines} (media.engines)"
        )
    run_media(_media_arguments(settings, int(number) - 1))
    return 0


def _run(main: Role) -> None:
    """Run `main` on uvloop; the first SIGTERM or SIGINT cancels it."""
    import uvloop

    async def until_signal() -> None:
        task = asyncio.ensure_future(main())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            return

    uvloop.run(until_signal())


def _refuse(name: str, reason: str, code: int) -> int:
    print(f"{name}: {reason}", file=sys.stderr)
    return code


def main(arguments: list[str]) -> int:
    """Run `python -m comms.compose ROLE NAME`, as the supervisor does."""
    role, name = arguments
    try:
        settings = load_settings()
    except OperatorError as error:
        return _refuse(name, str(error), error.exit_code)
    return run_role(settings, role, name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
