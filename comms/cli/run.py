"""`comms serve` and `comms role`: run a whole system, or one role of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from comms.cli.context import settings_of

if TYPE_CHECKING:
    from comms.settings import Settings
    from comms.supervisor import Child, Supervisor


def serve(ctx: typer.Context) -> None:
    """Run a whole system: all roles and, unless redis.url is set, an embedded Valkey."""
    from comms.cli.prompts import speak
    from comms.compose import children
    from comms.folders import prepare_folders
    from comms.ports import require_listeners

    settings = settings_of(ctx)
    prepare_folders(settings)
    # before the minute that the announcements may take
    require_listeners(settings)
    speak(settings)
    supervise(settings, children(settings))


def role(
    ctx: typer.Context,
    role: Annotated[str, typer.Argument(help="web, sip, queue or media.")],
    name: Annotated[
        str | None, typer.Option(help="Name of this instance, e.g. sip-2. Default: ROLE-1.")
    ] = None,
) -> None:
    """Run one role in the foreground, as containers do. It needs redis.url."""
    from comms.compose import ROLES, run_role
    from comms.database import prepare_database
    from comms.folders import prepare_folders
    from comms.settings import SettingsError

    settings = settings_of(ctx)
    if role not in ROLES:
        raise SettingsError(f"role {role} is unknown; allowed: {', '.join(ROLES)}")
    if settings.embedded_valkey:
        raise SettingsError(
            "redis.url (COMMS_REDIS__URL) is empty; allowed for a single role: the address of the "
            "Redis or Valkey that all roles share, e.g. redis://valkey:6379"
        )
    prepare_folders(settings)
    asyncio.run(prepare_database(settings))
    raise typer.Exit(run_role(settings, role, name or f"{role}-1"))


def supervise(
    settings: Settings,
    system: Sequence[Child],
    *,
    when_ready: Callable[[Supervisor], None] | None = None,
) -> None:
    """Run children until a signal; `when_ready` is called once all of them serve.

    Raises:
        OperatorError: the system cannot start or go on.
    """
    from comms import logs
    from comms.database import prepare_database
    from comms.folders import prepare_folders
    from comms.ports import require_listeners
    from comms.supervisor import Supervisor

    logs.configure(settings.logging, "supervisor")
    prepare_folders(settings)
    require_listeners(settings)

    async def run() -> None:
        await prepare_database(settings)
        supervisor = Supervisor(
            system, run_dir=settings.run_dir, environment=logs.child_environment(settings)
        )
        running = asyncio.create_task(supervisor.run())
        ready = asyncio.create_task(supervisor.ready.wait())
        await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
        if ready.done() and when_ready is not None:
            when_ready(supervisor)
        ready.cancel()
        await running

    asyncio.run(run())
