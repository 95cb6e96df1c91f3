"""The probe tells clearly why it cannot run and what failed."""

from __future__ import annotations

import io
import json
import socket

import pytest
from rich.console import Console

import sip.probe
from sip.probe import Check, ProbeOptions, ProbeReport, run_probe
from sip.probe.report import as_json, print_table

pytestmark = pytest.mark.e2e


def shown(report: ProbeReport) -> str:
    out = io.StringIO()
    print_table(report, Console(file=out, width=120))
    return out.getvalue()


async def test_missing_extra_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sip.probe.checks.phone_available", lambda: False)
    report = await run_probe(ProbeOptions("127.0.0.1", "201", "x", to="150"))
    assert report.exit_code == 2
    assert "comms[probe]" in shown(report)


async def test_nothing_to_call_is_refused() -> None:
    report = await run_probe(ProbeOptions("127.0.0.1", "201", "x"))
    assert report.exit_code == 2
    assert "number to call" in report.trouble


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_closed_port_is_named(transport: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        options = ProbeOptions("127.0.0.1", "201", "x", port=port, to="1", transport=transport)  # type: ignore[arg-type]
        report = await run_probe(options)
    assert report.exit_code == 2
    assert f"127.0.0.1 port {port} over {transport}" in report.trouble


async def test_host_without_address_is_named() -> None:
    report = await run_probe(ProbeOptions("no-such-host.invalid", "201", "x", to="1"))
    assert report.exit_code == 2
    assert report.trouble.startswith("no-such-host.invalid has no IPv4 address")


async def test_silent_server_fails_the_registration() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        options = ProbeOptions("127.0.0.1", "201", "x", port=port, to="1", patience=0.5)
        report = await run_probe(options)
    assert report.exit_code == 1
    assert [(check.name, check.ok) for check in report.checks] == [("registration", False)]
    assert "no answer from" in report.checks[0].detail


def test_report_is_shown_and_written() -> None:
    report = ProbeReport("127.0.0.1:5060/udp", 0.0)
    report.add("set-up", True, 0.0423, "s")
    report.add("keys", None, why="cannot be judged")
    assert report.exit_code == 0
    assert "42 ms" in shown(report)
    report.add("loss", False, 3.2, "%", "limit 1 %")
    assert "Failed: loss." in shown(report)
    written = json.loads(as_json(report))
    assert written["exit_code"] == 1
    assert written["started"] == "1970-01-01T00:00:00+00:00"
    assert written["checks"][0] == {
        "name": "set-up",
        "ok": True,
        "value": 0.042,
        "unit": "s",
        "detail": "",
    }
    assert report.checks[1] == Check("keys", None, None, "", "cannot be judged")


def test_command_prints_json_and_returns_the_code() -> None:
    out = io.StringIO()
    code = sip.probe.run(
        "127.0.0.1", 9, "201", "x", None, json=True, console=Console(file=out, width=40)
    )
    assert code == 2
    assert json.loads(out.getvalue())["ok"] is False
