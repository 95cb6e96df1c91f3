"""`python -m sip.simphone`: simulate the demonstration's people, or play its story once."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

import uvloop

from comms import logs
from comms.errors import OperatorError
from comms.settings import load_settings
from sip.simphone.api import ApiError
from sip.simphone.endpoint import SimError
from sip.simphone.story import StoryConfig, story
from sip.simphone.traffic import DemoTraffic, run_demo_traffic


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 65536:
        raise argparse.ArgumentTypeError(f"{text} is no HOST:PORT")
    return host, int(port)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m sip.simphone", description=__doc__)
    parser.add_argument("--server", type=_address, default=("127.0.0.1", 5060), metavar="HOST:PORT")
    parser.add_argument("--api", default="http://127.0.0.1:8000", help="address of the web role")
    parser.add_argument("--domain", default="musterstadt.example", help="SIP domain")
    parser.add_argument("--callers", type=int, default=6, help="citizens on the line on average")
    parser.add_argument("--trunk-port", type=int, default=5070, help="where outgoing calls come to")
    parser.add_argument(
        "--visitors", default="201", help="SIP users left to visitors, with commas between them"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--story", action="store_true", help="play the story once and end")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT and return the exit code; 1 when something failed."""
    given = _arguments(arguments)
    try:
        logs.configure(load_settings().logging, "simulation")
    except OperatorError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if given.story:
        config = StoryConfig(given.server, given.api, given.domain)
        failures = uvloop.run(story(config, on_step=lambda step: print(step, flush=True)))
        for failure in failures:
            print(failure, file=sys.stderr)
        return 1 if failures else 0
    traffic = DemoTraffic(
        given.server,
        given.api,
        domain=given.domain,
        callers=given.callers,
        trunk_port=given.trunk_port,
        visitors=frozenset(filter(None, given.visitors.split(","))),
        seed=given.seed,
    )
    try:
        uvloop.run(_until_signal(traffic))
    except (SimError, ApiError, OSError) as error:
        print(f"The simulation ended: {error}", file=sys.stderr)
        return 1
    return 0


async def _until_signal(traffic: DemoTraffic) -> None:
    task = asyncio.ensure_future(run_demo_traffic(traffic))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


if __name__ == "__main__":
    sys.exit(main())
