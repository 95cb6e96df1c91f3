"""What is still done when two and four times as much arrives as can be done.

    python bench/overload.py [--only invite,register] [--seconds 5] [--no-peers]

The best rate is searched first: the highest offered rate of which at least 98 % is completed. Then
twice and four times that rate is offered, and after it a moderate one, to see that the system is
itself again. A call that is held all the while must survive. Asterisk is put to the same load
where it is installed.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import calls
import results
import rig

#: calls are ended right after their answer: the work is setting them up and down
_HOLD_MS = 0
_STEPS = (100, 150, 200, 250, 300, 350, 400, 500, 600, 700)
_REGISTER_STEPS = (500, 1000, 1500, 2000, 2500, 3000, 3500, 4000)

Run = Callable[[float, float], rig.Load]


@dataclass(frozen=True)
class Result:
    """What was completed, in units of work a second."""

    work: str
    system: str
    best: float
    at_twice: float
    at_four_times: float
    #: share completed at 60 % of the best rate, five seconds after the overload
    afterwards: float
    held_call_survived: bool | None = None

    @property
    def kept(self) -> tuple[float, float]:
        """Completed work under overload as a share of the best rate."""
        return self.at_twice / self.best, self.at_four_times / self.best


def best_rate(run: Run, steps: tuple[int, ...], seconds: float) -> float:
    """Return the highest rate that is completed to 98 %, in units a second."""
    best = 0.0
    for rate in steps:
        load = run(rate, seconds)
        if load.done < 0.98 * rate * seconds:
            break
        best = float(rate)
        time.sleep(1)
    return best


def overload(work: str, system: str, run: Run, steps: tuple[int, ...], seconds: float) -> Result:
    """Search the best rate and go beyond it."""
    best = best_rate(run, steps, seconds) or float(steps[0])
    twice = run(best * 2, seconds)
    time.sleep(5)
    four = run(best * 4, seconds)
    time.sleep(5)
    after = run(best * 0.6, seconds)
    return Result(
        work, system, best,
        twice.done / seconds, four.done / seconds, after.done / (best * 0.6 * seconds),
    )  # fmt: skip


def invites(service: str, target: int) -> Run:
    """Return a load of calls that are ended right after their answer."""

    def run(rate: float, seconds: float) -> rig.Load:
        return calls.caller(service, rate, seconds, target, hold_ms=_HOLD_MS)

    return run


def registrations(target: int) -> Run:
    """Return a load of registrations with digest."""

    def run(rate: float, seconds: float) -> rig.Load:
        return calls.registrations(target, rate, int(rate * seconds))

    return run


def ours(selected: set[str], seconds: float) -> Iterator[Result]:
    """Overload our own system."""
    if "invite" in selected:
        with rig.System() as _, rig.phones(calls.SCENARIOS / "callee.xml"):
            held: list[rig.Load] = []
            result: list[Result] = []

            def hold() -> None:
                held.append(calls.caller(
                    rig.PLAIN_NUMBER, 1, 1, rig.SIP_PORT, hold_ms=90_000, port=15090
                ))  # fmt: skip

            holder = threading.Thread(target=hold)
            holder.start()
            time.sleep(2)
            run = invites(rig.PLAIN_NUMBER, rig.SIP_PORT)
            result.append(overload("invite", "comms", run, _STEPS, seconds))
            holder.join()
            one = result[0]
            yield Result(**{**asdict(one), "held_call_survived": bool(held and held[0].done == 1)})
    if "register" in selected:
        with rig.System(accounts=10_000):
            run = registrations(rig.SIP_PORT)
            yield overload("register", "comms", run, _REGISTER_STEPS, seconds)


def peers(selected: set[str], seconds: float) -> Iterator[Result]:
    """Overload Asterisk."""
    if not calls.asterisk_installed():
        return
    with calls.asterisk(1), rig.phones(calls.SCENARIOS / "callee.xml"):
        if "invite" in selected:
            run = invites("800", rig.SIP_PORT)
            yield overload("invite", "asterisk", run, _STEPS, seconds)
        if "register" in selected:
            run = registrations(rig.SIP_PORT)
            yield overload("register", "asterisk", run, _REGISTER_STEPS, seconds)


def main() -> None:
    """Measure and print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="invite,register")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args()
    selected = set(options.only.split(","))
    sources = [ours] if options.no_peers else [ours, peers]
    measured: dict[tuple[str, str], Result] = {}
    for source in sources:
        for result in source(selected, options.seconds):
            twice, four = result.kept
            kept = {"kept_at_twice": round(twice, 3), "kept_at_four_times": round(four, 3)}
            print(json.dumps(asdict(result) | kept), flush=True)
            measured[result.work, result.system] = result
    for (work, system), result in measured.items():
        if system == "comms":
            _report(result, measured.get((work, "asterisk")))


def _report(own: Result, peer: Result | None) -> None:
    """Hand over what is lost of the best rate; at most a tenth may be."""
    for index, times in enumerate(("twice", "four times")):
        lost = max(0.0, 1 - own.kept[index]) * 100
        peers = {} if peer is None else {"Asterisk": max(0.0, 1 - peer.kept[index]) * 100}
        work = f"{own.work.upper()} offered {times}: lost of the best rate"
        note = f"best {own.best:g}/s; {own.afterwards:.0%} of 60 % of it 5 s later"
        if own.held_call_survived is not None:
            note += "; the held call " + ("survived" if own.held_call_survived else "was lost")
        results.report(results.Figure(work, lost, "%", 10, 0, peers, note))


if __name__ == "__main__":
    main()
