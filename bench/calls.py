"""CPU a call and a registration, with Asterisk and Kamailio beside in the same run.

    python bench/calls.py [--only plain,queue-100,queue-1000,register,memory] [--seconds 10]

The peers run where `PEERS_DIR` holds them (../shared/peers/setup_asterisk.sh); otherwise their
columns stay empty. Ratios of one run hold; absolute figures drift with the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import results
import rig

SCENARIOS = Path(__file__).parent / "scenarios"
HOLD_MS = 1000
PEERS = Path(os.environ.get("PEERS_DIR", ".peers")).absolute()
SHARED = Path(__file__).parents[2] / "shared" / "peers"


#: what is measured in words, and the milliseconds of CPU that it shall reach and aims at
GOALS: dict[str, tuple[str, float, float | None]] = {
    "queue-100": ("queue call, 100 agents, 40 calls/s", 2.0, 1.0),
    "queue-1000": ("queue call, 1,000 agents, 40 calls/s", 2.2, 1.0),
    "plain": ("plain call, 100 calls/s, media anchored, records written", 1.5, 0.8),
    "register": ("REGISTER with digest, 10,000 accounts, 1,000/s", 0.2, 0.13),
}


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    work: str
    system: str
    rate: float
    done: int
    failed: int
    #: milliseconds of CPU a unit of work
    cpu_ms: float
    parts: dict[str, float]


def measure(pid: int, work: str, system: str, rate: float, run: Any) -> Figure:
    """Run a load and divide the CPU that the process tree used by the work done."""
    before, parts_before = rig.cpu_seconds(pid), rig.cpu_by_name(pid)
    load: rig.Load = run()
    used = rig.cpu_seconds(pid) - before
    after = rig.cpu_by_name(pid)
    done = max(load.done, 1)
    parts = {
        name: round((value - parts_before.get(name, 0.0)) * 1000 / done, 3)
        for name, value in after.items()
    }
    return Figure(work, system, rate, load.done, load.failed, used * 1000 / done, parts)


def caller(
    service: str,
    rate: float,
    seconds: float,
    target: int,
    *,
    hold_ms: int = HOLD_MS,
    port: int = rig.TRUNK_PORT,
) -> rig.Load:
    """Call `service` at a rate for some seconds; each call is held and ended by the caller."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = Path(folder) / "numbers.csv"
        numbers.write_text(f"SEQUENTIAL\n{service};caller;\n")
        return rig.sipp(
            SCENARIOS / "caller.xml", service=service, rate=rate, count=int(rate * seconds),
            hold_ms=hold_ms, port=port, target=target, extra=("-inf", str(numbers)),
        )  # fmt: skip


def _calls(service: str, rate: float, seconds: float, target: int) -> Any:
    return lambda: caller(service, rate, seconds, target)


def ours(selected: set[str], seconds: float) -> Iterator[Figure]:
    """Measure our own system."""
    for agents in (100, 1000):
        work = f"queue-{agents}"
        if work in selected:
            with rig.System(agents=agents) as system, rig.phones(SCENARIOS / "callee.xml"):
                run = _calls(rig.QUEUE_NUMBER, 40, seconds, rig.SIP_PORT)
                yield measure(system.pid, work, "comms", 40, run)
    if "plain" in selected:
        with rig.System() as system, rig.phones(SCENARIOS / "callee.xml"):
            run = _calls(rig.PLAIN_NUMBER, 100, seconds, rig.SIP_PORT)
            yield measure(system.pid, "plain", "comms", 100, run)
    if "register" in selected:
        with rig.System(accounts=10_000) as system:
            yield measure(system.pid, "register", "comms", 1000, _registrations(rig.SIP_PORT))


