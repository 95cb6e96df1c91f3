"""The services of `docker-compose.yml` as plain processes: same commands, same variables."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import yaml
from support.servers import ValkeyInstance, eventually

from comms.settings import load_settings

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
OPTIONS = (
    "OPTIONS sip:{host}:{port} SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 127.0.0.1:{own};branch=z9hG4bKbyhand;rport\r\n"
    "Max-Forwards: 70\r\n"
    "From: <sip:check@127.0.0.1>;tag=1\r\n"
    "To: <sip:{host}:{port}>\r\n"
    "Call-ID: by-hand\r\n"
    "CSeq: 1 OPTIONS\r\n"
    "Content-Length: 0\r\n\r\n"
)


def free_port() -> int:
    """Return a port that is free for UDP and TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                return int(tcp.getsockname()[1])


def services() -> dict[str, list[str]]:
    """Return the command of each service that runs our image."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return {
        name: service["command"]
        for name, service in compose["services"].items()
        if "build" in service
    }


@pytest.fixture
def variables(valkey: ValkeyInstance, postgres_url: str, tmp_path: Path) -> dict[str, str]:
    """The variables of the file's `x-comms`, with the test's own stores and ports."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    sip, web, media = free_port(), free_port(), free_port() // 2 * 2
    own = {
        "COMMS_REDIS__URL": valkey.url,
        "COMMS_SQL__URL": postgres_url,
        "COMMS_GENERAL__DOMAIN": "musterstadt.example",
        "COMMS_SIP__HOST": "127.0.0.1",
        "COMMS_MEDIA__ADDRESS": "127.0.0.1",
        "COMMS_WEB__HOST": "127.0.0.1",
    }
    given = {**compose["x-comms"]["environment"], **own}
    assert given.keys() == own.keys() | {"COMMS_MEDIA__ENGINES"}, "a new variable needs a value"
    first = min(media, 64000)
    return given | {
        "COMMS_GENERAL__DATA_DIR": str(tmp_path / "data"),
        "COMMS_SIP__UDP_PORT": str(sip),
        "COMMS_SIP__TCP_PORT": str(sip),
        "COMMS_WEB__PORT": str(web),
        "COMMS_MEDIA__PORT_MIN": str(first),
        "COMMS_MEDIA__PORT_MAX": str(first + 400),
    }


@pytest.fixture
async def running(
    variables: dict[str, str], tmp_path: Path
) -> AsyncIterator[dict[str, asyncio.subprocess.Process]]:
    """Every service as a process."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("COMMS_")}
    environment = {**clean, **variables, "PYTHONPATH": f"{ROOT}:{ROOT / 'queue'}"}
    processes: dict[str, asyncio.subprocess.Process] = {}
    try:
        for name, command in services().items():
            with (tmp_path / f"{name}.log").open("wb") as log:
                processes[name] = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    "from comms.cli import app; app()",
                    *command,
                    cwd=tmp_path,
                    env=environment,
                    stdout=log,
                    stderr=log,
                )
        yield processes
    finally:
        for process in processes.values():
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_every_service_serves_and_ends_on_sigterm(
    running: dict[str, asyncio.subprocess.Process], variables: dict[str, str], tmp_path: Path
) -> None:
    settings = load_settings(environ=variables)

    def logs() -> str:
        return "\n".join(path.read_text() for path in sorted(tmp_path.glob("*.log")))

    async def all_serve() -> bool:
        ended = [name for name, process in running.items() if process.returncode is not None]
        assert ended == [], logs()
        return await asyncio.to_thread(ready, settings.public_url) and await asyncio.to_thread(
            answers, settings.sip.host, settings.sip.udp_port
        )

    try:
        await eventually(all_serve, 60, "all services serving")
    except AssertionError:
        print(logs())
        raise
    for process in running.values():
        process.send_signal(signal.SIGTERM)
    codes = {name: await asyncio.wait_for(process.wait(), 20) for name, process in running.items()}
    assert codes == dict.fromkeys(running, 0), logs()


def ready(url: str) -> bool:
    """Return whether the web role finds everything that it needs."""
    try:
        with urlopen(f"{url}/api/v1/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def answers(host: str, port: int) -> bool:
    """Return whether SIP is answered over UDP."""
    with socket.socket(type=socket.SOCK_DGRAM) as phone:
        phone.bind(("127.0.0.1", 0))
        phone.settimeout(0.5)
        text = OPTIONS.format(host=host, port=port, own=phone.getsockname()[1])
        phone.sendto(text.encode(), (host, port))
        try:
            return phone.recv(4096).startswith(b"SIP/2.0 200 ")
        except OSError:
            return False
