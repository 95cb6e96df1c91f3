"""Administration over HTTP: people, devices, numbers, queues, the house."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from sqlalchemy import select
from support.web import Web

from comms.auth.passwords import digest_hashes
from comms.bus.streams import Keys
from comms.store import models as m
from comms.store.directory import load_acd_configuration, load_directory
from comms.store.engine import open_engine, reading

ADMIN = "katrin.vogel"

QUEUE: dict[str, Any] = {
    "name": "standesamt",
    "title": {"de": "Standesamt", "en": "Registry office"},
    "number": "190",
    "strategy": "linear",
    "hours": {
        "timezone": "Europe/Berlin",
        "weekly": [[[480, 720], [780, 1080]]] * 5 + [[], []],
        "holidays": "NW",
        "exceptions": {"2026-12-24": []},
    },
    "overflow": [{"to": "zentrale", "after": 60}],
    "menu": [{"key": "1", "queue": "kfz", "prompt": "matter-vehicles"}],
    "members": [{"person": "aylin.demir", "tier": 2}, {"person": "anna.schmidt"}],
}


@pytest.fixture
async def admin(web: Web) -> AsyncIterator[httpx.AsyncClient]:
    """A client that is logged in as an administrator."""
    client = await web.as_(ADMIN)
    async with client:
        yield client


def errors(answer: httpx.Response, status: int) -> list[tuple[str, str]]:
    """Return field and code of a problem's errors."""
    assert answer.status_code == status, answer.text
    return [(e["field"], e["code"]) for e in answer.json()["errors"]]


@pytest.mark.parametrize("user", ["anna.schmidt", "sabine.koch", "markus.lehmann"])
async def test_only_administrators_get_in(web: Web, user: str) -> None:
    async with await web.as_(user) as client:
        for subject in ("people", "devices", "numbers", "queues", "house"):
            answer = await client.get(f"/api/v1/admin/{subject}")
            assert answer.status_code == 403
            assert answer.json()["type"] == "urn:comms:problem:not-permitted"
        answer = await client.post("/api/v1/admin/people", json={"id": "x.y", "name": "X"})
        assert answer.status_code == 403
    answer = await web.client.get("/api/v1/admin/people")
    assert answer.status_code == 401


async def test_the_life_of_a_person(web: Web, admin: httpx.AsyncClient) -> None:
    new = {
        "id": "eva.stein",
        "name": " Eva Stein ",
        "extension": "250",
        "roles": ["staff", "supervisor"],
        "password": "correct horse",
        "supervises": ["kfz"],
        "skills": {"de": 5},
    }
    created = await admin.post("/api/v1/admin/people", json=new)
    assert created.status_code == 201
    assert created.json() == {
        "id": "eva.stein",
        "name": "Eva Stein",
        "extension": "250",
        "roles": ["staff", "supervisor"],
        "language": "de",
        "email": None,
        "has_password": True,
        "skills": {"de": 5},
        "supervises": ["kfz"],
        "devices": [],
    }
    login = {"user": "eva.stein", "password": "correct horse"}
    session = (await web.client.post("/api/v1/login", json=login)).json()
    headers = {"Authorization": f"Bearer {session['token']}"}
    assert session["person"]["supervises"] == ["kfz"]

    again = await admin.post("/api/v1/admin/people", json=new)
    assert errors(again, 409) == [("id", "id-taken")]
    changed = {"name": "Eva Stein", "extension": "251", "roles": ["staff", "supervisor"]}
    answer = await admin.put("/api/v1/admin/people/eva.stein", json=changed)
    assert (answer.json()["extension"], answer.json()["supervises"]) == ("251", [])
    # The password is still the old one, and so is the session.
    assert (await web.client.get("/api/v1/me", headers=headers)).status_code == 200
    answer = await admin.put(
        "/api/v1/admin/people/eva.stein", json=changed | {"password": "battery staple"}
    )
    assert answer.status_code == 200
    assert (await web.client.get("/api/v1/me", headers=headers)).status_code == 401

    assert (await admin.delete("/api/v1/admin/people/eva.stein")).status_code == 204
    assert (await admin.get("/api/v1/admin/people/eva.stein")).status_code == 404
    assert (await admin.delete("/api/v1/admin/people/eva.stein")).status_code == 404
    assert (await admin.put("/api/v1/admin/people/no.body", json=changed)).status_code == 404


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"extension": "1125"}, 422, ("extension", "emergency-number")),
        ({"extension": "110"}, 422, ("extension", "emergency-number")),
        ({"extension": "0123"}, 422, ("extension", "outside-prefix")),
        ({"extension": "201"}, 409, ("extension", "number-taken")),
        ({"extension": "150"}, 409, ("extension", "number-taken")),
        ({"extension": "abc"}, 422, ("body.extension", "string-pattern-mismatch")),
        ({"id": "Eva Stein"}, 422, ("body.id", "string-pattern-mismatch")),
        ({"roles": ["king"]}, 422, ("body.roles.0", "literal-error")),
        ({"roles": []}, 422, ("body.roles", "too-short")),
        ({"password": "short"}, 422, ("body.password", "string-too-short")),
        ({"supervises": ["none"]}, 422, ("supervises", "unknown-queue")),
        ({"name": "  "}, 422, ("body.name", "string-too-short")),
        ({"admin": True}, 422, ("body.admin", "extra-forbidden")),
    ],
)
async def test_a_person_that_breaks_a_rule_is_refused(
    admin: httpx.AsyncClient, changes: dict[str, Any], status: int, error: tuple[str, str]
) -> None:
    body = {"id": "eva.stein", "name": "Eva Stein"} | changes
    answer = await admin.post("/api/v1/admin/people", json=body)
    assert errors(answer, status) == [error]
    assert (await admin.get("/api/v1/admin/people/eva.stein")).status_code == 404


