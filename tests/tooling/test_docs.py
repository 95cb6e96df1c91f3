"""The documents: links lead somewhere, generated pages are current, commands exist."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import typer

from comms.cli import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file(page: Path) -> None:
    targets = [target for target in LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or not page.exists() or page.suffix != ".md":
            continue
        seen.add(page)
        waiting += [
            (page.parent / target).resolve()
            for target in LINK.findall(page.read_text())
            if "://" not in target
        ]
    pages = {page for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert pages - seen == set()


def test_the_command_line_reference_is_current() -> None:
    made = runpy.run_path(str(ROOT / "tools/export_command_line.py"))
    page = ROOT / "docs/reference/command-line.md"
    assert page.read_text() == made["reference"](), "run: python tools/export_command_line.py"


def commands() -> dict[str, set[str]]:
    """Every command's path, e.g. "people add", with its options."""
    found: dict[str, set[str]] = {}

    def walk(command: object, path: str) -> None:
        options = {name for each in command.params for name in each.opts}  # type: ignore[attr-defined]
        found[path] = options | {"--help", "-h"}
        for name, child in getattr(command, "commands", {}).items():
            walk(child, f"{path} {name}".strip())

    walk(typer.main.get_command(app), "")
    return found


def test_commands_in_the_documents_exist() -> None:
    known = commands()
    wrong = []
    for page in PAGES:
        blocks = re.findall(r"```(?:console)?\n(.*?)```|`(comms [^`\n]+)`", page.read_text(), re.S)
        for block, inline in blocks:
            for line in (block or inline).splitlines():
                match = re.match(r"(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/)?comms ((?:[a-z-]+ ?)+)", line)
                if match is None or page.name == "CHANGELOG.md":
                    continue
                words = match.group(1).split()
                path = max((p for n in range(3) if (p := " ".join(words[:n])) in known), key=len)
                options = re.findall(r"(?<= )--?[a-z][a-z-]*", line)
                if path == "" or set(options) - known[path]:
                    wrong.append(f"{page.relative_to(ROOT)}: {line}")
    assert wrong == []
