"""The supervisor with children made for the test: order, restarts, readiness, ends."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from support.servers import eventually

from comms.supervisor import Child, Restart, StartError, Supervisor, read_status

#: serves until SIGTERM and notes when; its file tells which processes took turns
SERVES = """
import os, signal, sys
from comms.ready import tell_ready, wait_for_turn
name, journal = sys.argv[1:]
def note(what):
    with open(journal, "a") as file:
        file.write(f"{name} {what}\\n")
wait_for_turn()
signal.signal(signal.SIGTERM, lambda *_: (note("stops"), sys.exit(0)))
note("serves")
tell_ready()
while True:
    signal.pause()
"""


class Stage:
    """Makes children and runs them under a supervisor in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "journal"
        self.output = io.StringIO()

    def child(self, name: str, stage: int = 1, *, standby: bool = False) -> Child:
        argv = (sys.executable, "-c", SERVES, name, str(self.journal))
        return Child(name, argv, stage=stage, standby=standby)

    def script(self, name: str, text: str, **options: object) -> Child:
        argv = (sys.executable, "-c", textwrap.dedent(text))
        return Child(name, argv, **options)  # type: ignore[arg-type]

    def supervisor(self, *children: Child, give_up_after: int = 4) -> Supervisor:
        return Supervisor(
            children,
            run_dir=self.folder,
            environment={},
            restart=Restart(pause=0.001, give_up_after=give_up_after),
            output=self.output,
        )

    def notes(self) -> list[str]:
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def pid(self, name: str) -> int:
        return read_status(self.folder)[name]["pid"]

    def restarts(self, name: str) -> int:
        return read_status(self.folder)[name]["restarts"]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def test_stages_start_in_order_and_stop_in_the_opposite_order(stage: Stage) -> None:
    supervisor = stage.supervisor(
        stage.child("web", 3), stage.child("store", 1), stage.child("sip", 2)
    )
    running = asyncio.create_task(supervisor.run())
    await asyncio.wait_for(supervisor.ready.wait(), 10)
    assert stage.notes() == ["store serves", "sip serves", "web serves"]
    supervisor.stop()
    await asyncio.wait_for(running, 10)
    assert stage.notes()[3:] == ["web stops", "sip stops", "store stops"]
    assert read_status(stage.folder) == {}


async def test_a_killed_child_is_started_again_at_once(stage: Stage) -> None:
    supervisor = stage.supervisor(stage.child("media", 1), stage.child("sip", 2))
    running = asyncio.create_task(supervisor.run())
    await asyncio.wait_for(supervisor.ready.wait(), 10)
    first, other = stage.pid("media"), stage.pid("sip")
    killed = time.monotonic()
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: stage.pid("media") != first)
    assert time.monotonic() - killed < 0.5
    await eventually(lambda: stage.notes().count("media serves") == 2)
    assert (stage.restarts("media"), stage.restarts("sip")) == (1, 0)
    assert stage.pid("sip") == other
    supervisor.stop()
    await asyncio.wait_for(running, 10)


async def test_a_standby_takes_over_and_gets_a_successor(stage: Stage) -> None:
    supervisor = stage.supervisor(stage.child("sip", standby=True))
    running = asyncio.create_task(supervisor.run())
    await asyncio.wait_for(supervisor.ready.wait(), 10)
    for turn in (1, 2):
        before = stage.pid("sip")
        os.kill(before, signal.SIGKILL)
        await eventually(lambda turn=turn: stage.restarts("sip") == turn)  # type: ignore[misc]
        await eventually(lambda turn=turn: stage.notes().count("sip serves") == turn + 1)  # type: ignore[misc]
        assert stage.pid("sip") != before
    supervisor.stop()
    await asyncio.wait_for(running, 10)
    # no standby ever served without its turn
    assert stage.notes().count("sip serves") == 3
    assert stage.notes().count("sip stops") == 1


async def test_a_child_that_does_not_start_ends_the_start_with_its_last_line(stage: Stage) -> None:
    broken = stage.script(
        "web", "import sys; print('first'); sys.exit('web: no such theme')", stage=2
    )
    supervisor = stage.supervisor(stage.child("store", 1), broken)
    with pytest.raises(StartError, match=r"^web: no such theme$"):
        await asyncio.wait_for(supervisor.run(), 10)
    assert stage.notes() == ["store serves", "store stops"]


