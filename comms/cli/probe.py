"""`comms probe`: place a real call and judge it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from comms.cli.context import settings_of


class Transport(StrEnum):
    """How the probe's phone speaks SIP."""

    udp = "udp"
    tcp = "tcp"
    tls = "tls"


def probe(
    ctx: typer.Context,
    user: Annotated[str, typer.Option(help="SIP user the probe registers as.")] = "241",
    password: Annotated[
        str, typer.Option(help="Its SIP password.", envvar="COMMS_PROBE_PASSWORD")
    ] = "demo-sip-241",
    to: Annotated[str, typer.Option(help="Number to call; an echo judges both ways.")] = "199",
    host: Annotated[str | None, typer.Option(help="Where to; default: this system.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; default: this system's.")] = None,
    transport: Annotated[Transport, typer.Option(help="udp, tcp or tls.")] = Transport.udp,
    second_user: Annotated[
        str | None, typer.Option(help="A second account that takes the call instead of an echo.")
    ] = None,
    second_password: Annotated[
        str | None, typer.Option(help="Its password.", envvar="COMMS_PROBE_SECOND_PASSWORD")
    ] = None,
    max_setup: Annotated[float, typer.Option(help="Slowest set-up in seconds.")] = 3.0,
    max_loss: Annotated[float, typer.Option(help="Highest loss in percent.")] = 1.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object for monitoring.")
    ] = False,
) -> None:
    """Place a real call: registration, set-up time, audio both ways, keys, loss, hang-up.

    Without options it is a phone of Musterstadt that calls the echo. The exit code is 0 if
    every step passed, 1 if one failed and 2 if the probe could not run.
    """
    from comms.compose import run_probe

    settings = settings_of(ctx)
    sip = settings.sip
    ports = {Transport.udp: sip.udp_port, Transport.tcp: sip.tcp_port, Transport.tls: sip.tls_port}
    raise typer.Exit(
        run_probe(
            host or sip.host,
            port or ports[transport],
            user,
            password,
            None if second_user else to,
            transport.value,
            second_user=second_user,
            second_password=second_password,
            domain=settings.general.domain,
            max_setup=max_setup,
            max_loss=max_loss,
            json=as_json,
        )
    )
