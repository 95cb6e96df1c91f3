"""The demonstration as a newcomer runs it: `comms demo`, and what it leaves in the logs."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.servers import eventually

from comms.ports import listeners
from comms.seed import PEOPLE, login_password
from comms.settings import Settings, load_settings
from comms.supervisor import read_status
from sip.simphone.api import Api, ApiError

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SUPERVISOR = "sabine.koch"
#: calls on record before it is closed
CALLS = 1


def environment(**settings: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("COMMS_")}
    variables = {f"COMMS_{key}": value for key, value in settings.items()}
    return {**clean, **variables, "PYTHONPATH": f"{ROOT}:{ROOT / 'queue'}"}


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from comms.cli import app; app()", *arguments]


def settings_of(folder: Path, base: int) -> Settings:
    """The settings that `comms demo --data FOLDER --port-base BASE` makes."""
    return load_settings(
        environ={
            "COMMS_GENERAL__DATA_DIR": str(folder),
            "COMMS_WEB__PORT": str(base),
            "COMMS_SIP__UDP_PORT": str(base + 60),
            "COMMS_SIP__TCP_PORT": str(base + 60),
            "COMMS_MEDIA__PORT_MIN": str(base + 100),
            "COMMS_MEDIA__PORT_MAX": str(base + 1998),
        }
    )


def free_base(folder: Path, start: int) -> int:
    """Return a port base whose listeners are free, far from what other test processes pick."""
    worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0)
    for base in range(start + worker * 4000, 60000, 2000):
        if not any(one.problem() for one in listeners(settings_of(folder, base))):
            return base
    raise RuntimeError("no ports are free")


@dataclass
class Demo:
    """A demonstration that has taken some calls and was closed with Ctrl-C."""

    output: str = ""
    errors: str = ""
    code: int | None = None
    check_code: int | None = None
    findings: list[dict[str, str]] = field(default_factory=list)
    children: dict[str, int] = field(default_factory=dict)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    base = free_base(folder, 36000)
    seen = Demo()
    asyncio.run(_watch(seen, folder, base))
    yield seen
    for pid in seen.children.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


async def _watch(seen: Demo, folder: Path, base: int) -> None:
    data = folder / "data"
    settings = settings_of(data, base)
    options = ("--data", str(data), "--port-base", str(base), "--callers", "20")
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = await asyncio.create_subprocess_exec(
            *program("demo", *options),
            cwd=folder,
            env=environment(LOGGING__LEVEL="debug", LOGGING__FORMAT="json"),
            stdout=out,
            stderr=err,
        )

    async def has_calls() -> bool:
        assert process.returncode is None, (folder / "err").read_text()
        api = Api(settings.public_url)
        try:
            await api.log_in(SUPERVISOR, login_password("221"))
            return len(await api.calls()) >= CALLS
        except ApiError:
            return False

    try:
        await eventually(has_calls, 120, "calls on record")
        seen.children = {name: c["pid"] for name, c in read_status(settings.run_dir).items()}
        checked = await asyncio.to_thread(
            subprocess.run,
            program("check", "--json"),
            cwd=folder,
            env=environment() | settings.as_environment(),
            capture_output=True,
            check=False,
        )
        seen.check_code, seen.findings = checked.returncode, json.loads(checked.stdout)
    finally:
        process.send_signal(signal.SIGINT)
        seen.code = await asyncio.wait_for(process.wait(), 30)
        seen.output, seen.errors = (folder / "out").read_text(), (folder / "err").read_text()


def test_it_prints_where_to_look_and_closes_in_order(demo: Demo) -> None:
    for words in ("Musterstadt is open.", "anna.schmidt / demo-201", "password demo-sip-201"):
        assert words in demo.output
    assert demo.output.endswith("Musterstadt is closed.\n")
    assert demo.code == 0


def test_no_process_is_left(demo: Demo) -> None:
    assert demo.children.keys() >= {"valkey", "media-1", "media-2", "queue-1", "sip-1", "web-1"}
    left = [name for name, pid in demo.children.items() if Path(f"/proc/{pid}").exists()]
    assert left == []


def test_check_finds_the_running_system_sound(demo: Demo) -> None:
    assert demo.check_code == 0
    verdicts = {finding["what"]: finding["verdict"] for finding in demo.findings}
    assert verdicts.pop("certificate") == "warn"
    # the browser applications are built by the package's build, not by the tests
    verdicts.pop("browser applications")
    assert set(verdicts.values()) == {"ok"}, demo.findings


def test_no_personal_data_is_logged(demo: Demo) -> None:
    """Callers' numbers, people's names and log-ins, passwords: not in a whole run at debug."""
    names = {part for person in PEOPLE for part in (person.id, person.name, *person.name.split())}
    wanted = [
        *(re.escape(name) for name in names),
        r"\+49[0-9]+",
        r"\b0[1-9][0-9]{6,}\b",
        r"sips?:[^ \"]*@",
        r"demo-(?:sip-)?[0-9]{3}",
    ]
    lines = [line for line in demo.errors.splitlines() if line.startswith("{")]
    assert len(lines) > 10, demo.errors
    found = [
        (pattern, line)
        for pattern in wanted
        for line in lines
        if re.search(rf"{pattern}", line, re.IGNORECASE)
    ]
    assert found == []


def test_nothing_went_wrong_that_the_log_calls_an_error(demo: Demo) -> None:
    events = [json.loads(line) for line in demo.errors.splitlines() if line.startswith("{")]
    bad = [event for event in events if event["level"] in ("error", "critical")]
    assert bad == []
    assert "Traceback" not in demo.errors


def test_the_story_is_told_once_and_judged(tmp_path: Path) -> None:
    base = free_base(tmp_path, 48000)
    done = subprocess.run(
        program("demo", "--check", "--port-base", str(base)),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "The story went well."
    assert "both hear each other" in done.stdout
    assert list(tmp_path.iterdir()) == [], "a check leaves nothing behind"
