"""Live views: snapshots, numbered events, permissions, resync, revoked sessions."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from pydantic import TypeAdapter
from redis.asyncio import Redis
from support.live_client import LiveClient, Refused
from support.roles import FakeQueueRole, agent, work
from support.servers import ValkeyInstance, eventually
from support.web import Web, running
from websockets.exceptions import InvalidStatus

from comms.bus import acd, sip
from comms.live import socket as live_socket
from comms.live.schemas import Event, Snapshot
from comms.web import WebConfig

EVENT: TypeAdapter[Any] = TypeAdapter(Event)
ANNA, KOCH, JULIA = "anna.schmidt", "sabine.koch", "julia.weber"


def shown(view: dict[str, Any]) -> dict[str, Any]:
    """Return a view without what differs between two snapshots of one state."""
    return {key: value for key, value in view.items() if key not in {"seq", "now"}}


async def caught_up(queues: FakeQueueRole, client: LiveClient) -> None:
    """Wait until everything that was published before, on both streams, has reached the client."""
    person = client.copy()["me"]["id"]
    await queues.call(sip.CallView("mark", "internal", "ringing", 1.0, from_person=person))
    await client.until(lambda: any(c["id"] == "mark" for c in (client.view or {})["calls"]))
    await queues.call(sip.CallView("mark", "internal", "ended", 1.0, from_person=person))
    await client.until(lambda: all(c["id"] != "mark" for c in (client.view or {})["calls"]))
    mark = acd.QueueView("zentrale", {"de": "mark"}, open=True, offered=random.getrandbits(40))
    await queues.publish(acd.QueueChanged(mark))
    await client.until(
        lambda: any(q["offered"] == mark.offered for q in (client.view or {})["queues"])
    )


async def test_a_snapshot_shows_what_the_views_hold(web: Web, queue_role: FakeQueueRole) -> None:
    await queue_role.musterstadt()
    second = work("w2", "zentrale", since=1_800_000_002.0)
    first = work("w1", "zentrale", since=1_800_000_001.0, state="offered", agents=(ANNA,))
    taken = work("w3", "zentrale", state="assigned", agents=("mehmet.yilmaz",))
    await queue_role.publish(*(acd.WorkChanged(w) for w in (second, taken, first)))
    async with LiveClient(web.base, await web.token(ANNA)) as client:
        await client.until(lambda: client.view is not None)
        view = client.copy()
        Snapshot.model_validate_json(json.dumps(view))
        assert view["me"]["id"] == ANNA
        assert [w["id"] for w in client.waiting("zentrale")] == ["w1", "w2"]
        assert client.waiting("zentrale")[0]["number"] == "+4915100000001"
        assert view["queues_current"] is True
        facts = {q["name"]: (q["member"], q["numbers_visible"]) for q in view["queues"]}
        assert facts == {
            "buergertelefon": (True, True),
            "kfz": (False, False),
            "migration": (False, False),
            "zentrale": (True, True),
        }
        assert {a["id"] for a in view["agents"]} == {ANNA, "mehmet.yilmaz"}


async def test_events_follow_in_order_and_without_a_gap(
    web: Web, queue_role: FakeQueueRole
) -> None:
    await queue_role.musterstadt()
    async with LiveClient(web.base, await web.token(ANNA)) as client:
        await client.until(lambda: client.view is not None)
        await queue_role.publish(acd.WorkChanged(work("w1", "zentrale")))
        await queue_role.publish(
            acd.WorkChanged(work("w1", "zentrale", state="assigned", agents=(ANNA,)))
        )
        await queue_role.publish(
            acd.AgentChanged(agent(ANNA, ("zentrale",), "Anna Schmidt", activity="busy"))
        )
        await client.until(lambda: len(client.events) >= 3)
        assert [e["type"] for e in client.events] == ["work", "work_closed", "agent"]
        assert client.events[1]["data"]["outcome"] == "answered"
        for event in client.events:
            EVENT.validate_json(json.dumps(event))
        assert client.gap is None


async def test_work_that_moves_leaves_one_queue_and_joins_the_other(
    web: Web, queue_role: FakeQueueRole
) -> None:
    await queue_role.musterstadt()
    async with (
        LiveClient(web.base, await web.token(ANNA)) as anna,
        LiveClient(web.base, await web.token("olena.kovalenko")) as olena,
    ):
        await anna.until(lambda: anna.view is not None)
        await olena.until(lambda: olena.view is not None)
        await queue_role.publish(acd.WorkChanged(work("w1", "migration")))
        await queue_role.publish(acd.WorkChanged(work("w1", "zentrale")))
        await olena.until(lambda: len(olena.events) == 2)
        await anna.until(lambda: len(anna.events) == 1)
        assert [(e["type"], e["data"].get("outcome")) for e in olena.events] == [
            ("work", None),
            ("work_closed", "moved"),
        ]
        assert [e["data"]["queue"] for e in anna.events] == ["zentrale"]


async def test_agents_of_other_queues_learn_neither_numbers_nor_who_waits(
    web: Web, queue_role: FakeQueueRole
) -> None:
    await queue_role.musterstadt()
    await queue_role.publish(acd.WorkChanged(work("w1", "kfz")))
    async with LiveClient(web.base, await web.token(ANNA)) as anna:
        await anna.until(lambda: anna.view is not None)
        await queue_role.publish(acd.WorkChanged(work("w2", "kfz")))
        await queue_role.publish(acd.AgentChanged(agent(JULIA, ("kfz",), activity="busy")))
        await caught_up(queue_role, anna)
        assert anna.waiting("kfz") == []
        assert {e["type"] for e in anna.events} == {"queue", "call"}
        assert "+4915100000001" not in str(anna.view)


@pytest.mark.parametrize(
    ("person", "queues", "waiting"),
    [
        ("markus.lehmann", 0, 0),
        (ANNA, 4, 0),
        (JULIA, 4, 1),
        (KOCH, 4, 1),
        ("katrin.vogel", 4, 1),
    ],
)
async def test_each_role_sees_what_it_may(
    web: Web, queue_role: FakeQueueRole, person: str, queues: int, waiting: int
) -> None:
    await queue_role.musterstadt()
    await queue_role.publish(acd.WorkChanged(work("w1", "kfz")))
    async with LiveClient(web.base, await web.token(person)) as client:
        await client.until(lambda: client.view is not None)
        view = client.copy()
        assert len(view["queues"]) == queues
        assert sum(len(q["waiting"]) for q in view["queues"]) == waiting


async def test_own_calls_are_shown_until_they_end(web: Web, queue_role: FakeQueueRole) -> None:
    mine = sip.CallView("c1", "internal", "ringing", 1.0, from_person=ANNA, to_person=JULIA)
    others = sip.CallView("c2", "internal", "talking", 1.0, from_person=JULIA, to_person=KOCH)
    await queue_role.call(mine)
    await queue_role.call(others)
    async with LiveClient(web.base, await web.token(ANNA)) as client:
        await client.until(lambda: client.view is not None)
        (call,) = client.copy()["calls"]
        assert (call["id"], call["to_person"]["name"]) == ("c1", "Julia Weber")
        await queue_role.call(replace_view(mine, state="talking"))
        await queue_role.call(replace_view(mine, state="ended", cause="completed"))
        await client.until(lambda: len(client.events) == 2)
        assert client.copy()["calls"] == []
        assert client.events[-1]["data"]["cause"] == "completed"


async def test_a_call_that_goes_on_to_somebody_else_is_over_for_the_first(
    web: Web, queue_role: FakeQueueRole
) -> None:
    mine = sip.CallView("c1", "inbound", "talking", 1.0, to_person=ANNA)
    await queue_role.call(mine)
    async with LiveClient(web.base, await web.token(ANNA)) as client:
        await client.until(lambda: client.view is not None)
        await queue_role.call(replace_view(mine, to_person=JULIA))
        await client.until(lambda: client.copy()["calls"] == [])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("person", [ANNA, KOCH, "olena.kovalenko"])
async def test_snapshot_and_events_make_the_same_as_a_fresh_snapshot(
    web: Web, queue_role: FakeQueueRole, person: str, seed: int
) -> None:
    """Whatever happens: old state + events == fresh state."""
    chance = random.Random(f"{person} {seed}")
    await queue_role.musterstadt()
    async with LiveClient(web.base, await web.token(person)) as client:
        await client.until(lambda: client.view is not None)
        for _ in range(40):
            await queue_role.publish(*(anything(chance) for _ in range(chance.randint(1, 6))))
            if chance.random() < 0.5:
                await queue_role.call(any_call(chance, person))
        await caught_up(queue_role, client)
        folded = client.copy()
        fresh = await client.resync()
        assert shown(folded) == shown(fresh)
        async with LiveClient(web.base, await web.token(person)) as other:
            await other.until(lambda: other.view is not None)
            assert shown(other.copy()) == shown(fresh)


QUEUES = ("zentrale", "kfz", "migration", "buergertelefon")


def anything(chance: random.Random) -> acd.Event:
    """Return any event that may happen, also for things that are not there."""
    id_, queue = f"w{chance.randrange(12)}", chance.choice(QUEUES)
    person = chance.choice((ANNA, JULIA, "olena.kovalenko", "tom.brandt"))
    match chance.randrange(8):
        case 0 | 1 | 2 | 3:
            state = chance.choice(("waiting", "waiting", "offered", "assigned"))
            priority = float(-chance.randrange(2))
            since = float(chance.randrange(1_000, 1_010))
            return acd.WorkChanged(
                work(id_, queue, since, state=state, rank=(priority, since), agents=(person,))
            )
        case 4:
            outcome = chance.choice(("answered", "abandoned", "menu"))
            return acd.WorkClosed(id_, queue, "sip-1", outcome, 1.0)
        case 5:
            served = tuple(sorted(chance.sample(QUEUES, chance.randint(1, 3))))
            activity = chance.choice(("available", "busy", "wrap-up", "break"))
            return acd.AgentChanged(agent(person, served, activity=activity))
        case 6:
            return acd.AgentRemoved(person)
        case _:
            facts = acd.QueueView(queue, {"de": queue}, open=chance.random() < 0.5)
            return acd.QueueChanged(facts)


def any_call(chance: random.Random, person: str) -> sip.CallView:
    """Return any state of one of a few calls."""
    return sip.CallView(
        f"c{chance.randrange(4)}",
        "internal",
        chance.choice(("ringing", "talking", "ended")),
        float(chance.randrange(100)),
        from_person=chance.choice((person, "tom.brandt")),
        to_person=chance.choice((person, JULIA)),
    )


async def test_removed_queues_disappear(web: Web, queue_role: FakeQueueRole) -> None:
    await queue_role.musterstadt()
    async with LiveClient(web.base, await web.token(KOCH)) as client:
        await client.until(lambda: client.view is not None)
        await queue_role.publish(acd.QueueRemoved("kfz"))
        await client.until(lambda: len(client.events) == 1)
        assert "kfz" not in {q["name"] for q in client.copy()["queues"]}


async def test_a_queue_role_that_stops_is_noticed(
    web: Web, queue_role: FakeQueueRole, redis: Redis
) -> None:
    await queue_role.musterstadt()
    async with LiveClient(web.base, await web.token(ANNA)) as client:
        await client.until(lambda: client.view is not None)
        await redis.delete(queue_role.keys.acd_lease)
        await client.until(lambda: client.copy()["queues_current"] is False)
        await queue_role.musterstadt()
        await client.until(lambda: client.copy()["queues_current"] is True)


@pytest.mark.parametrize("token", ["", "wrong", "x" * 43, 7, None, {"a": 1}])
async def test_without_a_session_nobody_gets_in(web: Web, token: object) -> None:
    with pytest.raises(Refused, match="not-authenticated"):
        async with LiveClient(web.base, token):
            pass


async def test_pages_of_other_sites_do_not_get_in(musterstadt: WebConfig) -> None:
    config = replace(musterstadt, origins=("https://city.example",))
    async with running(config) as web:
        token = await web.token(ANNA)
        for origin in (web.base, web.base.replace("http:", "https:"), "https://city.example"):
            async with LiveClient(web.base, token, origin) as client:
                await client.until(lambda client=client: client.view is not None)
        with pytest.raises(InvalidStatus):
            async with LiveClient(web.base, token, "https://evil.example"):
                pass


async def test_logging_out_closes_the_pages_of_that_session_only(web: Web) -> None:
    one, other = await web.token(ANNA), await web.token(ANNA)
    async with LiveClient(web.base, one) as first, LiveClient(web.base, other) as second:
        await first.until(lambda: first.view is not None)
        await second.until(lambda: second.view is not None)
        answer = await web.client.post("/api/v1/logout", headers={"Authorization": f"Bearer {one}"})
        assert answer.status_code == 204
        await first.until(lambda: first.closed)
        assert first.over == {"reason": "logged-out"}
        await second.resync()
        assert not second.closed


async def test_a_changed_person_sees_the_new_permissions_at_once(web: Web) -> None:
    admin = await web.as_("katrin.vogel")
    async with admin, LiveClient(web.base, await web.token("markus.lehmann")) as client:
        await client.until(lambda: client.view is not None)
        body = {"name": "Markus Lehmann", "extension": "242", "roles": ["staff", "agent"]}
        answer = await admin.put("/api/v1/admin/people/markus.lehmann", json=body)
        assert answer.status_code == 200
        await client.until(lambda: client.copy()["me"]["roles"] == ["agent", "staff"])


async def test_losing_a_role_ends_the_session(web: Web) -> None:
    admin = await web.as_("katrin.vogel")
    async with admin, LiveClient(web.base, await web.token(KOCH)) as client:
        await client.until(lambda: client.view is not None)
        body = {"name": "Sabine Koch", "extension": "221", "roles": ["staff"]}
        answer = await admin.put(f"/api/v1/admin/people/{KOCH}", json=body)
        assert answer.status_code == 200
        await client.until(lambda: client.closed)
        assert client.over == {"reason": "revoked"}


async def test_a_slow_client_gets_a_snapshot_instead_of_a_growing_queue(
    web: Web, queue_role: FakeQueueRole, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue_role.musterstadt()
    async with LiveClient(web.base, await web.token(ANNA)) as client:
        await client.until(lambda: client.view is not None)
        # Pretend that the network takes nothing: more packets wait than may.
        monkeypatch.setattr(live_socket, "MAX_PENDING", -1)
        await queue_role.publish(acd.WorkChanged(work("w1", "zentrale")))
        await client.until(lambda: client.snapshots == 2)
        assert [w["id"] for w in client.waiting("zentrale")] == ["w1"]
        assert client.events == []


async def test_after_the_live_store_was_away_pages_are_right_again(
    web: Web, queue_role: FakeQueueRole, valkey: ValkeyInstance
) -> None:
    await queue_role.musterstadt()
    async with LiveClient(web.base, await web.token(ANNA)) as client:
        await client.until(lambda: client.view is not None)
        valkey.stop()
        await client.until(lambda: client.copy()["queues_current"] is False)
        valkey.start()
        await queue_role.publish(acd.WorkChanged(work("w1", "zentrale")))
        await client.until(
            lambda: [w["id"] for w in client.waiting("zentrale")] == ["w1"], seconds=15
        )
        assert client.copy()["queues_current"] is True


async def test_a_stream_that_was_cut_is_made_up_for_by_a_snapshot(
    musterstadt: WebConfig, queue_role: FakeQueueRole, redis: Redis
) -> None:
    """Entries this process never read are gone: the views tell what they said."""
    await queue_role.musterstadt()
    async with running(musterstadt) as web, LiveClient(web.base, await web.token(ANNA)) as client:
        await client.until(lambda: client.view is not None)
        async with redis.pipeline(transaction=True) as pipe:
            # In one transaction: no reader can be between writing and cutting.
            view = work("w1", "zentrale")
            pipe.hset(queue_role.keys.acd_works, "w1", msgspec.json.encode(view))
            for number in range(600):
                facts = acd.QueueView("kfz", {"de": "kfz"}, open=True, offered=number)
                message = msgspec.json.encode(acd.QueueChanged(facts))
                pipe.xadd(queue_role.keys.acd_events, {b"m": message})
            pipe.xtrim(queue_role.keys.acd_events, maxlen=550, approximate=False)
            await pipe.execute()
        await client.until(lambda: [w["id"] for w in client.waiting("zentrale")] == ["w1"])


async def test_an_event_nobody_knows_is_counted_and_passed_over(
    web: Web, queue_role: FakeQueueRole, redis: Redis
) -> None:
    await queue_role.musterstadt()
    async with LiveClient(web.base, await web.token(ANNA)) as client:
        await client.until(lambda: client.view is not None)
        await redis.xadd(queue_role.keys.acd_events, {b"m": b'{"type":"from-the-future"}'})
        await redis.xadd(queue_role.keys.acd_events, {b"x": b"?"})
        await queue_role.publish(acd.WorkChanged(work("w1", "zentrale")))
        await client.until(lambda: len(client.events) == 1)

    async def counted() -> bool:
        return "comms_live_unknown_events 2.0" in (await web.client.get("/metrics")).text

    await eventually(counted)


async def test_names_follow_the_configuration(web: Web, queue_role: FakeQueueRole) -> None:
    await queue_role.call(sip.CallView("c1", "internal", "talking", 1.0, ANNA, JULIA))
    mine = sip.CallView("c2", "internal", "talking", 1.0, from_person=ANNA, to_person=JULIA)
    await queue_role.call(mine)
    admin = await web.as_("katrin.vogel")
    async with admin, LiveClient(web.base, await web.token(ANNA)) as client:
        await client.until(lambda: client.view is not None)
        body = {"name": "Julia Other", "extension": "211", "roles": ["staff", "agent"]}
        await admin.put(f"/api/v1/admin/people/{JULIA}", json=body)
        await client.until(lambda: client.copy()["calls"][0]["to_person"]["name"] == "Julia Other")


def replace_view(view: sip.CallView, **changes: Any) -> sip.CallView:
    """Return a call with some fields changed."""
    return msgspec.structs.replace(view, **changes)
