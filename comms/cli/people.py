"""`comms people`: who has a log-in, an extension and a phone."""

from __future__ import annotations

import secrets
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from comms.cli.context import AsJson, Stores, note, print_json, print_table, with_stores

if TYPE_CHECKING:
    from comms.people.actions import PersonSpec
    from comms.store.models import Person

app = typer.Typer(no_args_is_help=True, help="People, their log-ins and phones.")

ACTOR = "command-line"

PersonId = Annotated[str, typer.Argument(help="Log-in name, e.g. anna.schmidt.")]
FromStdin = Annotated[bool, typer.Option("--stdin", help="Read the password from standard input.")]


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List everybody with extension, roles and phones."""

    async def work(stores: Stores) -> list[dict[str, Any]]:
        from sqlalchemy import select

        from comms.store import models as m
        from comms.store.engine import reading

        async with reading(stores.engine) as session:
            devices: dict[str | None, list[str]] = {}
            for user, owner in await session.execute(select(m.Device.user, m.Device.person)):
                devices.setdefault(owner, []).append(user)
            return [
                {
                    "id": person.id,
                    "name": person.name,
                    "extension": person.extension,
                    "roles": person.roles,
                    "devices": sorted(devices.get(person.id, [])),
                }
                for person in await session.scalars(select(m.Person).order_by(m.Person.id))
            ]

    people = with_stores(ctx, work)
    if as_json:
        print_json(people)
        return
    print_table(
        ("log-in", "name", "extension", "roles", "SIP users"),
        [
            (p["id"], p["name"], p["extension"], ", ".join(p["roles"]), ", ".join(p["devices"]))
            for p in people
        ],
    )


@app.command()
def add(
    ctx: typer.Context,
    person: PersonId,
    name: Annotated[str, typer.Argument(help="Name as colleagues see it.")],
    extension: Annotated[
        str | None, typer.Option(help="Internal number; also the user name of the phone.")
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="staff, agent, supervisor or administrator; may be given again."),
    ] = None,
    language: Annotated[str, typer.Option(help="de or en.")] = "de",
) -> None:
    """Add a person, with a phone account where there is an extension.

    Passwords are made up and printed once.
    """
    from comms.people.actions import DeviceSpec, PersonSpec

    login, sip = _made_up(), _made_up()

    async def work(stores: Stores) -> None:
        from comms.people.actions import do_create_device, do_create_person
        from comms.store.engine import writing

        spec = PersonSpec(
            id=person,
            name=name,
            extension=extension,
            roles=tuple(role or ["staff"]),
            language=language,
            password_hash=await _hash(login),
        )
        async with writing(stores.engine) as session:
            await do_create_person(session, ACTOR, spec)
            if extension is not None:
                device = DeviceSpec(user=extension, person=person, password=sip)
                await do_create_device(session, ACTOR, device)
        await stores.publish()

    with_stores(ctx, work)
    typer.echo(f"log-in      {person}  password  {login}")
    if extension is not None:
        typer.echo(f"SIP user    {extension}  password  {sip}")
    note("These passwords are not kept in clear and cannot be shown again.")


@app.command("set-password")
def set_password(
    ctx: typer.Context,
    person: PersonId,
    from_stdin: FromStdin = False,
    sip_user: Annotated[
        str | None, typer.Option("--sip", help="Set this SIP user's password instead.")
    ] = None,
) -> None:
    """Set the password of a log-in, or of one of the person's phones."""
    password = _ask(from_stdin)

    async def work(stores: Stores) -> None:
        from comms.people.actions import DeviceSpec, do_change_device, do_change_person
        from comms.problems import NotFound
        from comms.store import models as m
        from comms.store.engine import writing

        async with writing(stores.engine) as session:
            row = await session.get(m.Person, person)
            if row is None:
                raise NotFound(f"there is no person {person}")
            if sip_user is None:
                spec = replace(await _spec_of(session, row), password_hash=await _hash(password))
                await do_change_person(session, ACTOR, spec)
                return
            device = await session.get(m.Device, sip_user)
            if device is None or device.person != person:
                raise NotFound(f"{person} has no SIP user {sip_user}")
            changed = DeviceSpec(sip_user, person, password, device.behind_nat, device.site_number)
            await do_change_device(session, ACTOR, changed)
        await stores.publish()

    with_stores(ctx, work)
    typer.echo("The new password holds from now on.")


@app.command()
def remove(
    ctx: typer.Context,
    person: PersonId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a person with extension, sessions and memberships; phones become shared desks."""
    if not yes:
        typer.confirm(f"Remove {person}?", abort=True)

    async def work(stores: Stores) -> None:
        from comms.people.actions import do_delete_person
        from comms.store.engine import writing

        async with writing(stores.engine) as session:
            await do_delete_person(session, ACTOR, person)
        await stores.publish()

    with_stores(ctx, work)
    typer.echo(f"{person} is removed.")


async def _spec_of(session: Any, row: Person) -> PersonSpec:
    """Return a person as they are, to be changed in one point."""
    from sqlalchemy import select

    from comms.people.actions import PersonSpec
    from comms.store import models as m

    supervised = select(m.Supervision.queue).where(m.Supervision.person == row.id)
    return PersonSpec(
        id=row.id,
        name=row.name,
        extension=row.extension,
        roles=tuple(row.roles),
        language=row.language,
        email=row.email,
        skills=dict(row.skills),
        supervises=tuple(await session.scalars(supervised)),
    )


def _made_up() -> str:
    return secrets.token_urlsafe(12)


def _ask(from_stdin: bool) -> str:
    if from_stdin:
        password = sys.stdin.readline().rstrip("\n")
    else:
        password = typer.prompt("New password", hide_input=True, confirmation_prompt=True)
    if len(password) < 8:
        raise typer.BadParameter("a password needs at least 8 characters")
    return password


async def _hash(password: str) -> str:
    from comms.auth.passwords import Passwords

    passwords = Passwords(threads=1)
    try:
        return await passwords.hash(password)
    finally:
        passwords.close()
