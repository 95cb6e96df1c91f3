"""`comms queues`: who waits, who serves, and why a call was offered to somebody."""

from __future__ import annotations

import os
import time
from typing import Annotated, Any, Literal

import typer

from comms.cli.context import (
    AsJson,
    Stores,
    print_json,
    print_table,
    with_stores,
)
from comms.database import StoreError, first_line

app = typer.Typer(no_args_is_help=True, help="Queues, who waits in them and who serves them.")

#: events that are read at once
_PAGE = 1000


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List all queues with who waits and who can answer now."""

    async def work(stores: Stores) -> list[dict[str, Any]]:
        from sqlalchemy import func, select

        from comms.store import models as m
        from comms.store.engine import reading

        async with reading(stores.engine) as session:
            counts = dict(
                (
                    await session.execute(
                        select(m.Membership.queue, func.count()).group_by(m.Membership.queue)
                    )
                )
                .tuples()
                .all()
            )
            rows = list(await session.scalars(select(m.Queue).order_by(m.Queue.name)))
        works, agents = await _views(stores)
        return [
            {
                "name": row.name,
                "number": row.number,
                "strategy": row.rules.get("strategy", "longest-idle"),
                "agents": counts.get(row.name, 0),
                "available": sum(
                    row.name in a.queues and a.activity == "available" for a in agents
                ),
                "waiting": sum(w.queue == row.name and w.state != "assigned" for w in works),
            }
            for row in rows
        ]

    queues = with_stores(ctx, work)
    if as_json:
        print_json(queues)
        return
    print_table(
        ("queue", "number", "strategy", "agents", "available", "waiting"),
        [tuple(queue.values()) for queue in queues],
    )


@app.command()
def show(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the queue, e.g. buergertelefon.")],
    as_json: AsJson = False,
) -> None:
    """Show who waits in a queue, in serving order, and its agents."""

    async def work(stores: Stores) -> dict[str, Any]:
        from comms.problems import NotFound
        from comms.store import models as m
        from comms.store.engine import reading

        async with reading(stores.engine) as session:
            row = await session.get(m.Queue, name)
        if row is None:
            raise NotFound(f"there is no queue {name}")
        works, agents = await _views(stores, required=True)
        now = time.time()
        here = sorted((w for w in works if w.queue == name), key=lambda work: work.rank)
        return {
            "name": name,
            "number": row.number,
            "waiting": [_shown(work, now) for work in here if work.state != "assigned"],
            "talking": [_shown(work, now) for work in here if work.state == "assigned"],
            "agents": [
                {
                    "agent": agent.agent,
                    "extension": agent.extension,
                    "activity": agent.activity,
                    "reason": agent.reason,
                    "seconds": round(now - agent.since),
                    "reachable": agent.reachable,
                }
                for agent in sorted(agents, key=lambda agent: agent.agent)
                if name in agent.queues
            ],
        }

    queue = with_stores(ctx, work)
    if as_json:
        print_json(queue)
        return
    waiting = [(str(place), work) for place, work in enumerate(queue["waiting"], start=1)]
    print_table(
        ("place", "call", "state", "since", "agents"),
        [
            (place, w["work"], w["state"], f"{w['seconds']} s", ", ".join(w["agents"]))
            for place, w in waiting + [("", work) for work in queue["talking"]]
        ],
        title=f"{name} ({queue['number']})",
    )
    print_table(
        ("agent", "extension", "state", "since", "phone"),
        [
            (
                a["agent"],
                a["extension"],
                a["activity"] + (f" ({a['reason']})" if a["reason"] else ""),
                f"{a['seconds']} s",
                "registered" if a["reachable"] else "not registered",
            )
            for a in queue["agents"]
        ],
        title="Agents",
    )


@app.command()
def explain(
    ctx: typer.Context,
    call: Annotated[str, typer.Argument(help="Id of the call, as in the history.")],
    as_json: AsJson = False,
) -> None:
    """Tell what the queue decided about a call and why, as far back as its events reach."""
    from comms.compose import explain_work

    entries = with_stores(ctx, _events)
    if as_json:
        print_json([{"at": at, **_plain(event)} for at, event in entries if _about(event) == call])
        return
    language: Literal["de", "en"] = "de" if os.environ.get("LANG", "").startswith("de") else "en"
    lines = explain_work([event for _, event in entries], call, language)
    if not lines:
        typer.echo("The queue's events know nothing of this call.", err=True)
        raise typer.Exit(1)
    for line in lines:
        typer.echo(line)


async def _events(stores: Stores) -> list[tuple[float, Any]]:
    """Return all events of the queue role with their times, oldest first.

    Raises:
        StoreError: the live store cannot be read.
    """
    from redis.exceptions import RedisError

    from comms.bus import acd
    from comms.bus.streams import Codec

    codec: Codec[acd.Event] = Codec(acd.Event)
    # redis-py cannot tell in its types that this client leaves answers as bytes
    redis: Any = stores.redis
    found: list[tuple[float, Any]] = []
    start = "-"
    try:
        while rows := await redis.xrange(stores.keys.acd_events, min=start, count=_PAGE):
            for entry, event in codec.entries(rows):
                found.append((int(entry.partition(b"-")[0]) / 1000, event))
            start = "(" + rows[-1][0].decode()
    except (RedisError, OSError) as error:
        raise StoreError(f"the live store cannot be read: {first_line(error)}") from None
    return found


def _shown(work: Any, now: float) -> dict[str, Any]:
    return {
        "work": work.work,
        "state": work.state,
        "seconds": round(now - work.since),
        "agents": list(work.agents),
    }


def _about(event: Any) -> str | None:
    """Return the work an event is about."""
    view = getattr(event, "view", event)
    return None if hasattr(view, "activity") else getattr(view, "work", None)


def _plain(event: Any) -> dict[str, Any]:
    import msgspec

    return dict(msgspec.to_builtins(event))


async def _views(stores: Stores, *, required: bool = False) -> tuple[list[Any], list[Any]]:
    """Return the live views of all work and all agents; nothing where no system runs.

    Raises:
        StoreError: the live store cannot be read although it is `required`.
    """
    from redis.exceptions import RedisError

    from comms.bus import acd
    from comms.bus.streams import Codec

    works: Codec[acd.WorkView] = Codec(acd.WorkView)
    agents: Codec[acd.AgentView] = Codec(acd.AgentView)
    redis: Any = stores.redis
    try:
        return (
            [works.decode(raw) for raw in await redis.hvals(stores.keys.acd_works)],
            [agents.decode(raw) for raw in await redis.hvals(stores.keys.acd_agents)],
        )
    except (RedisError, OSError) as error:
        if required:
            raise StoreError(
                f"who waits is known to a running system alone: {first_line(error)}"
            ) from None
        return [], []
