"""The commands' tree, and how an error ends a command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from comms.cli import numbers, people, queues, run, trunks
from comms.cli.check import check
from comms.cli.demo import demo
from comms.cli.probe import probe
from comms.cli.prompts import prompts
from comms.errors import OperatorError
from comms.problems import CommsError


class Group(TyperGroup):
    """Ends a command with one line where the operator can mend the cause."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except OperatorError as error:
            typer.secho(f"comms: {error}", err=True)
            raise typer.Exit(error.exit_code) from None
        except CommsError as error:
            typer.secho(f"comms: {error}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Group,
    name="comms",
    help="A city's telephone exchange, call centres, video visits, chat and appointments.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_show_locals=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"comms {version('comms')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="Settings file instead of ./comms.toml.", envvar="COMMS_CONFIG"),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Remember where the settings are."""
    ctx.obj = config


app.command()(run.serve)
app.command()(demo)
app.command()(run.role)
app.command()(check)
app.command()(probe)
app.command()(prompts)
app.add_typer(people.app, name="people")
app.add_typer(queues.app, name="queues")
app.add_typer(numbers.app, name="numbers")
app.add_typer(trunks.app, name="trunks")
