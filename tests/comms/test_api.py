"""The HTTP API as a client meets it."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from support.roles import FakeQueueRole, agent, work
from support.servers import ValkeyInstance, eventually
from support.web import Web, running

from comms.auth.throttle import ThrottleRules
from comms.bus import acd, sip
from comms.bus.streams import Codec, Keys
from comms.errors import OperatorError
from comms.web import WebConfig, serve

ANNA, KOCH, ADMIN = "anna.schmidt", "sabine.koch", "katrin.vogel"
sip_commands: Codec[sip.Command] = Codec(sip.Command)


def is_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is this problem; return it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"urn:comms:problem:{code}"
    assert body["status"] == status
    assert body["title"]
    return body


# --- session ----------------------------------------------------------------------------------


async def test_logging_in_and_out(web: Web) -> None:
    answer = await web.client.post(
        "/api/v1/login", json={"user": " Anna.Schmidt ", "password": "demo-201"}
    )
    assert answer.status_code == 200
    body = answer.json()
    assert body["person"]["queues"] == ["buergertelefon", "zentrale"]
    assert body["expires_at"].endswith("Z")
    headers = {"Authorization": f"Bearer {body['token']}"}
    me = (await web.client.get("/api/v1/me", headers=headers)).json()
    assert (me["id"], me["name"], me["extension"]) == (ANNA, "Anna Schmidt", "201")
    assert (await web.client.post("/api/v1/logout", headers=headers)).status_code == 204
    answer = await web.client.get("/api/v1/me", headers=headers)
    is_problem(answer, 401, "not-authenticated")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer x", "Basic abc", "Bearer " + "x" * 43, "Bearer ü" * 9]
)
async def test_without_a_valid_token_nothing_is_told(web: Web, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    is_problem(await web.client.get("/api/v1/me", headers=headers), 401, "not-authenticated")


async def test_the_database_holds_no_token(web: Web) -> None:
    token = await web.token(ANNA)
    folder = Path(web.config.sql_url.removeprefix("sqlite+aiosqlite:///")).parent
    for file in folder.glob("comms.db*"):
        assert token.encode() not in file.read_bytes()


async def test_an_expired_session_is_over(musterstadt: WebConfig) -> None:
    async with running(replace(musterstadt, session_lifetime=0.05)) as web:
        headers = {"Authorization": f"Bearer {await web.token(ANNA)}"}

        async def over() -> bool:
            # Each use would prolong it: only the first try may find it alive.
            await asyncio.sleep(0.06)
            return (await web.client.get("/api/v1/me", headers=headers)).status_code == 401

        await eventually(over)


async def test_unknown_users_and_wrong_passwords_look_the_same(web: Web) -> None:
    async def attempt(user: str, password: str) -> tuple[dict[str, Any], float]:
        started = time.perf_counter()
        answer = await web.client.post("/api/v1/login", json={"user": user, "password": password})
        took = time.perf_counter() - started
        return is_problem(answer, 401, "wrong-credentials"), took

    await attempt("warm.up", "x")
    known = [await attempt(ANNA, "wrong") for _ in range(5)]
    unknown = [await attempt("no.body", "wrong") for _ in range(5)]
    assert {json.dumps(body) for body, _ in known} == {json.dumps(body) for body, _ in unknown}
    quickest_known = min(took for _, took in known)
    quickest_unknown = min(took for _, took in unknown)
    # Both compute one argon2 hash, which is most of the time.
    assert quickest_unknown > 0.5 * quickest_known


async def test_guessing_is_slowed_down_by_account(musterstadt: WebConfig) -> None:
    rules = ThrottleRules(free_attempts=2, delay_seconds=30.0, silence_after=1000)
    async with running(replace(musterstadt, throttle=rules)) as web:

        async def attempt(user: str, password: str) -> httpx.Response:
            body = {"user": user, "password": password}
            return await web.client.post("/api/v1/login", json=body)

        results = [await attempt(ANNA, "wrong") for _ in range(5)]
        assert [r.status_code for r in results] == [401, 401, 401, 429, 429]
        body = is_problem(results[-1], 429, "too-many-attempts")
        assert 0 < int(results[-1].headers["Retry-After"]) <= 30
        assert 0 < body["retry_after"] <= 30
        # The right password has to wait too, or it could be told from a wrong one.
        assert (await attempt(ANNA, "demo-201")).status_code == 429
        assert (await attempt("ANNA.SCHMIDT", "demo-201")).status_code == 429
        assert (await attempt("mehmet.yilmaz", "demo-202")).status_code == 200


async def test_many_guesses_at_once_do_not_slip_through(musterstadt: WebConfig) -> None:
    rules = ThrottleRules(free_attempts=3, delay_seconds=30.0, silence_after=1000)
    async with running(replace(musterstadt, throttle=rules)) as web:
        body = {"user": ANNA, "password": "wrong"}
        answers = await asyncio.gather(
            *(web.client.post("/api/v1/login", json=body) for _ in range(20))
        )
        assert sorted(a.status_code for a in answers) == [401] * 4 + [429] * 16


async def test_guessing_is_slowed_down_by_address(musterstadt: WebConfig) -> None:
    rules = ThrottleRules(free_attempts=100, silence_after=3, silence_seconds=30.0)
    async with running(replace(musterstadt, throttle=rules)) as web:
        statuses = [
            (
                await web.client.post("/api/v1/login", json={"user": f"u{n}", "password": "x"})
            ).status_code
            for n in range(6)
        ]
        assert statuses == [401] * 4 + [429] * 2


async def test_a_success_clears_the_count(musterstadt: WebConfig) -> None:
    rules = ThrottleRules(free_attempts=2, delay_seconds=30.0, silence_after=4)
    async with running(replace(musterstadt, throttle=rules)) as web:
        wrong = {"user": ANNA, "password": "wrong"}
        for _ in range(2):
            assert (await web.client.post("/api/v1/login", json=wrong)).status_code == 401
        for _ in range(10):
            await web.token(ANNA)


# --- problems ---------------------------------------------------------------------------------


async def test_every_error_is_a_problem(web: Web) -> None:
    client = web.client
    is_problem(await client.get("/api/v1/nothing"), 404, "not-found")
    answer = await client.get("/api/v1/login")
    is_problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"] == "POST"
    headers = {"Content-Type": "application/json"}
    answer = await client.post("/api/v1/login", content=b"{", headers=headers)
    is_problem(answer, 400, "bad-json")
    body = is_problem(await client.post("/api/v1/login", json={"user": "x"}), 422, "invalid")
    assert body["errors"][0]["field"] == "body.password"
    assert body["errors"][0]["code"] == "missing"
    extra = {"user": "x", "password": "secret-word", "admin": True}
    answer = await client.post("/api/v1/login", json=extra)
    is_problem(answer, 422, "invalid")
    assert "secret-word" not in answer.text


async def test_a_large_body_is_refused_declared_or_not(web: Web) -> None:
    large = b"x" * 1_100_000
    is_problem(await web.client.post("/api/v1/login", content=large), 413, "too-large")

    async def stream() -> Any:
        for _ in range(20):
            yield b"x" * 65_536

    is_problem(await web.client.post("/api/v1/login", content=stream()), 413, "too-large")
    assert (await web.client.get("/api/v1/health")).status_code == 200


async def test_without_the_live_store_the_api_says_so_and_comes_back(
    web: Web, valkey: ValkeyInstance
) -> None:
    token = await web.token(ADMIN)
    headers = {"Authorization": f"Bearer {token}"}
    valkey.stop()
    body = {"user": ANNA, "password": "demo-201"}
    answer = await web.client.post("/api/v1/login", json=body, timeout=30)
    is_problem(answer, 503, "unavailable")
    assert answer.headers["Retry-After"]
    assert (await web.client.get("/api/v1/health")).status_code == 200
    assert (await web.client.get("/api/v1/calls", headers=headers)).status_code == 200
    answer = await web.client.get("/api/v1/ready", timeout=30)
    assert answer.status_code == 503
    assert {c["name"]: c["ok"] for c in answer.json()["checks"]}["live_store"] is False
    assert "comms_live_store_up 0" in (await web.client.get("/metrics", timeout=30)).text
    valkey.start()

    async def ready() -> bool:
        return (await web.client.get("/api/v1/ready")).status_code == 200

    await eventually(ready, seconds=15)
    assert (await web.client.post("/api/v1/login", json=body)).status_code == 200


# --- queues and agents ------------------------------------------------------------------------


async def test_queues_with_who_waits(web: Web, queue_role: FakeQueueRole) -> None:
    await queue_role.musterstadt()
    for n in (2, 1):
        await queue_role.publish(acd.WorkChanged(work(f"w{n}", "zentrale", 1_800_000_000.0 + n)))
    client = await web.as_(ANNA)
    async with client:

        async def arrived() -> bool:
            items = (await client.get("/api/v1/queues")).json()["items"]
            return sum(item["waiting_count"] for item in items) == 2

        await eventually(arrived)
        queue = (await client.get("/api/v1/queues/zentrale")).json()
        assert [(w["id"], w["position"]) for w in queue["waiting"]] == [("w1", 1), ("w2", 2)]
        assert queue["waiting"][0]["number"] == "+4915100000001"
        assert queue["number"] == "160"
        assert queue["longest_waiting_since"] == "2027-01-15T08:00:01Z"
        assert {a["id"] for a in queue["agents"]} == {ANNA, "mehmet.yilmaz"}
        other = (await client.get("/api/v1/queues/kfz")).json()
        assert (other["waiting"], other["agents"], other["numbers_visible"]) == ([], [], False)
        is_problem(await client.get("/api/v1/queues/none"), 404, "not-found")
    staff = await web.as_("markus.lehmann")
    async with staff:
        assert (await staff.get("/api/v1/queues")).json() == {"items": []}
        is_problem(await staff.get("/api/v1/queues/zentrale"), 404, "not-found")


async def test_an_agent_sets_the_own_state(
    web: Web, queue_role: FakeQueueRole, redis: Redis
) -> None:
    await queue_role.musterstadt()
    async with await web.as_(ANNA) as client:
        request = asyncio.create_task(
            client.put("/api/v1/agents/me/state", json={"state": "break", "reason": "lunch"})
        )
        wanted = acd.SetAgentState(ANNA, "break", "lunch")

        async def recorded() -> bool:
            return wanted in await queue_role.commands()

        await eventually(recorded)
        await queue_role.publish(
            acd.AgentChanged(
                agent(ANNA, ("zentrale",), chosen="break", activity="break", reason="lunch")
            )
        )
        answer = await request
        assert answer.status_code == 200
        assert answer.json()["applied"] is True
        assert answer.json()["view"]["activity"] == "break"


async def test_a_state_is_on_record_even_while_the_queue_role_is_away(
    web: Web, queue_role: FakeQueueRole
) -> None:
    async with await web.as_(ANNA) as client:
        answer = await client.put("/api/v1/agents/me/state", json={"state": "available"})
        assert answer.status_code == 202
        assert answer.json()["applied"] is False
    assert acd.SetAgentState(ANNA, "available") in await queue_role.commands()


@pytest.mark.parametrize(
    ("asker", "whose", "status"),
    [
        (ANNA, "mehmet.yilmaz", 403),
        (ANNA, "julia.weber", 404),
        (ANNA, "no.body", 404),
        (KOCH, ANNA, 202),
        (ADMIN, ANNA, 202),
        ("markus.lehmann", ANNA, 404),
        ("markus.lehmann", "me", 403),
        (KOCH, "me", 403),
        (KOCH, "markus.lehmann", 404),
    ],
)
async def test_whose_state_somebody_may_set(
    web: Web, queue_role: FakeQueueRole, asker: str, whose: str, status: int
) -> None:
    async with await web.as_(asker) as client:
        answer = await client.put(f"/api/v1/agents/{whose}/state", json={"state": "offline"})
        assert answer.status_code == status
    written = [c for c in await queue_role.commands() if isinstance(c, acd.SetAgentState)]
    assert len(written) == (1 if status == 202 else 0)


async def test_an_unknown_state_is_refused(web: Web) -> None:
    async with await web.as_(ANNA) as client:
        answer = await client.put("/api/v1/agents/me/state", json={"state": "asleep"})
        assert is_problem(answer, 422, "invalid")["errors"][0]["field"] == "body.state"


async def test_the_queue_role_gets_the_configuration_at_start_and_after_changes(
    web: Web, queue_role: FakeQueueRole
) -> None:
    async def configured() -> list[acd.Configure]:
        return [c for c in await queue_role.commands() if isinstance(c, acd.Configure)]

    async def announced() -> bool:
        return len(await configured()) == 1

    await eventually(announced)
    async with await web.as_(ADMIN) as client:
        answer = await client.delete("/api/v1/admin/people/tom.brandt")
        assert answer.status_code == 204
    first, second = await configured()
    assert "tom.brandt" in {a.agent for a in first.agents}
    assert "tom.brandt" not in {a.agent for a in second.agents}


# --- calls ------------------------------------------------------------------------------------


async def originated(redis: Redis) -> list[sip.Originate]:
    """Return the commands telephony got."""
    rows: Any = await redis.xrange(Keys().sip_commands)
    found = [command for _, command in sip_commands.entries(rows)]
    assert all(isinstance(command, sip.Originate) for command in found)
    return found  # type: ignore[return-value]


async def test_a_call_is_asked_for_once_per_key(web: Web, redis: Redis) -> None:
    async with await web.as_(ANNA) as client:
        key = {"Idempotency-Key": "order-1"}
        answers = await asyncio.gather(
            *(client.post("/api/v1/calls", json={"to": "202"}, headers=key) for _ in range(8))
        )
        assert {a.status_code for a in answers} == {202}
        (call,) = {a.json()["call"] for a in answers}
        (command,) = await originated(redis)
        assert (command.call, command.person, command.to) == (call, ANNA, "202")
        assert time.time() < command.expires < time.time() + 60
        answer = await client.post("/api/v1/calls", json={"to": "211"}, headers=key)
        is_problem(answer, 422, "idempotency-key-reused")
        # The same number written differently is the same request.
        answer = await client.post("/api/v1/calls", json={"to": "2 02"}, headers=key)
        assert answer.json()["call"] == call
    async with await web.as_("mehmet.yilmaz") as other:
        answer = await other.post("/api/v1/calls", json={"to": "211"}, headers=key)
        assert answer.status_code == 202
    assert len(await originated(redis)) == 2


async def test_a_repeated_request_dials_when_the_first_never_reached_telephony(
    web: Web, redis: Redis, valkey: ValkeyInstance
) -> None:
    async with await web.as_(ANNA) as client:
        key = {"Idempotency-Key": "order-1"}
        valkey.stop()
        answer = await client.post("/api/v1/calls", json={"to": "202"}, headers=key, timeout=30)
        is_problem(answer, 503, "unavailable")
        valkey.start()

        async def accepted() -> bool:
            answer = await client.post("/api/v1/calls", json={"to": "202"}, headers=key)
            return answer.status_code == 202

        await eventually(accepted)
        assert await accepted()
    assert len(await originated(redis)) == 1


async def test_without_a_key_every_request_is_a_call(web: Web, redis: Redis) -> None:
    async with await web.as_(ANNA) as client:
        for _ in range(2):
            await client.post("/api/v1/calls", json={"to": "+49 (221) 4710-202"})
    assert [c.to for c in await originated(redis)] == ["+492214710202"] * 2


@pytest.mark.parametrize("to", ["", "abc", "202;phone-context=x", "sip:x@y", "+", "9" * 40])
async def test_what_is_no_number_is_not_dialled(web: Web, redis: Redis, to: str) -> None:
    async with await web.as_(ANNA) as client:
        is_problem(await client.post("/api/v1/calls", json={"to": to}), 422, "invalid")
    assert await originated(redis) == []


async def test_without_a_phone_there_is_nothing_to_ring(web: Web) -> None:
    async with await web.as_(ADMIN) as admin:
        assert (await admin.delete("/api/v1/admin/devices/201")).status_code == 204
    async with await web.as_(ANNA) as client:
        answer = await client.post("/api/v1/calls", json={"to": "202"})
        assert is_problem(answer, 409, "conflict")["errors"][0]["code"] == "no-device"


async def test_citizens_may_neither_dial_nor_see_calls_or_queues(web: Web) -> None:
    person = {"id": "c.c", "name": "C C", "roles": ["citizen"], "password": "long enough"}
    async with await web.as_(ADMIN) as admin:
        assert (await admin.post("/api/v1/admin/people", json=person)).status_code == 201
    answer = await web.client.post("/api/v1/login", json={"user": "c.c", "password": "long enough"})
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    client = web.client
    answer = await client.post("/api/v1/calls", json={"to": "202"}, headers=headers)
    is_problem(answer, 403, "not-permitted")
    for path in ("calls", "calls.csv", "calls/x", "queues", "queues/zentrale"):
        answer = await client.get(f"/api/v1/{path}", headers=headers)
        is_problem(answer, 403, "not-permitted")


# --- everything else --------------------------------------------------------------------------


async def test_health_and_metrics(web: Web, redis: Redis) -> None:
    keys = Keys()
    counters = {
        "comms_sip_calls": "3",
        'comms_sip_refused{reason="busy"}': "2",
        "bad name": "1",
        'x{y="\n"}': "1",
        "comms_text": "many",
    }
    await redis.hset(keys.metrics("sip-1"), mapping=counters)
    await web.client.get("/api/v1/health")
    text = (await web.client.get("/metrics")).text
    assert 'comms_sip_calls{instance_role="sip-1"} 3\n' in text
    assert 'comms_sip_refused{instance_role="sip-1",reason="busy"} 2\n' in text
    assert "bad name" not in text
    assert "comms_text" not in text
    assert 'comms_http_requests_total{method="GET",route="/api/v1/health",status="200"}' in text
    assert "anna" not in text


async def test_the_openapi_document_describes_problems_and_has_examples(web: Web) -> None:
    document = (await web.client.get("/api/v1/openapi.json")).json()
    login = document["paths"]["/api/v1/login"]["post"]
    assert set(login["responses"]) >= {"200", "401", "422", "429", "503"}
    reference = login["responses"]["429"]["content"]["application/problem+json"]["schema"]
    assert reference == {"$ref": "#/components/schemas/Problem"}
    schemas = document["components"]["schemas"]
    assert schemas["LoginRequest"]["properties"]["user"]["examples"] == [ANNA]
    # Every reference leads somewhere.
    for part in json.dumps(document).split('"#/components/schemas/')[1:]:
        assert part.split('"')[0] in schemas
    for path, operations in document["paths"].items():
        for operation in operations.values():
            public = path in {"/api/v1/login", "/api/v1/health", "/api/v1/ready"}
            assert bool(operation.get("security")) != public, path
            assert operation["summary"]


def test_the_exported_documents_are_up_to_date() -> None:
    import importlib.util

    root = Path(__file__).resolve().parents[2]
    spec = importlib.util.spec_from_file_location("export", root / "tools/export_schemas.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, text in module.documents().items():
        assert (module.TARGET / name).read_text("utf-8") == text, f"run {spec.origin}"


async def test_the_browser_application_is_served_with_a_policy(web: Web, tmp_path: Path) -> None:
    is_problem(await web.client.get("/console/"), 404, "not-found")
    static = web.config.static
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<title>console</title>")
    (static / "assets" / "app-1a2b.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    answer = await web.client.get("/")
    assert answer.headers["Location"] == "/console/"
    for path in ("/console/", "/console/queues", "/console/index.html"):
        answer = await web.client.get(path)
        assert "console" in answer.text
        assert answer.headers["Cache-Control"] == "no-cache"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "unsafe-inline" not in policy.split("style-src")[0]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    answer = await web.client.get("/console/assets/app-1a2b.js")
    assert "immutable" in answer.headers["Cache-Control"]
    is_problem(await web.client.get("/console/assets/gone.js"), 404, "not-found")
    for path in ("/console/%2e%2e/secret.txt", "/console/..%2fsecret.txt", "/console/%00.txt"):
        assert "secret" not in (await web.client.get(path)).text


async def test_answers_of_the_api_are_not_kept_by_caches(web: Web) -> None:
    answer = await web.client.get("/api/v1/health")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "server" not in answer.headers


async def test_a_taken_port_is_one_clear_line(web: Web) -> None:
    port = int(web.base.rpartition(":")[2])
    with pytest.raises(OperatorError) as error:
        await serve(replace(web.config, port=port))
    assert str(port) in str(error.value)
    assert "web.port" in str(error.value)
    assert "\n" not in str(error.value)


async def test_a_database_that_cannot_be_opened_is_one_clear_line(
    web_config: WebConfig,
) -> None:
    config = replace(web_config, sql_url="sqlite+aiosqlite:////no/such/folder/comms.db")
    with pytest.raises(OperatorError, match=r"the database cannot be used: .*sql\.url"):
        await serve(config)


async def test_the_web_role_runs_on_postgresql(
    web_config: WebConfig, postgres_url: str, queue_role: FakeQueueRole
) -> None:
    async with running(replace(web_config, sql_url=postgres_url)) as web:
        answer = await web.client.get("/api/v1/ready")
        assert answer.json()["ok"] is True


async def test_an_unforeseen_error_is_a_problem_and_its_text_is_not_logged(
    web: Web, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from comms.calls.originate import Originator

    async def broken(*_: object) -> None:
        raise RuntimeError("+4915100000001 is Anna's")

    monkeypatch.setattr(Originator, "do_call", broken)
    async with await web.as_(ANNA) as client:
        answer = await client.post("/api/v1/calls", json={"to": "202"})
        is_problem(answer, 500, "internal")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    out, err = capfd.readouterr()
    assert "RuntimeError" in out + err
    assert "/api/v1/calls" in out + err
    assert "+4915100000001" not in out + err
    assert "Anna" not in out + err
