"""Write `docs/reference/command-line.md` from the commands themselves.

python tools/export_command_line.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from comms.cli import app

PAGE = Path(__file__).parents[1] / "docs/reference/command-line.md"


def reference() -> str:
    """Return the page."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="comms")
    text = get_docs_for_click(obj=command, ctx=context, name="comms", title="Command line")
    note = "Made from `comms/cli/` by `python tools/export_command_line.py`."
    head, _, rest = text.partition("\n")
    return f"{head}\n\n{note}\n{rest.rstrip()}\n"


if __name__ == "__main__":
    PAGE.write_text(reference())
    sys.stdout.write(f"{PAGE} written\n")
