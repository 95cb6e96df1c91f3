"""Memory a held call and a binding, and whether calls leave any behind.

    python bench/memory.py [--calls 2000]

Memory is the proportional set size of the whole process tree (supervisor, Valkey, SIP, queue,
web, media). `--calls 100000` is the long run, about 20 minutes.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import calls  # noqa: E402
import rig  # noqa: E402

from bench.results import Figure, report  # noqa: E402

_HELD = 400
_BINDINGS = 10_000
_RATE = 80.0


def held_call() -> Figure:
    """Hold calls and divide what they added by their number."""
    with rig.System() as system, rig.phones(calls.SCENARIOS / "callee.xml"):
        calls.caller(rig.PLAIN_NUMBER, 50, 6, rig.SIP_PORT, hold_ms=0)
        time.sleep(3)
        before = rig.resident_bytes(system.pid)
        seconds = _HELD / 50
        holder = threading.Thread(
            target=calls.caller,
            args=(rig.PLAIN_NUMBER, 50, seconds, rig.SIP_PORT),
            kwargs={"hold_ms": 25_000},
        )
        holder.start()
        time.sleep(seconds + 6)
        added = rig.resident_bytes(system.pid) - before
        holder.join()
    return Figure("memory a held call", added / _HELD / 1024, "KiB", reach=150)


def binding() -> Figure:
    """Register accounts and divide what they added by their number."""
    with rig.System(accounts=_BINDINGS) as system:
        before = rig.resident_bytes(system.pid)
        load = calls.registrations(rig.SIP_PORT, 500, _BINDINGS)
        # transactions are kept for 32 seconds (RFC 3261 section 17.2.2)
        time.sleep(35)
        added = rig.resident_bytes(system.pid) - before
    note = "" if load.done == _BINDINGS else f"{load.failed} of {_BINDINGS} failed"
    return Figure("memory a binding", added / _BINDINGS / 1024, "KiB", reach=4, note=note)


def growth(count: int) -> Figure:
    """Make calls, then as many again, and see what the second half left behind."""
    with rig.System() as system, rig.phones(calls.SCENARIOS / "callee.xml"):
        sizes = []
        for _ in range(2):
            calls.caller(rig.PLAIN_NUMBER, _RATE, count / 2 / _RATE, rig.SIP_PORT, hold_ms=0)
            time.sleep(35)
            sizes.append(rig.resident_bytes(system.pid))
    left = (sizes[1] - sizes[0]) / (count / 2)
    return Figure(
        f"memory left by a call, second half of {count:,}", left / 1024, "KiB", reach=0.5,
        note=f"{sizes[1] / 1024**2:.0f} MiB at the end",
    )  # fmt: skip


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=2000)
    options = parser.parse_args()
    report(held_call())
    report(binding())
    report(growth(options.calls))


if __name__ == "__main__":
    main()
