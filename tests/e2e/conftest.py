"""A whole system a test process, and Musterstadt's people in it for each test."""

from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest
from support.city import City
from support.system import RunningSystem, run

from sip.media.prompts import PromptStore

_LOG_LINES = 60


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the system's log with a failed test."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for value in item.funcargs.values():
            if isinstance(value, RunningSystem):
                lines = value.log.splitlines()[-_LOG_LINES:]
                report.sections.append(("system log", "\n".join(lines)))
    return report


@pytest.fixture(scope="session")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The spoken prompts and the music, made once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "prompts"
    with (shared / "prompts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        PromptStore(folder).ensure()
    return folder


@pytest.fixture(scope="session")
def system(prompts: Path) -> Iterator[RunningSystem]:
    """A running system that tests share; what they leave behind they must put back."""
    yield from run(RunningSystem(prompts))


@pytest.fixture(scope="module")
def own_system(prompts: Path) -> Iterator[RunningSystem]:
    """A running system of this module alone, for tests that kill its parts."""
    yield from run(RunningSystem(prompts))


@pytest.fixture
async def city(system: RunningSystem) -> AsyncIterator[City]:
    """Musterstadt's phones and agents in the shared system."""
    async with City(system) as one:
        yield one
    async with City(system) as after:
        await after.quiet()
