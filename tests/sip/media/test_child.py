"""The engine's process: how it starts, what it refuses, how it ends."""

from __future__ import annotations

import os
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sip.media.child import EXIT_ADDRESS, EXIT_FOLDER, EXIT_PORTS
from tests.support.media import EngineProcess, free_ports


def run_child(socket_path: Path, *extra: str) -> subprocess.CompletedProcess[str]:
    low, high = free_ports()
    defaults = {"--port-min": str(low), "--port-max": str(high)}
    given = dict(zip(extra[::2], extra[1::2], strict=True))
    options = [part for pair in (defaults | given).items() for part in pair]
    return subprocess.run(
        [sys.executable, "-m", "sip.media.child", "--socket", str(socket_path), *options],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )


def connect(path: str, timeout: float = 5.0) -> socket.socket:
    until = time.monotonic() + timeout
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(path)
        except OSError:
            sock.close()
            assert time.monotonic() < until, "the engine did not start"
            select.select([], [], [], 0.005)
        else:
            return sock


def ended(pid: int, timeout: float = 3.0) -> bool:
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], timeout)[0])
    finally:
        os.close(descriptor)


def test_greets_and_closes_its_folder_to_others(tmp_path: Path) -> None:
    engine = EngineProcess(tmp_path)
    side = connect(f"{engine.path}.side")
    hello = side.recv(200).decode().split()
    assert hello[:2] == ["hello", "media-t"]
    assert hello[3:6] == ["127.0.0.1", str(engine.low), str(engine.high)]
    assert stat.S_IMODE(engine.path.parent.stat().st_mode) == 0o700
    side.sendall(b"nonsense 1:2\nf x:y:z:0\nf 1:drop::0\nw\n")
    replies = b""
    while replies.count(b"\n") < 4:
        replies += side.recv(200)
    assert replies.split(b"\n") == [b"failed", b"failed", b"failed 1", b"ok", b""]
    side.close()
    engine.close()
    assert engine.process.returncode == 0
    assert not engine.path.exists()


def test_ends_fast_on_sigterm_with_calls_in_progress(tmp_path: Path) -> None:
    engine = EngineProcess(tmp_path)
    connect(f"{engine.path}.side").close()
    control = connect(str(engine.path))
    control.sendall(b"U c1 127.0.0.1 4000 a\nL c1 127.0.0.1 4002 a b\n")
    assert control.recv(200)
    begin = time.monotonic()
    engine.close()
    assert time.monotonic() - begin < 0.5
    assert engine.process.returncode == 0
    control.close()


def test_ends_with_its_parent(tmp_path: Path) -> None:
    low, high = free_ports()
    path = tmp_path / "e" / "m.sock"
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-m', 'sip.media.child', '--socket', '{path}',"
        f" '--port-min', '{low}', '--port-max', '{high}'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    connect(f"{path}.side").close()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert ended(pid)


def test_a_socket_left_by_a_killed_engine_is_replaced_but_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    engine = EngineProcess(tmp_path)
    connect(f"{engine.path}.side").close()
    second = run_child(engine.path)
    assert second.returncode == EXIT_FOLDER
    assert "another engine already answers" in second.stderr
    engine.kill()
    assert engine.path.exists()
    engine.restart()
    connect(f"{engine.path}.side").close()
    engine.close()


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    done = run_child(tmp_path / "m.sock", "--address", "203.0.113.7")
    assert done.returncode == EXIT_ADDRESS
    assert "cannot bind the address 203.0.113.7" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_ports_in_use_are_refused_or_left_out(tmp_path: Path) -> None:
    low, high = free_ports(24)
    taken = []
    for port in range(low, high + 2):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", port))
        taken.append(sock)
    done = run_child(tmp_path / "m.sock", "--port-min", str(low), "--port-max", str(high))
    assert done.returncode == EXIT_PORTS
    assert f"the UDP ports {low} to {high} of 127.0.0.1 are in use" in done.stderr
    for sock in taken:
        sock.close()


@pytest.mark.parametrize(("low", "high"), [("80", "90"), ("20001", "20099"), ("20100", "20000")])
def test_impossible_port_ranges_are_usage_errors(tmp_path: Path, low: str, high: str) -> None:
    done = run_child(tmp_path / "m.sock", "--port-min", low, "--port-max", high)
    assert done.returncode == 2
    assert f"--port-min {low} --port-max {high}" in done.stderr


def test_an_unusable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run_child(tmp_path / "file" / "m.sock")
    assert done.returncode == EXIT_FOLDER
    assert f"the folder {tmp_path / 'file'} cannot be used" in done.stderr
    done = run_child(tmp_path / ("x" * 120) / "m.sock")
    assert done.returncode == EXIT_FOLDER
    assert "too long for a unix socket" in done.stderr


def test_an_engine_whose_relay_stands_still_ends(tmp_path: Path) -> None:
    code = (
        "import sip.media.child as child, sip.media.heartbeat as heartbeat\n"
        "child.PERIOD = 0.01\n"
        "heartbeat.Heartbeat.wake = lambda self: None\n"
        "child.main()\n"
    )
    low, high = free_ports()
    done = subprocess.run(
        [
            *(sys.executable, "-c", code, "--socket", str(tmp_path / "e" / "m.sock")),
            *("--port-min", str(low), "--port-max", str(high)),
        ],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert done.returncode == 6
    assert "relays no packets" in done.stderr


def test_a_signal_before_the_engine_stands_ends_it_too(tmp_path: Path) -> None:
    engine = EngineProcess(tmp_path)
    os.kill(engine.process.pid, signal.SIGTERM)
    assert ended(engine.process.pid)
    engine.process.wait()
