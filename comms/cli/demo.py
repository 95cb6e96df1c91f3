"""`comms demo`: Musterstadt, with simulated citizens who call and agents who answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from comms.cli.context import note
from comms.errors import OperatorError

if TYPE_CHECKING:
    from comms.settings import Settings
    from comms.supervisor import Child, Supervisor

#: SIP user that the simulation leaves to whoever looks at the demonstration
VISITOR = "201"
DEFAULT_CALLERS = 6
DEFAULT_TRUNK_PORT = 5070
#: `--port-base N` takes the ports from N to N + 1998
_WEB, _SIP, _TLS, _TRUNK, _MEDIA_FIRST, _MEDIA_LAST = 0, 60, 61, 70, 100, 1998
_HIGHEST_BASE = 65535 - _MEDIA_LAST


@dataclass(frozen=True, slots=True)
class Plan:
    """What one demonstration does."""

    settings: Settings
    trunk_port: int
    #: simulated citizens on the line on average
    callers: int
    #: whether simulated agents register and answer
    phones: bool


class StoryError(OperatorError):
    """The story of `--check` did not go well."""


def demo(
    ctx: typer.Context,
    callers: Annotated[
        int | None,
        typer.Option(
            min=0, max=200, help=f"Citizens on the line on average; {DEFAULT_CALLERS} if not given."
        ),
    ] = None,
    no_phones: Annotated[
        bool,
        typer.Option(
            "--no-phones", help="Simulate no agents, and no citizens unless --callers says so."
        ),
    ] = False,
    data: Annotated[Path | None, typer.Option(help="Data folder; demo-data if not given.")] = None,
    port_base: Annotated[
        int | None,
        typer.Option(
            min=1024,
            max=_HIGHEST_BASE,
            help=f"Use ports N to N + {_MEDIA_LAST}, to run beside another demonstration.",
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Play the story once, tell what failed, and end."),
    ] = False,
) -> None:
    """Serve Musterstadt, the demonstration city, and let its people live."""
    with contextlib.ExitStack() as stack:
        if check and data is None:
            temporary = tempfile.TemporaryDirectory(prefix="comms-check-")
            data = Path(stack.enter_context(temporary))
        phones = not (no_phones or check)
        plan = Plan(
            settings=_settings(ctx.obj, data, port_base),
            trunk_port=DEFAULT_TRUNK_PORT if port_base is None else port_base + _TRUNK,
            callers=callers if callers is not None else DEFAULT_CALLERS if phones else 0,
            phones=phones,
        )
        _run(plan, check=check)


def _settings(config: Path | None, data: Path | None, port_base: int | None) -> Settings:
    """Return the settings, with what the command line says laid over them."""
    from comms.settings import load_settings

    suffix = "" if port_base is None else f"-{port_base}"
    environ = {"COMMS_LOGGING__LEVEL": "warning", **os.environ}
    environ["COMMS_GENERAL__DATA_DIR"] = str(data or f"demo-data{suffix}")
    if port_base is not None:
        shifted = {
            "WEB__PORT": port_base + _WEB,
            "SIP__UDP_PORT": port_base + _SIP,
            "SIP__TCP_PORT": port_base + _SIP,
            "SIP__TLS_PORT": port_base + _TLS,
            "MEDIA__PORT_MIN": port_base + _MEDIA_FIRST,
            "MEDIA__PORT_MAX": port_base + _MEDIA_LAST,
        }
        environ |= {f"COMMS_{key}": str(port) for key, port in shifted.items()}
    return load_settings(config, environ)


def _run(plan: Plan, *, check: bool) -> None:
    from comms.cli.prompts import speak
    from comms.cli.run import supervise
    from comms.compose import children
    from comms.folders import prepare_folders
    from comms.ports import require_listeners

    settings = plan.settings
    prepare_folders(settings)
    # before the minute that the prompts may take
    require_listeners(settings)
    speak(settings)
    note("Starting Musterstadt ...")
    asyncio.run(_seed(plan))
    system = children(settings)
    if check:
        story = _Story(settings)
        supervise(settings, system, when_ready=story.start)
        story.require_success()
        typer.echo("The story went well.")
        return
    if plan.phones or plan.callers:
        system.append(_simulation(plan))
    supervise(settings, system, when_ready=lambda _: typer.echo(banner(plan)))
    typer.echo("Musterstadt is closed.")


async def _seed(plan: Plan) -> None:
    from comms.database import prepare_database
    from comms.seed import seed_musterstadt
    from comms.store.engine import open_engine

    settings = plan.settings
    await prepare_database(settings)
    engine = open_engine(settings.sql_url, pool_size=settings.sql.pool_size)
    try:
        await seed_musterstadt(engine, domain=settings.general.domain, trunk_port=plan.trunk_port)
    finally:
        await engine.dispose()


def _simulation(plan: Plan) -> Child:
    from comms.compose import simulation_child
    from comms.seed import PEOPLE

    visitors = (
        [VISITOR]
        if plan.phones
        else [person.extension for person in PEOPLE if "agent" in person.roles and person.extension]
    )
    return simulation_child(
        plan.settings, callers=plan.callers, trunk_port=plan.trunk_port, visitors=visitors
    )


class _Story:
    """Plays the story once the system is ready, and stops the system when it is told."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self._code: int | None = None
        self._failures = ""

    def start(self, supervisor: Supervisor) -> None:
        """Begin; `supervisor` is stopped at the end."""
        self._task = asyncio.create_task(self._play(supervisor))

    async def _play(self, supervisor: Supervisor) -> None:
        from comms.compose import story_command

        process = await asyncio.create_subprocess_exec(
            *story_command(self._settings), stderr=asyncio.subprocess.PIPE
        )
        _, failures = await process.communicate()
        self._failures = "; ".join(failures.decode(errors="replace").strip().splitlines())
        self._code = process.returncode
        supervisor.stop()

    def require_success(self) -> None:
        """Raise `StoryError` unless the story went well."""
        if self._code is None:
            raise StoryError("the story was interrupted")
        if self._code:
            raise StoryError(self._failures or "the story failed and did not say why")


def banner(plan: Plan) -> str:
    """Return what a visitor needs to know."""
    from comms.seed import SUPERVISOR, login_password, sip_password

    settings = plan.settings
    sip = settings.sip
    lines = [
        "",
        "  Musterstadt is open.",
        "",
        f"  Console       {settings.public_url}",
        f"                anna.schmidt / {login_password('201')}    agent of the citizens' line",
        f"                {SUPERVISOR} / {login_password('221')}      supervisor of all queues",
        "",
        f"  Your phone    SIP server {sip.host}, UDP and TCP port {sip.udp_port}",
        f"                domain {settings.general.domain}, user {VISITOR}, "
        f"password {sip_password(VISITOR)}",
        "",
        "  Dial          150 citizens' line    160 switchboard    170 vehicles    199 echo",
        "                202 a colleague       0 and a number goes out to the trunk",
        f"  Call in       sip:+492214710150@{sip.host}:{sip.udp_port} from this machine, "
        "without registration",
        "",
    ]
    if plan.phones:
        lines += [
            f"  Agents' phones are simulated, all but {VISITOR}: it is yours. Register it, log in",
            "  as anna.schmidt, set yourself available, and citizens' calls will ring.",
        ]
    else:
        lines.append("  No agents' phones are simulated: every one of them is yours.")
    lines += [
        f"  About {plan.callers} simulated citizens are on the line."
        if plan.callers
        else "  No citizens are simulated.",
        "",
        "  Ctrl-C closes the city.",
        "",
    ]
    return "\n".join(lines)
