"""What a start needs of the machine: free ports, a folder of one's own; and what logs withhold."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog

from comms import logs
from comms.folders import FolderError, prepare_folders
from comms.ports import PortError, listeners, media_ports_in_use, require_listeners
from comms.settings import Settings, load_settings, variable_name


def settings_with(tmp_path: Path, **values: object) -> Settings:
    environ = {variable_name(*key.split("__")): str(value) for key, value in values.items()}
    return load_settings(environ={"COMMS_GENERAL__DATA_DIR": str(tmp_path), **environ})


def free(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


@pytest.fixture
def system(tmp_path: Path) -> Settings:
    return settings_with(
        tmp_path,
        web__port=free(socket.SOCK_STREAM),
        sip__udp_port=free(socket.SOCK_DGRAM),
        sip__tcp_port=free(socket.SOCK_STREAM),
        sip__tls_port=free(socket.SOCK_STREAM),
        sip__tls_cert="cert.pem",
        sip__tls_key="key.pem",
    )


@pytest.mark.parametrize(
    ("setting", "kind"),
    [
        ("web.port", socket.SOCK_STREAM),
        ("sip.udp_port", socket.SOCK_DGRAM),
        ("sip.tcp_port", socket.SOCK_STREAM),
        ("sip.tls_port", socket.SOCK_STREAM),
    ],
)
def test_a_port_in_use_is_named_with_its_setting(
    system: Settings, setting: str, kind: socket.SocketKind
) -> None:
    require_listeners(system)
    section, key = setting.split(".")
    port = getattr(getattr(system, section), key)
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", port))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        with pytest.raises(PortError) as caught:
            require_listeners(system)
    assert str(caught.value) == (
        f"{'TCP' if kind is socket.SOCK_STREAM else 'UDP'} port {port} on 127.0.0.1 is in use by "
        f"another program; end that program or set {setting} ({variable_name(section, key)}) to "
        "another port"
    )


def test_an_address_of_another_machine_is_named(tmp_path: Path) -> None:
    for host in ("192.0.2.1", "no-such-host.invalid"):
        settings = settings_with(tmp_path, web__host=host, web__port=0)
        with pytest.raises(PortError, match=rf"web\.host is {host}, which is no address of this"):
            require_listeners(settings)


def test_every_worker_has_listeners(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, sip__workers=2)
    assert [(entry.kind, entry.port) for entry in listeners(settings)] == [
        ("TCP", 8000),
        ("UDP", 5060),
        ("TCP", 5060),
        ("UDP", 5160),
        ("TCP", 5160),
    ]


def test_media_ports_in_use_are_counted(tmp_path: Path) -> None:
    with ExitStack() as stack:
        taken = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        while True:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            if port % 2 == 0 and port < 65000:
                break
            taken = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        settings = settings_with(
            tmp_path, media__port_min=port, media__port_max=port + 20, media__engines=1
        )
        assert media_ports_in_use(settings) >= 1


def test_the_data_folder_is_made_for_one_user_alone(tmp_path: Path) -> None:
    settings = settings_with(tmp_path / "new")
    prepare_folders(settings)
    for folder in (settings.data_dir, settings.run_dir):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_run_folder_open_to_others_is_closed(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    settings.run_dir.mkdir(mode=0o755)
    settings.run_dir.chmod(0o755)
    prepare_folders(settings)
    assert settings.run_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("folder", ["/proc/comms", "{tmp}/file/data"])
def test_a_folder_that_cannot_be_written_is_named_with_its_setting(
    tmp_path: Path, folder: str
) -> None:
    (tmp_path / "file").touch()
    path = Path(folder.format(tmp=tmp_path))
    with pytest.raises(FolderError) as caught:
        prepare_folders(settings_with(path))
    text = str(caught.value)
    assert text.startswith(f"general.data_dir is {path}: ")
    assert "; allowed: a folder that the user who runs comms may write" in text
    assert "\n" not in text


def test_a_run_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    target = tmp_path / "elsewhere"
    target.mkdir()
    settings.run_dir.symlink_to(target)
    with pytest.raises(FolderError, match="does not belong to the user who runs comms"):
        prepare_folders(settings)


class Lines:
    """A stream whose lines are the log's events."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lines]:
    made = Lines()
    monkeypatch.setattr(sys, "stderr", made.stream)
    before = logging.getLogger().handlers[:], logging.getLogger().level
    logs.configure(settings_with(tmp_path).logging, "sip-1")
    yield made
    logging.getLogger().handlers, level = before
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_logs_are_one_object_a_line_with_the_role(lines: Lines) -> None:
    structlog.get_logger("x").info("call ended", call="c1", seconds=1.5)
    logging.getLogger("library").warning("slow: %s", "query")
    structlog.get_logger("x").debug("not shown")
    first, second = lines.events
    assert first["event"] == "call ended"
    assert (first["role"], first["call"], first["seconds"]) == ("sip-1", "c1", 1.5)
    assert (second["event"], second["logger"], second["role"]) == (
        "slow: query",
        "library",
        "sip-1",
    )


def test_personal_data_is_withheld(lines: Lines) -> None:
    log = structlog.get_logger("x")
    log.info("from +4922147100 to <sip:anna.schmidt@musterstadt.example>", number="0221 4710")
    logging.getLogger("library").warning("refused tel:115 and sips:201@city")
    try:
        raise ValueError("no such contact: sip:201@192.0.2.7:5060")
    except ValueError:
        log.exception("failed", from_number="201", queue="kfz")
    text = lines.stream.getvalue()
    for personal in ("4922147100", "anna", "0221", "tel:115", "201@", "192.0.2.7"):
        assert personal not in text
    assert lines.events[2]["queue"] == "kfz"


def test_a_long_hostile_text_is_withheld_in_linear_time(lines: Lines) -> None:
    structlog.get_logger("x").info("sip:" * 50_000 + "+1" * 50_000)
    assert len(lines.events) == 1


def test_children_log_in_the_form_the_terminal_wants(tmp_path: Path) -> None:
    environment = logs.child_environment(settings_with(tmp_path))
    assert environment["COMMS_LOGGING__FORMAT"] == ("console" if sys.stderr.isatty() else "json")
    assert environment["COMMS_GENERAL__DATA_DIR"] == os.fspath(tmp_path)
