"""How a benchmark says what it measured, so that `bench/run.py` can make a table of it.

A benchmark calls `report` for each figure. Run alone it prints a line; under the runner the
figure also goes into the file that `BENCH_RESULTS` names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

VARIABLE = "BENCH_RESULTS"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure. Lower is better for all of them."""

    work: str
    value: float
    unit: str
    #: what it shall reach at least, and what it aims at
    reach: float | None = None
    aim: float | None = None
    #: what others needed in the same run, e.g. {"Asterisk": 4.1}
    peers: dict[str, float] = field(default_factory=dict)
    #: anything a reader needs to judge it, e.g. "p99 1.9 ms, no call failed"
    note: str = ""


def report(figure: Figure) -> None:
    """Print a figure and hand it to the runner, if there is one."""
    goals = [
        f"{name} {value:g}"
        for name, value in (("reach", figure.reach), ("aim", figure.aim))
        if value is not None
    ]
    told = [*goals, *(f"{name} {value:g}" for name, value in figure.peers.items()), figure.note]
    tail = f" ({', '.join(filter(None, told))})" if any(told) else ""
    print(f"{figure.work}: {figure.value:.3g} {figure.unit}{tail}", flush=True)
    if path := os.environ.get(VARIABLE):
        with Path(path).open("a") as file:
            file.write(json.dumps(asdict(figure)) + "\n")


def read(path: Path) -> Iterable[Figure]:
    """Yield the figures that benchmarks handed over."""
    if path.exists():
        for line in path.read_text().splitlines():
            yield Figure(**json.loads(line))
