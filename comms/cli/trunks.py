"""`comms trunks`: the ways to and from the public network."""

from __future__ import annotations

import ipaddress
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from comms.cli.context import AsJson, Stores, print_json, print_table, with_stores
from comms.cli.people import ACTOR

app = typer.Typer(no_args_is_help=True, help="Trunks: the ways to and from the public network.")

Name = Annotated[str, typer.Argument(help="Name of the trunk, e.g. city.")]


class Kind(StrEnum):
    """How the two sides know each other."""

    address = "address"
    register = "register"


class Transport(StrEnum):
    """How SIP is sent to the trunk."""

    udp = "udp"
    tcp = "tcp"
    tls = "tls"


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List all trunks in the order in which they are tried; passwords are not shown."""

    async def work(stores: Stores) -> list[dict[str, Any]]:
        from sqlalchemy import select

        from comms.store import models as m
        from comms.store.engine import reading

        async with reading(stores.engine) as session:
            rows = await session.scalars(select(m.Trunk).order_by(m.Trunk.position, m.Trunk.name))
            return [
                {
                    "name": row.name,
                    "kind": row.kind,
                    "host": row.host,
                    "port": row.port,
                    "transport": row.transport,
                    "allowed": list(row.allowed),
                    "domain": row.domain,
                    "user": row.user,
                    "main_number": row.main_number,
                    "order": row.position,
                }
                for row in rows
            ]

    trunks = with_stores(ctx, work)
    if as_json:
        print_json(trunks)
        return
    print_table(
        ("order", "trunk", "kind", "sends to", "trusts", "user", "main number"),
        [
            (
                trunk["order"],
                trunk["name"],
                trunk["kind"],
                f"{trunk['host']}:{trunk['port']} {trunk['transport']}",
                ", ".join(trunk["allowed"]),
                trunk["user"],
                trunk["main_number"],
            )
            for trunk in trunks
        ],
    )


@app.command("set")
def set_(
    ctx: typer.Context,
    name: Name,
    host: Annotated[str, typer.Option(help="Where requests go to.")],
    kind: Annotated[
        Kind, typer.Option(help="address: trusted by where it comes from; register: logs in there.")
    ] = Kind.address,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port there.")] = 5060,
    transport: Annotated[Transport, typer.Option(help="udp, tcp or tls.")] = Transport.udp,
    allowed: Annotated[
        list[str] | None,
        typer.Option(help="Address or network (CIDR) whose requests are the trunk's; repeatable."),
    ] = None,
    domain: Annotated[str, typer.Option(help="The provider's SIP domain, if not the host.")] = "",
    user: Annotated[str, typer.Option(help="User name at the provider.")] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    main_number: Annotated[
        str, typer.Option(help="Number in E.164 shown where a caller has no direct number.")
    ] = "",
    order: Annotated[int, typer.Option(min=1, help="Trunks are tried in this order.")] = 1,
) -> None:
    """Add a trunk, or replace the one of that name."""
    networks = [_network(each) for each in allowed or ()]
    if kind is Kind.address and not networks:
        raise typer.BadParameter("a trunk trusted by address needs --allowed")
    password = ""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\n")
    elif kind is Kind.register:
        password = typer.prompt("Password at the provider", hide_input=True)
    if kind is Kind.register and not (user and password):
        raise typer.BadParameter("a trunk that registers needs --user and a password")

    async def work(stores: Stores) -> None:
        from comms.people.actions import do_put_trunk
        from comms.store import models as m
        from comms.store.engine import writing

        trunk = m.Trunk(
            name=name,
            kind=kind.value,
            host=host,
            port=port,
            transport=transport.value,
            allowed=networks,
            domain=domain,
            user=user,
            password=password,
            main_number=main_number,
            position=order,
        )
        async with writing(stores.engine) as session:
            await do_put_trunk(session, ACTOR, trunk)
        await stores.publish()

    with_stores(ctx, work)
    typer.echo(f"Trunk {name} is set.")


@app.command()
def remove(ctx: typer.Context, name: Name) -> None:
    """Remove a trunk; calls on it go on."""

    async def work(stores: Stores) -> None:
        from comms.people.actions import do_delete_trunk
        from comms.store.engine import writing

        async with writing(stores.engine) as session:
            await do_delete_trunk(session, ACTOR, name)
        await stores.publish()

    with_stores(ctx, work)
    typer.echo(f"Trunk {name} is removed.")


def _network(text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise typer.BadParameter(f"{text} is no address and no network") from None
    return str(network.network_address if network.num_addresses == 1 else network)
