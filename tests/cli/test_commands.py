"""The command line: what commands do, print, refuse and return."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis
from support.servers import ValkeyInstance, eventually
from typer.testing import CliRunner, Result

from comms.bus import acd
from comms.bus.streams import Codec, Keys
from comms.cli import app

ROOT = Path(__file__).parents[2]
Comms = Callable[..., Result]


@pytest.fixture
def comms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comms:
    """Runs a command on a data folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("COMMS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COMMS_GENERAL__DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LANG", "C.UTF-8")
    runner = CliRunner()

    def run(*arguments: str, **options: object) -> Result:
        return runner.invoke(app, arguments, **options)  # type: ignore[arg-type]

    return run


def environment(tmp_path: Path, **settings: object) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("COMMS_")}
    return {
        **clean,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'queue'}",
        "COMMS_GENERAL__DATA_DIR": str(tmp_path / "data"),
        **{f"COMMS_{key}": str(value) for key, value in settings.items()},
    }


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from comms.cli import app; app()", *arguments]


# --- people and numbers -----------------------------------------------------------------------


def test_a_person_is_added_shown_changed_and_removed(comms: Comms) -> None:
    added = comms("people", "add", "max.muster", "Max Muster", "--extension", "245")
    assert added.exit_code == 0, added.output
    assert "log-in      max.muster  password  " in added.stdout
    assert "SIP user    245  password  " in added.stdout
    people = json.loads(comms("people", "list", "--json").stdout)
    assert people == [
        {
            "id": "max.muster",
            "name": "Max Muster",
            "extension": "245",
            "roles": ["staff"],
            "devices": ["245"],
        }
    ]
    assert "Max Muster" in comms("people", "list").stdout
    set_ = comms("people", "set-password", "max.muster", "--stdin", input="long enough\n")
    assert set_.exit_code == 0, set_.output
    sip = comms(
        "people", "set-password", "max.muster", "--sip", "245", "--stdin", input="long enough\n"
    )
    assert sip.exit_code == 0, sip.output
    assert comms("people", "remove", "max.muster", input="n\n").exit_code == 1
    assert comms("people", "remove", "max.muster", "--yes").exit_code == 0
    assert json.loads(comms("people", "list", "--json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("people", "add", "Max Muster", "x"), "use a-z, 0-9"),
        (("people", "add", "max", "Max", "--role", "king"), "'king' is none of"),
        (("people", "add", "max", "Max", "--extension", "1101"), "may start with 110"),
        (("people", "remove", "nobody", "--yes"), "there is no person nobody"),
        (("numbers", "add", "112", "echo"), "may start with 112"),
        (("numbers", "add", "0190", "echo"), "dialled before outside numbers"),
        (("numbers", "add", "15x", "echo"), "2 to 8 digits"),
        (("numbers", "add", "151", "queue", "none"), "'none' is no queue"),
        (("numbers", "remove", "151"), "there is no number 151"),
        (("queues", "show", "none"), "there is no queue none"),
    ],
)
def test_what_breaks_a_rule_is_one_line(
    comms: Comms, arguments: tuple[str, ...], words: str
) -> None:
    result = comms(*arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert result.stderr.startswith("comms: ")
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_a_short_password_is_refused(comms: Comms) -> None:
    comms("people", "add", "max.muster", "Max")
    result = comms("people", "set-password", "max.muster", "--stdin", input="short\n")
    assert result.exit_code == 2
    assert "at least 8 characters" in result.stderr


def test_nobody_gets_a_sip_user_of_somebody_else(comms: Comms) -> None:
    comms("people", "add", "max.muster", "Max", "--extension", "245")
    comms("people", "add", "eva.muster", "Eva")
    result = comms(
        "people", "set-password", "eva.muster", "--sip", "245", "--stdin", input="long enough\n"
    )
    assert result.exit_code == 1
    assert "eva.muster has no SIP user 245" in result.stderr


def test_numbers_are_added_and_removed(comms: Comms) -> None:
    assert "199 is the echo." in comms("numbers", "add", "199", "echo").stdout
    assert json.loads(comms("numbers", "list", "--json").stdout) == [
        {"number": "199", "kind": "echo", "target": ""}
    ]
    assert "echo" in comms("numbers", "list").stdout
    assert "199 is free." in comms("numbers", "remove", "199").stdout


def test_trunks_are_set_replaced_shown_without_password_and_removed(comms: Comms) -> None:
    by_address = comms(
        *("trunks", "set", "city", "--host", "192.0.2.1", "--allowed", "192.0.2.1"),
        *("--allowed", "198.51.100.7/24", "--main-number", "+4922147100"),
    )
    assert by_address.exit_code == 0, by_address.output
    registers = comms(
        *("trunks", "set", "spare", "--kind", "register", "--host", "sip.example.net"),
        *("--transport", "tls", "--port", "5061", "--user", "city", "--password-stdin"),
        *("--order", "2"),
        input="hunter2\n",
    )
    assert registers.exit_code == 0, registers.output
    trunks = json.loads(comms("trunks", "list", "--json").stdout)
    assert [(t["name"], t["kind"], t["order"]) for t in trunks] == [
        ("city", "address", 1),
        ("spare", "register", 2),
    ]
    assert trunks[0]["allowed"] == ["192.0.2.1", "198.51.100.0/24"]
    shown = comms("trunks", "list")
    assert "sip.example.net:5061 tls" in shown.stdout
    assert "hunter2" not in shown.stdout
    assert comms("trunks", "remove", "city").exit_code == 0
    assert len(json.loads(comms("trunks", "list", "--json").stdout)) == 1
    again = comms("trunks", "remove", "city")
    assert again.exit_code == 1
    assert "there is no trunk city" in again.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "needs --allowed"),
        (("--allowed", "nowhere"), "nowhere is no address and no network"),
        (("--kind", "register", "--password-stdin"), "needs --user and a password"),
        (("--port", "0", "--allowed", "192.0.2.1"), "--port"),
    ],
)
def test_a_trunk_that_cannot_work_is_refused(
    comms: Comms, options: tuple[str, ...], words: str
) -> None:
    result = comms("trunks", "set", "city", "--host", "192.0.2.1", *options, input="")
    assert result.exit_code == 2
    assert words in result.stderr


