"""Runs the benchmarks and writes `docs/benchmarks.md`.

    python bench/run.py [NAME ...] [--seconds 900]

Without names it runs every benchmark in this folder, one after the other. Each is a program that
calls `bench.results.report`; what it prints stands below the table.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT)]

from bench.results import VARIABLE, Figure, read  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks.md"
#: what others import, no benchmarks themselves
_HELPERS = {"run", "results", "rig"}


@dataclass(frozen=True, slots=True)
class Run:
    """One benchmark's outcome."""

    name: str
    figures: tuple[Figure, ...]
    output: str
    seconds: float
    failed: str = ""


def available() -> list[str]:
    """Return the names of all benchmarks."""
    programs = (path for path in HERE.glob("*.py") if not path.name.startswith("_"))
    return sorted(path.stem for path in programs if path.stem not in _HELPERS)


def run(name: str, limit: float) -> Run:
    """Run one benchmark for at most `limit` seconds."""
    with tempfile.TemporaryDirectory(prefix="comms-bench-") as folder:
        results = Path(folder) / "results"
        environment = {
            **os.environ,
            VARIABLE: str(results),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "queue")]),
        }
        started = time.monotonic()
        failed = ""
        try:
            done = subprocess.run(
                [sys.executable, str(HERE / f"{name}.py")],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=limit,
                check=False,
            )
            output = done.stdout
            if done.returncode:
                failed = f"ended with code {done.returncode}"
        except subprocess.TimeoutExpired as expired:
            output = (expired.stdout or b"").decode(errors="replace")
            failed = f"took longer than {limit:g} s"
        return Run(name, tuple(read(results)), output, time.monotonic() - started, failed)


def page(runs: list[Run], command: str) -> str:
    """Return the document."""
    lines = [
        "# Benchmarks",
        "",
        f"Made by `{command}` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. Lower is better. Absolute",
        "figures drift from machine to machine and run to run; what peers needed beside it in the",
        "same run is what to compare with.",
        "",
        f"Machine: {machine()}.",
        "",
    ]
    figures = [figure for each in runs for figure in each.figures]
    if figures:
        peers = sorted({name for figure in figures for name in figure.peers})
        columns = ["work", "measured", "reach at least", "aim", *peers, ""]
        lines += ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
        lines += [_row(figure, peers) for figure in figures]
        lines.append("")
    for each in runs:
        lines += [f"## {each.name}", ""]
        if each.failed:
            lines += [f"**It failed:** {each.failed}.", ""]
        lines += [f"`python bench/{each.name}.py`, {each.seconds:.0f} s.", ""]
        if each.output.strip():
            lines += ["```", each.output.strip(), "```", ""]
    return "\n".join(lines)


def _row(figure: Figure, peers: list[str]) -> str:
    def shown(value: float | None) -> str:
        return "" if value is None else f"{value:.3g} {figure.unit}"

    measured = shown(figure.value)
    if figure.reach is not None and figure.value > figure.reach:
        measured += " (missed)"
    cells = [
        figure.work,
        measured,
        shown(figure.reach),
        shown(figure.aim),
        *(shown(figure.peers.get(name)) for name in peers),
        figure.note,
    ]
    return "| " + " | ".join(cells) + " |"


def machine() -> str:
    """Return what the figures were measured on."""
    model = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return (
        f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def main() -> int:
    """Run what the command line names; 1 if a benchmark failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(available()))
    parser.add_argument("--seconds", type=float, default=900.0, help="limit for each benchmark")
    given = parser.parse_args()
    names = given.names or available()
    if unknown := sorted(set(names) - set(available())):
        parser.error(f"{unknown[0]} is unknown; allowed: {', '.join(available())}")
    command = " ".join(
        ["make bench", *([f'ARGS="{" ".join(given.names)}"'] if given.names else [])]
    )
    runs: list[Run] = []
    for name in names:
        print(f"{name} ...", flush=True)
        done = run(name, given.seconds)
        print(done.output, end="", flush=True)
        if done.failed:
            print(f"{name} {done.failed}", file=sys.stderr)
        runs.append(done)
        # after each one, so that an interrupted run leaves what it measured
        PAGE.write_text(page(runs, command))
    print(f"{PAGE.relative_to(ROOT)} written")
    return 1 if any(each.failed for each in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