def registrations(
    target: int, rate: float = 1000, count: int = 10_000, password: str = "pw{:05d}"
) -> rig.Load:
    """Register accounts with digest, each challenged once; `password` may hold their number."""
    with tempfile.TemporaryDirectory() as folder:
        accounts = Path(folder) / "accounts.csv"
        lines = [
            f"u{i:05d};[authentication username=u{i:05d} password={password.format(i)}];"
            for i in range(1, 10_001)
        ]
        accounts.write_text("SEQUENTIAL\n" + "\n".join(lines) + "\n")
        return rig.sipp(
            SCENARIOS / "register.xml", service=rig.DOMAIN, rate=rate, count=count,
            hold_ms=0, target=target,
            extra=("-inf", str(accounts), "-key", "domain", rig.DOMAIN, "-key",
                   "contact_port", "15070"),
        )  # fmt: skip


def _registrations(target: int) -> Any:
    return lambda: registrations(target)


def asterisk_installed() -> bool:
    """Return whether the peers' folder holds an Asterisk."""
    return (PEERS / "asterisk/usr/sbin/asterisk").exists()


@contextlib.contextmanager
def asterisk(agents: int) -> Iterator[int]:
    """Run Asterisk on the server's core with as many agents; yields its process id."""
    environment = {**os.environ, "PEERS_DIR": str(PEERS)}
    subprocess.run(
        [sys.executable, str(SHARED / "asterisk_config.py"), str(agents), "leastrecent", "10000"],
        env=environment, check=True,
    )  # fmt: skip
    process = subprocess.Popen(
        ["taskset", "-c", rig.SERVER_CORE, "chroot", str(PEERS / "asterisk"), "asterisk", "-f",
         "-C", "/etc/ast_probe/asterisk.conf"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(12 if agents > 500 else 8)
        yield process.pid
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()


def peers(selected: set[str], seconds: float) -> Iterator[Figure]:
    """Measure Asterisk with the same load, where it is installed."""
    if not asterisk_installed():
        return
    for agents in (100, 1000):
        work = f"queue-{agents}"
        if work in selected:
            with asterisk(agents) as pid, rig.phones(SCENARIOS / "callee.xml"):
                run = _calls("701", 40, seconds, 15060)
                yield measure(pid, work, "asterisk", 40, run)
    if selected & {"plain", "register"}:
        with asterisk(1) as pid, rig.phones(SCENARIOS / "callee.xml"):
            if "plain" in selected:
                run = _calls("800", 100, seconds, 15060)
                yield measure(pid, "plain", "asterisk", 100, run)
            if "register" in selected:
                yield measure(pid, "register", "asterisk", 1000, _registrations(15060))
    if "register" in selected and Path("/usr/sbin/kamailio").exists():
        process = subprocess.Popen(
            ["taskset", "-c", rig.SERVER_CORE, "kamailio", "-f", str(SHARED / "kamailio.cfg"),
             "-DD", "-E"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            time.sleep(3)
            # its configuration gives all accounts one password
            run = functools.partial(registrations, rig.SIP_PORT, password="pw")
            yield measure(process.pid, "register", "kamailio", 1000, run)
        finally:
            process.terminate()
            process.wait(10)


def main() -> None:
    """Measure and print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="plain,queue-100,queue-1000,register")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    selected = set(options.only.split(","))
    own: list[Figure] = []
    others: dict[str, dict[str, float]] = {}
    for figure in ours(selected, options.seconds):
        print(json.dumps(asdict(figure)), flush=True)
        own.append(figure)
    if not options.no_peers:
        for figure in peers(selected, options.seconds):
            print(json.dumps(asdict(figure)), flush=True)
            others.setdefault(figure.work, {})[figure.system.capitalize()] = figure.cpu_ms
    for figure in own:
        title, reach, aim = GOALS[figure.work]
        note = f"{figure.failed} of {figure.done + figure.failed} failed" if figure.failed else ""
        beside = others.get(figure.work, {})
        results.report(results.Figure(title, figure.cpu_ms, "ms CPU", reach, aim, beside, note))


if __name__ == "__main__":
    main()
