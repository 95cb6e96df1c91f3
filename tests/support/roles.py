"""Stand-ins for the queue role and telephony that keep to the contracts of `comms.bus`."""

from __future__ import annotations

from typing import Any

import msgspec
from redis.asyncio import Redis

from comms.bus import acd, sip
from comms.bus.streams import Codec, Keys

_acd_events: Codec[acd.Event] = Codec(acd.Event)
_sip_events: Codec[sip.Event] = Codec(sip.Event)
_commands: Codec[acd.Command] = Codec(acd.Command)


class FakeQueueRole:
    """Writes events and views in one transaction, as the queue role's script does."""

    def __init__(self, redis: Redis, keys: Keys | None = None) -> None:
        self.redis = redis
        self.keys = keys or Keys()

    async def publish(self, *events: acd.Event) -> None:
        """Publish events and the views they result in."""
        keys = self.keys
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.set(keys.acd_lease, "test", ex=3600)
            for event in events:
                pipe.xadd(keys.acd_events, _acd_events.fields(event))  # type: ignore[arg-type]
                match event:
                    case acd.WorkChanged(view=work):
                        pipe.hset(keys.acd_works, work.work, msgspec.json.encode(work))
                    case acd.WorkClosed() | acd.WorkRejected():
                        pipe.hdel(keys.acd_works, event.work)
                    case acd.AgentChanged(view=agent):
                        pipe.hset(keys.acd_agents, agent.agent, msgspec.json.encode(agent))
                    case acd.AgentRemoved():
                        pipe.hdel(keys.acd_agents, event.agent)
                    case acd.QueueChanged(view=queue):
                        pipe.hset(keys.acd_queues, queue.queue, msgspec.json.encode(queue))
                    case acd.QueueRemoved():
                        pipe.hdel(keys.acd_queues, event.queue)
            await pipe.execute()

    async def call(self, view: sip.CallView) -> None:
        """Publish a call's state as telephony does."""
        keys = self.keys
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.xadd(keys.sip_events, _sip_events.fields(sip.CallChanged(view)))  # type: ignore[arg-type]
            if view.state == "ended":
                pipe.hdel(keys.sip_calls_view, view.call)
            else:
                pipe.hset(keys.sip_calls_view, view.call, msgspec.json.encode(view))
            await pipe.execute()

    async def musterstadt(self) -> None:
        """Publish Musterstadt's queues and agents."""
        from comms import seed

        events: list[acd.Event] = [
            acd.QueueChanged(acd.QueueView(q.rules.name, q.rules.title, open=True))
            for q in seed.QUEUES
        ]
        for person in seed.PEOPLE:
            queues = tuple(
                q.rules.name for q in seed.QUEUES if any(m.person == person.id for m in q.members)
            )
            if queues:
                events.append(acd.AgentChanged(agent(person.id, queues, person.name)))
        await self.publish(*events)

    async def commands(self) -> list[acd.Command]:
        """Return the journal."""
        rows: Any = await self.redis.xrange(self.keys.acd_journal)
        return [command for _, command in _commands.entries(rows)]


def agent(id_: str, queues: tuple[str, ...], name: str = "", **changes: Any) -> acd.AgentView:
    """Return an agent that is available."""
    view = acd.AgentView(
        agent=id_,
        name=name or id_,
        extension="201",
        activity="available",
        chosen="available",
        since=1_800_000_000.0,
        reachable=True,
        queues=queues,
    )
    return msgspec.structs.replace(view, **changes)


def work(id_: str, queue: str, since: float = 1_800_000_000.0, **changes: Any) -> acd.WorkView:
    """Return a voice call that waits."""
    view = acd.WorkView(
        work=id_,
        queue=queue,
        media="voice",
        state="waiting",
        since=since,
        rank=(0.0, since),
        owner="sip-1",
        number="+4915100000001",
    )
    return msgspec.structs.replace(view, **changes)