async def test_a_child_that_never_gets_ready_is_named(stage: Stage) -> None:
    deaf = stage.script("sip", "import signal; signal.pause()", ready_seconds=0.2)
    with pytest.raises(StartError, match=r"^sip was not ready after 0\.2 s$"):
        await asyncio.wait_for(stage.supervisor(deaf).run(), 10)


async def test_a_program_that_is_missing_is_named(stage: Stage) -> None:
    with pytest.raises(StartError, match=r"^store cannot be started: .*no-such-program"):
        await stage.supervisor(Child("store", ("/no-such-program",))).run()


async def test_a_crash_loop_ends_the_system_with_the_last_lines(stage: Stage) -> None:
    crashes = stage.script(
        "queue",
        """
        import sys
        from comms.ready import tell_ready
        tell_ready()
        sys.exit("the journal is damaged")
        """,
    )
    supervisor = stage.supervisor(stage.child("store"), crashes, give_up_after=3)
    with pytest.raises(StartError, match=r"queue ended 3 times in a row; .*the journal is damaged"):
        await asyncio.wait_for(supervisor.run(), 10)
    assert stage.notes() == ["store serves", "store stops"]
    assert stage.output.getvalue().count("the journal is damaged") == 3


async def test_a_child_that_ignores_the_signal_is_killed(stage: Stage) -> None:
    stubborn = stage.script(
        "web",
        """
        import signal
        from comms.ready import tell_ready
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        tell_ready()
        while True:
            signal.pause()
        """,
        stop_seconds=0.1,
    )
    supervisor = stage.supervisor(stubborn)
    running = asyncio.create_task(supervisor.run())
    await asyncio.wait_for(supervisor.ready.wait(), 10)
    pid = stage.pid("web")
    supervisor.stop()
    await asyncio.wait_for(running, 10)
    assert not alive(pid)


async def test_stopping_while_starting_ends_what_was_started(stage: Stage) -> None:
    deaf = stage.script("sip", "import signal; signal.pause()", stage=2)
    supervisor = stage.supervisor(stage.child("store", 1), deaf)
    running = asyncio.create_task(supervisor.run())
    await eventually(lambda: "sip" in read_status(stage.folder))
    pid = stage.pid("sip")
    supervisor.stop()
    await asyncio.wait_for(running, 10)
    assert not supervisor.ready.is_set()
    assert not alive(pid)
    assert stage.notes() == ["store serves", "store stops"]


async def test_a_second_system_on_the_same_folder_is_refused(stage: Stage) -> None:
    supervisor = stage.supervisor(stage.child("store"))
    running = asyncio.create_task(supervisor.run())
    await asyncio.wait_for(supervisor.ready.wait(), 10)
    with pytest.raises(StartError, match=r"another comms runs .* general\.data_dir"):
        await stage.supervisor(stage.child("store")).run()
    supervisor.stop()
    await asyncio.wait_for(running, 10)


#: a supervisor in a process of its own
SUPERVISES = """
import asyncio, sys
from pathlib import Path
from comms.supervisor import Child, Supervisor
folder, serves = sys.argv[1:]
argv = (sys.executable, "-c", serves, "sip", folder + "/journal")
children = [Child("sip", argv, standby=True), Child("media", argv)]
asyncio.run(Supervisor(children, run_dir=Path(folder), environment={}).run())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_no_child_outlives_the_supervisor(stage: Stage, number: signal.Signals) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SUPERVISES, str(stage.folder), SERVES, stdout=subprocess.DEVNULL
    )
    await eventually(lambda: len(stage.notes()) == 2 and len(descendants(process.pid)) == 3)
    family = descendants(process.pid)
    process.send_signal(number)
    await asyncio.wait_for(process.wait(), 10)
    await eventually(lambda: not any(alive(pid) for pid in family))
    if number is not signal.SIGKILL:
        assert process.returncode == 0
        assert stage.notes().count("sip stops") == 2


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]