# --- queues -----------------------------------------------------------------------------------


@pytest.fixture
async def decided(valkey: ValkeyInstance, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A live store in which the queue has decided about call c1."""
    monkeypatch.setenv("COMMS_REDIS__URL", valkey.url)
    codec: Codec[acd.Event] = Codec(acd.Event)
    keys = Keys()
    work = acd.WorkView("c1", "kfz", "voice", "waiting", 1.0, (0.0, 1.0))
    other = acd.WorkView("c2", "kfz", "voice", "waiting", 2.0, (0.0, 2.0))
    candidates = (
        acd.Candidate("julia.weber"),
        acd.Candidate("tom.brandt", rejected="wrap-up"),
    )
    events: list[acd.Event] = [
        acd.WorkChanged(work),
        acd.WorkChanged(other),
        acd.Decision("c1", "kfz", "longest-idle", ("julia.weber",), candidates),
        acd.OfferMade("o1", "c1", "kfz", "julia.weber", "sip-1", 15.0),
        acd.OfferEnded("o1", "c1", "julia.weber", "sip-1", "refused", "busy"),
    ]
    for event in events:
        await redis.xadd(keys.acd_events, codec.fields(event))  # type: ignore[arg-type]


def test_a_decision_is_explained(comms: Comms, decided: None) -> None:
    told = comms("queues", "explain", "c1")
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines() == [
        "kfz: julia.weber asked (who has been free longest).",
        "Not asked: tom.brandt (was in wrap-up).",
        "julia.weber's device was busy.",
    ]
    steps = json.loads(comms("queues", "explain", "c1", "--json").stdout)
    assert [step["type"] for step in steps] == ["work", "decision", "offer", "offer-ended"]
    unknown = comms("queues", "explain", "c9")
    assert unknown.exit_code == 1
    assert "know nothing of this call" in unknown.stderr


def test_who_waits_is_known_to_a_running_system_alone(comms: Comms) -> None:
    result = comms("queues", "explain", "c1")
    assert result.exit_code == 1
    assert "the live store cannot be read" in result.stderr


# --- settings, role, serve --------------------------------------------------------------------


def test_a_wrong_setting_ends_any_command_with_code_2(
    comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMS_WEB__PORT", "many")
    for arguments in (("serve",), ("check",), ("people", "list"), ("role", "web"), ("demo",)):
        result = comms(*arguments)
        assert result.exit_code == 2, arguments
        assert result.stderr == (
            'comms: COMMS_WEB__PORT: web.port is "many"; allowed: a whole number from 0 to 65535\n'
        )


def test_a_named_settings_file_must_exist(comms: Comms) -> None:
    result = comms("--config", "none.toml", "people", "list")
    assert result.exit_code == 2
    assert result.stderr == "comms: settings file none.toml does not exist\n"


def test_a_role_alone_needs_a_store_that_others_share(comms: Comms) -> None:
    result = comms("role", "sip")
    assert result.exit_code == 2
    assert "redis.url (COMMS_REDIS__URL) is empty" in result.stderr
    assert "role nothing is unknown; allowed: web, sip" in comms("role", "nothing").stderr


def test_a_database_of_another_domain_is_refused(
    comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    comms("people", "add", "max.muster", "Max", "--extension", "245")
    monkeypatch.setenv("COMMS_GENERAL__DOMAIN", "neustadt.example")
    result = comms("people", "list")
    assert result.exit_code == 1
    assert "general.domain is neustadt.example" in result.stderr
    assert "allowed: musterstadt.example" in result.stderr


def test_a_database_that_cannot_be_opened_is_named_without_its_password(
    comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMS_SQL__URL", "postgresql://comms:hunter2@127.0.0.1:1/comms")
    result = comms("people", "list")
    assert result.exit_code == 1
    assert "the database cannot be used" in result.stderr
    assert "hunter2" not in result.stderr


def test_serve_names_a_port_in_use_and_ends_with_code_1(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            program("serve"),
            env=environment(tmp_path, WEB__PORT=port),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"comms: TCP port {port} on 127.0.0.1 is in use by another program; end that program or "
        "set web.port (COMMS_WEB__PORT) to another port\n"
    )


async def test_a_queue_role_runs_alone_until_it_is_told_to_end(
    valkey: ValkeyInstance, redis: Redis, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        *program("role", "queue", "--name", "queue-7"),
        env=environment(tmp_path, REDIS__URL=valkey.url),
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
    )
    try:

        async def leads() -> bool:
            assert process.returncode is None
            return bool(await redis.exists(Keys().acd_lease))

        await eventually(leads, 30)
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 20)
    assert process.returncode == 0


def test_help_and_completion_work_without_reading_settings(
    comms: Comms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMMS_WEB__PORT", "many")
    assert comms("--help").exit_code == 0
    assert "set-password" in comms("people", "-h").stdout
    monkeypatch.setenv("_COMMS_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "comms que")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert comms(prog_name="comms").stdout.split() == ["queues"]


def test_starting_a_command_imports_no_server(tmp_path: Path) -> None:
    """A shell's completion and a SIP worker must not wait for libraries they do not use."""
    for code, banned in (
        ("import comms.cli", {"fastapi", "sqlalchemy", "redis", "pydantic", "uvicorn"}),
        ("import comms.compose", {"fastapi", "uvicorn", "typer", "alembic", "socketio"}),
        ("import sip.worker", {"fastapi", "uvicorn", "typer", "alembic", "numpy", "socketio"}),
    ):
        listed = subprocess.run(
            [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            check=True,
        )
        assert banned & set(listed.stdout.split()) == set(), code
