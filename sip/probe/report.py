"""How a probe's report is shown: a table for people, JSON for monitoring."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sip.probe.checks import Check, ProbeReport

_MARKS = {True: "[green]ok[/]", False: "[bold red]failed[/]", None: "[dim]-[/]"}


def as_json(report: ProbeReport) -> str:
    """Return the report as one JSON object."""
    return json.dumps(
        {
            "target": report.target,
            "started": datetime.fromtimestamp(report.started, UTC).isoformat(),
            "ok": report.ok,
            "exit_code": report.exit_code,
            "trouble": report.trouble or None,
            "checks": [asdict(check) for check in report.checks],
        },
        ensure_ascii=False,
    )


def _value(check: Check) -> str:
    if check.value is None:
        return ""
    if check.unit == "s" and check.value < 1:
        return f"{check.value * 1000:.0f} ms"
    return f"{check.value:.3g} {check.unit}"


def print_table(report: ProbeReport, console: Console) -> None:
    """Print the steps as a table and a closing sentence."""
    if report.trouble:
        trouble = escape(report.trouble)
        console.print(f"[bold red]The probe could not run:[/] {trouble}", highlight=False)
        return
    table = Table(title=f"Probe of {report.target}", title_justify="left")
    table.add_column("step")
    table.add_column("result")
    table.add_column("measured", justify="right")
    table.add_column("detail")
    for check in report.checks:
        table.add_row(check.name, _MARKS[check.ok], _value(check), escape(check.detail))
    console.print(table)
    failed = [check.name for check in report.checks if check.ok is False]
    if failed:
        console.print(f"[bold red]Failed:[/] {', '.join(failed)}.", highlight=False)
    else:
        console.print("[green]Everything that could be judged works.[/]", highlight=False)