async def test_the_life_of_a_device(web: Web, admin: httpx.AsyncClient, redis: Redis) -> None:
    async with redis.pubsub(ignore_subscribe_messages=True) as told:
        await told.subscribe(Keys().directory)
        await told.get_message(timeout=1)
        new = {"user": "desk-9", "person": "anna.schmidt", "behind_nat": True}
        created = await admin.post("/api/v1/admin/devices", json=new)
        assert created.status_code == 201
        password = created.json()["password"]
        assert len(password) >= 20
        async with asyncio.timeout(5):
            while await told.get_message(timeout=1) is None:
                pass
    engine = open_engine(web.config.sql_url)
    directory = await load_directory(engine)
    hashes = digest_hashes("desk-9", "musterstadt.example", password)
    assert directory.devices["desk-9"].ha1_sha256 == hashes.sha256
    assert directory.people["anna.schmidt"].devices == ("201", "desk-9")
    await redis.hset(Keys().bindings("desk-9"), mapping={"a": "{}", "b": "{}"})
    shown = (await admin.get("/api/v1/admin/devices/desk-9")).json()
    assert shown["registered"] == 2
    assert "password" not in shown
    body = {"person": None, "password": "another secret", "site_number": "+492214710"}
    answer = await admin.put("/api/v1/admin/devices/desk-9", json=body)
    assert answer.json()["site_number"] == "+492214710"
    directory = await load_directory(engine)
    assert directory.devices["desk-9"].ha1_md5 != hashes.md5
    assert directory.devices["desk-9"].person is None
    answer = await admin.post("/api/v1/admin/devices", json={"user": "201"})
    assert errors(answer, 409) == [("user", "user-taken")]
    answer = await admin.post("/api/v1/admin/devices", json={"user": "x", "person": "no.body"})
    assert errors(answer, 422) == [("person", "unknown-person")]
    assert (await admin.delete("/api/v1/admin/devices/desk-9")).status_code == 204
    async with reading(engine) as session:
        audit = list(
            await session.scalars(
                select(m.Audit.action).where(m.Audit.actor == ADMIN).order_by(m.Audit.id)
            )
        )
    assert audit == ["device.created", "device.changed", "device.deleted"]
    await engine.dispose()


async def test_the_life_of_a_number(admin: httpx.AsyncClient) -> None:
    new = {"number": "198", "kind": "announcement", "target": "closed"}
    assert (await admin.post("/api/v1/admin/numbers", json=new)).status_code == 201
    answer = await admin.put("/api/v1/admin/numbers/198", json={"kind": "echo"})
    assert answer.json() == {"number": "198", "kind": "echo", "target": ""}
    answer = await admin.post("/api/v1/admin/numbers", json=new)
    assert errors(answer, 409) == [("number", "number-taken")]
    answer = await admin.post("/api/v1/admin/numbers", json=new | {"number": "112"})
    assert errors(answer, 422) == [("number", "emergency-number")]
    answer = await admin.delete("/api/v1/admin/numbers/201")
    assert errors(answer, 409) == [("number", "number-in-use")]
    assert (await admin.delete("/api/v1/admin/numbers/198")).status_code == 204


