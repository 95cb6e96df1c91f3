"""`comms probe` judges a running system: the echo, a second account, each transport."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console
from support.system import RunningSystem

from comms.seed import DOMAIN, ECHO_NUMBER, sip_password
from sip.probe import ProbeOptions, ProbeReport, run_probe
from sip.probe.checks import Transport
from sip.probe.report import as_json, print_table

pytestmark = pytest.mark.e2e


def options(system: RunningSystem, transport: Transport = "udp", **more: str) -> ProbeOptions:
    return ProbeOptions(
        host=system.host,
        port=system.tls_port if transport == "tls" else system.sip_port,
        user="247",
        password=sip_password("247"),
        domain=DOMAIN,
        transport=transport,
        talk=1.0,
        **more,  # type: ignore[arg-type]
    )


def told(report: ProbeReport) -> str:
    out = io.StringIO()
    print_table(report, Console(file=out, width=140))
    return out.getvalue()


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_echo_passes_every_step(system: RunningSystem, transport: Transport) -> None:
    report = await run_probe(options(system, transport, to=ECHO_NUMBER))
    assert report.ok, told(report)
    assert report.exit_code == 0
    steps = {check.name: check for check in report.checks}
    assert {"registration", "set-up", "echo comes back", "keys", "loss", "hang-up"} <= set(steps)
    assert steps["loss"].value == 0.0


async def test_second_account_takes_the_call(system: RunningSystem) -> None:
    report = await run_probe(
        options(system, second_user="248", second_password=sip_password("248"))
    )
    assert report.ok, told(report)
    steps = {check.name: check.ok for check in report.checks}
    assert steps["caller hears"] is True
    assert steps["callee hears"] is True
    assert steps["keys"] is True


async def test_wrong_password_and_unknown_number_fail_with_their_status(
    system: RunningSystem,
) -> None:
    good = options(system, to="998")
    wrong = ProbeOptions(
        host=good.host, port=good.port, user="247", password="wrong", domain=DOMAIN, to="199"
    )
    report = await run_probe(wrong)
    assert report.exit_code == 1
    assert report.checks[-1].name == "registration"
    assert report.checks[-1].detail[:3] in ("401", "403")
    report = await run_probe(good)
    written = json.loads(as_json(report))
    assert written["exit_code"] == 1
    assert written["checks"][-1]["name"] == "set-up"
    assert written["checks"][-1]["detail"].startswith("404")
