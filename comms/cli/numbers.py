"""`comms numbers`: what internal numbers stand for."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from comms.cli.context import AsJson, Stores, print_json, print_table, with_stores
from comms.cli.people import ACTOR

app = typer.Typer(no_args_is_help=True, help="Internal numbers and what they stand for.")

Number = Annotated[str, typer.Argument(help="2 to 8 digits, e.g. 199.")]


class Kind(StrEnum):
    """What a number can stand for."""

    person = "person"
    queue = "queue"
    echo = "echo"
    announcement = "announcement"


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List all internal numbers."""

    async def work(stores: Stores) -> list[dict[str, Any]]:
        from sqlalchemy import select

        from comms.store import models as m
        from comms.store.engine import reading

        async with reading(stores.engine) as session:
            rows = await session.scalars(select(m.Number).order_by(m.Number.number))
            return [{"number": n.number, "kind": n.kind, "target": n.target} for n in rows]

    numbers = with_stores(ctx, work)
    if as_json:
        print_json(numbers)
        return
    print_table(
        ("number", "stands for", ""), [(n["number"], n["kind"], n["target"]) for n in numbers]
    )


@app.command()
def add(
    ctx: typer.Context,
    number: Number,
    kind: Annotated[Kind, typer.Argument(help="What it stands for.")],
    target: Annotated[
        str, typer.Argument(help="Person, queue or prompt; nothing for an echo.")
    ] = "",
) -> None:
    """Let a number stand for a person, a queue, the echo or an announcement.

    No number may start with 110 or 112.
    """

    async def work(stores: Stores) -> None:
        from comms.people.actions import do_create_number
        from comms.store.engine import writing

        async with writing(stores.engine) as session:
            await do_create_number(session, ACTOR, number, kind.value, target)
        await stores.publish()

    with_stores(ctx, work)
    typer.echo(f"{number} is the {kind.value} {target}".rstrip() + ".")


@app.command()
def remove(ctx: typer.Context, number: Number) -> None:
    """Remove a number that is no person's extension and no queue's own number."""

    async def work(stores: Stores) -> None:
        from comms.people.actions import do_delete_number
        from comms.store.engine import writing

        async with writing(stores.engine) as session:
            await do_delete_number(session, ACTOR, number)
        await stores.publish()

    with_stores(ctx, work)
    typer.echo(f"{number} is free.")
