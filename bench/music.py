"""What a packet of music costs the media engine.

    python bench/music.py [--waiting 200] [--seconds 10] [--json]

So many callers wait and hear music, in packets of 20 ms; see `bench/relay.py` for how CPU is
counted. Others are measured with `bench.relay.measure` and streams that only listen.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from bench.relay import ADDRESS, PCMA, Result, Stream, engine_process, measure  # noqa: E402
from bench.results import Figure, report  # noqa: E402
from sip.media.audio_files import payloads  # noqa: E402
from sip.media.engine import Remote  # noqa: E402
from sip.media.music import compose  # noqa: E402
from sip.media.rtpio import RtpIoEngine  # noqa: E402


def run(waiting: int, seconds: float) -> Result:
    """Measure our engine with so many waiting callers."""
    with engine_process(waiting) as (pid, path):
        streams = asyncio.run(_wait(path, waiting))
        try:
            return measure("comms", pid, streams, seconds, send=False)
        finally:
            for stream in streams:
                stream.socket.close()


async def _wait(path: Path, waiting: int) -> list[Stream]:
    for payload, data in payloads(compose(), looped=True).items():
        path.with_name(f"moh.{payload}").write_bytes(data)
    engine = await RtpIoEngine.connect(path, "media-1")
    streams = []
    for number in range(waiting):
        phone = Stream(number)
        await engine.open(f"c{number}", Remote(ADDRESS, phone.port, (PCMA, 101), 101))
        await engine.play(f"c{number}", "a", str(path.with_name("moh")), None)
        streams.append(phone)
    await engine.close()
    return streams


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    args = parser.parse_args()
    result = run(args.waiting, args.seconds)
    if args.json:
        print(json.dumps(asdict(result)))
        return
    expected = args.waiting * args.seconds * 50
    report(
        Figure(
            work=f"packet of music, {args.waiting} waiting",
            value=result.microseconds,
            unit="µs CPU",
            reach=12.0,
            aim=8.0,
            note=f"{result.received / expected:.1%} of 50 packets a second arrived",
        )
    )


if __name__ == "__main__":
    main()
