"""A real phone for tests and monitoring, and the probe that places a call with it.

`run` is what the command line calls; `sip.probe.checks.run_probe` is the same for programs.
"""

from __future__ import annotations

import asyncio

from rich.console import Console

from sip.probe.checks import Check, ProbeOptions, ProbeReport, Transport, run_probe
from sip.probe.report import as_json, print_table

__all__ = ["Check", "ProbeOptions", "ProbeReport", "run", "run_probe"]


def run(
    host: str,
    port: int,
    user: str,
    password: str,
    to: str | None,
    transport: Transport = "udp",
    *,
    second_user: str | None = None,
    second_password: str | None = None,
    domain: str = "",
    bind: str = "",
    max_setup: float = 3.0,
    max_loss: float = 1.0,
    json: bool = False,
    console: Console | None = None,
) -> int:
    """Probe a system, print what was found and return the exit code.

    Args:
        to: the number to call, an echo extension unless `second_user` takes the call.
        json: print one JSON object instead of the table.

    Returns:
        0 if every step passed, 1 if one failed, 2 if the probe could not run.
    """
    options = ProbeOptions(
        host=host,
        port=port,
        user=user,
        password=password,
        to=to,
        transport=transport,
        domain=domain,
        second_user=second_user,
        second_password=second_password,
        bind=bind,
        max_setup=max_setup,
        max_loss=max_loss,
    )
    report = asyncio.run(run_probe(options))
    console = console or Console()
    if json:
        console.out(as_json(report), highlight=False)
    else:
        print_table(report, console)
    return report.exit_code