async def test_the_life_of_a_queue(web: Web, admin: httpx.AsyncClient) -> None:
    created = await admin.post("/api/v1/admin/queues", json=QUEUE)
    assert created.status_code == 201, created.text
    assert [p["person"] for p in created.json()["members"]] == ["anna.schmidt", "aylin.demir"]
    engine = open_engine(web.config.sql_url)
    configuration = await load_acd_configuration(engine)
    rules = next(q for q in configuration.queues if q.name == "standesamt")
    assert rules.hours is not None
    assert rules.hours.weekly[0] == ((480, 720), (780, 1080))
    assert rules.overflow[0].to == "zentrale"
    places = {a.agent: a.queues for a in configuration.agents}
    assert places["aylin.demir"][0].tier == 2

    shown = (await admin.get("/api/v1/admin/queues/standesamt")).json()
    # What is shown can be sent back unchanged.
    name = shown.pop("name")
    answer = await admin.put(f"/api/v1/admin/queues/{name}", json=shown)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"name": name} | shown
    answer = await admin.delete("/api/v1/admin/queues/zentrale")
    assert errors(answer, 409) == [("name", "queue-in-use")]
    assert (await admin.delete("/api/v1/admin/queues/standesamt")).status_code == 204
    assert "190" not in (await load_directory(engine)).numbers
    await engine.dispose()


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"number": "1109"}, 422, ("number", "emergency-number")),
        ({"number": "201"}, 409, ("number", "number-taken")),
        ({"strategy": "whim"}, 422, ("body.strategy", "literal-error")),
        ({"hours": {"weekly": "always"}}, 422, ("hours", "bad-hours")),
        ({"hours": {"opens": 8}}, 422, ("hours", "bad-hours")),
        ({"hours": {"timezone": "Mars/Base"}}, 422, ("hours.timezone", "unknown-timezone")),
        ({"overflow": [{"to": "none", "after": 1}]}, 422, ("overflow.0", "unknown-queue")),
        ({"overflow": [{"to": "kfz"}]}, 422, ("overflow.0", "overflow-without-limit")),
        ({"overflow": [{"where": "kfz"}]}, 422, ("overflow.0", "bad-overflow")),
        ({"members": [{"person": "no.body"}]}, 422, ("members", "unknown-person")),
        (
            {"members": [{"person": "anna.schmidt"}, {"person": "anna.schmidt"}]},
            422,
            ("members", "person-twice"),
        ),
        (
            {"menu": [{"key": "1", "queue": "none", "prompt": "x"}]},
            422,
            ("menu", "unknown-queue"),
        ),
        ({"name": "zentrale"}, 409, ("name", "name-taken")),
        ({"name": "No Name"}, 422, ("body.name", "string-pattern-mismatch")),
    ],
)
async def test_a_queue_that_breaks_a_rule_is_refused(
    admin: httpx.AsyncClient, changes: dict[str, Any], status: int, error: tuple[str, str]
) -> None:
    answer = await admin.post("/api/v1/admin/queues", json=QUEUE | changes)
    assert errors(answer, status) == [error]


async def test_lists_come_in_pages(admin: httpx.AsyncClient) -> None:
    for subject, key, count in (
        ("people", "id", 17),
        ("devices", "user", 27),
        ("numbers", "number", 22),
        ("queues", "name", 4),
    ):
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            answer = await admin.get(f"/api/v1/admin/{subject}", params={"limit": "5"} | cursor)
            page = answer.json()
            found += [item[key] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert found == sorted(set(found))
        assert len(found) == count, subject


async def test_the_house(admin: httpx.AsyncClient) -> None:
    house = (await admin.get("/api/v1/admin/house")).json()
    assert (house["domain"], house["head_number"]) == ("musterstadt.example", "+492214710")
    house["retention_days"] = 30
    assert (await admin.put("/api/v1/admin/house", json=house)).json() == house
    assert (await admin.get("/api/v1/admin/house")).json()["retention_days"] == 30
    answer = await admin.put("/api/v1/admin/house", json=house | {"domain": "other.example"})
    assert errors(answer, 409) == [("domain", "domain-in-use")]
    answer = await admin.put("/api/v1/admin/house", json=house | {"outside_prefix": "2"})
    assert errors(answer, 409) == [("outside_prefix", "number-taken")]
    answer = await admin.put("/api/v1/admin/house", json=house | {"main_extension": "999"})
    assert errors(answer, 422) == [("main_extension", "unknown-number")]
