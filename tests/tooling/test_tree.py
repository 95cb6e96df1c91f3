"""Rules that hold for every file of the tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: where packages come from is the machine's affair: no file may tie the project to one host
REGISTRIES = re.compile(
    rb"(?:pypi|npmjs|npmmirror|yarnpkg|jsdelivr|unpkg|crates|rubygems)\.(?:org|com|net|io)"
    rb"|pythonhosted\.org|deb\.debian\.org|(?:archive|security)\.ubuntu\.com"
    rb"|(?:docker|ghcr|quay|gcr)\.io|--index-url|--extra-index-url|--find-links",
    re.IGNORECASE,
)
LONGEST = 800
#: our own packages, and what pydantic and FastAPI are made of and hand to their users
OWN = {"comms", "sip", "acd", "video", "annotated_types", "starlette"}
SOURCES = {".py", ".ts", ".tsx", ".css", ".mjs", ".sh"}


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file() and path != Path(__file__)]


@pytest.fixture(scope="module")
def files() -> list[Path]:
    found = tracked()
    assert ROOT / "pyproject.toml" in found
    return found


def test_no_file_names_the_host_of_a_package_registry(files: list[Path]) -> None:
    named = [
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in files
        if (match := REGISTRIES.search(path.read_bytes()))
    ]
    assert named == []


def test_no_source_file_is_longer_than_it_should_be(files: list[Path]) -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in files
        if path.suffix in SOURCES and (count := path.read_bytes().count(b"\n")) > LONGEST
    }
    assert long == {}


def test_nothing_is_left_to_do_in_the_code(files: list[Path]) -> None:
    marks = re.compile(rb"\b(?:TODO|FIXME)\b")
    left = [
        str(path.relative_to(ROOT))
        for path in files
        if path.suffix in SOURCES and marks.search(path.read_bytes())
    ]
    assert left == []


@pytest.mark.parametrize("name", ["build", "run", "test"])
def test_every_locked_package_has_hashes(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    pins = re.findall(r"^([A-Za-z0-9._-]+)==\S+(?: ;[^\\\n]*)? \\\n    --hash=sha256:", text, re.M)
    starts = re.findall(r"^[A-Za-z0-9].*$", text, re.M)
    assert len(pins) == len(starts) > 0


def test_the_lock_files_agree_and_hold_what_pyproject_names() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", text, re.M))

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    run, test, build = pins("run"), pins("test"), pins("build")
    assert run.items() <= test.items()
    assert _names(project["project"]["dependencies"]) <= run.keys()
    for extra in project["project"]["optional-dependencies"].values():
        assert _names(extra) <= test.keys()
    assert _names(project["build-system"]["requires"]) <= build.keys()
    listed = (ROOT / "requirements" / "build.in").read_text().splitlines()
    assert [line for line in listed if not line.startswith("#")] == project["build-system"][
        "requires"
    ]


def _names(requirements: list[str]) -> set[str]:
    names = {re.split(r"[\[<>=!~; ]", each, maxsplit=1)[0] for each in requirements}
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names} - {"comms"}


def test_every_library_that_the_program_imports_is_named_in_pyproject() -> None:
    """What comes along with another package today may be gone tomorrow."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = _names([*project["dependencies"], *project["optional-dependencies"]["probe"]])
    imported = {
        name: str(path.relative_to(ROOT))
        for folder in ("comms", "sip", "video", "queue/acd")
        for path in (ROOT / folder).rglob("*.py")
        for name in _imports(path)
    }
    packages = metadata.packages_distributions()
    unnamed = {
        name: path
        for name, path in imported.items()
        if name not in sys.stdlib_module_names | OWN
        and not named
        & {re.sub(r"[-_.]+", "-", dist).lower() for dist in packages.get(name, ["unknown"])}
    }
    assert unnamed == {}


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names
