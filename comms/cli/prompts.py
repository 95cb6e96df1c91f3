"""`comms prompts`: speak the announcements."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from comms.cli.context import note, settings_of

if TYPE_CHECKING:
    from comms.settings import Settings


def prompts(ctx: typer.Context) -> None:
    """Speak the announcements that are missing or whose text or recording changed.

    `serve` and `demo` do so when they start. An own recording takes the place of a spoken text:
    put it into the data folder as prompts/custom/LANGUAGE/NAME.wav.
    """
    from comms.folders import prepare_folders

    settings = settings_of(ctx)
    prepare_folders(settings)
    problems = speak(settings)
    if problems:
        raise typer.Exit(1)
    typer.echo(f"All announcements are in {settings.prompts_dir}.")


def speak(settings: Settings) -> tuple[str, ...]:
    """Make what is missing, with a bar at a terminal; return and print what cannot be used.

    Raises:
        PromptsError: nothing here can speak, or the folder cannot be written.
    """
    from comms.compose import make_prompts

    if not sys.stderr.isatty():
        problems = make_prompts(settings)
    else:
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("Speaking the announcements", total=None)

            def step(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            problems = make_prompts(settings, step)
    for problem in problems:
        note(f"This recording is not used: {problem}")
    return problems
