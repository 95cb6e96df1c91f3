"""A Socket.IO client of the live views, and the rules by which a page applies events."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed


class Refused(Exception):
    """The server refused the connection; the text is its reason."""


def apply(snapshot: dict[str, Any], event: dict[str, Any]) -> None:
    """Apply an event to a snapshot as `comms.live.schemas` says, in place."""
    data = event["data"]
    queues = {q["name"]: q for q in snapshot["queues"]}
    agents = {a["id"]: a for a in snapshot["agents"]}
    calls = {c["id"]: c for c in snapshot["calls"]}
    match event["type"]:
        case "work":
            waiting = queues[data["queue"]]["waiting"]
            waiting[:] = [w for w in waiting if w["id"] != data["id"]] + [data]
            waiting.sort(key=lambda w: (w["rank"], w["id"]))
        case "work_closed":
            waiting = queues[data["queue"]]["waiting"]
            waiting[:] = [w for w in waiting if w["id"] != data["id"]]
        case "queue":
            known = queues.get(data["name"], {"waiting": []})
            queues[data["name"]] = data | {"waiting": known["waiting"]}
        case "queue_removed":
            queues.pop(data["id"], None)
        case "agent":
            agents[data["id"]] = data
        case "agent_removed":
            agents.pop(data["id"], None)
        case "call":
            calls.pop(data["id"], None)
            if data["state"] != "ended":
                calls[data["id"]] = data
        case "queues_current":
            snapshot["queues_current"] = data["current"]
        case unknown:
            raise AssertionError(f"unknown event {unknown}")
    snapshot["queues"] = sorted(queues.values(), key=lambda q: q["name"])
    snapshot["agents"] = sorted(agents.values(), key=lambda a: (a["name"], a["id"]))
    snapshot["calls"] = sorted(calls.values(), key=lambda c: (c["since"], c["id"]))
    snapshot["seq"] = event["seq"]


class LiveClient:
    """One page: holds the newest snapshot with all events applied.

    A gap in the numbers fails the test that looks at `view` afterwards.
    """

    def __init__(self, base: str, token: object, origin: str | None = None) -> None:
        self._url = base.replace("http://", "ws://") + "/socket.io/?EIO=4&transport=websocket"
        self._token = token
        self._origin: Any = origin
        self._socket: ClientConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        #: the newest snapshot with the events since applied; None before the first
        self.view: dict[str, Any] | None = None
        self.events: list[dict[str, Any]] = []
        self.snapshots = 0
        self.over: dict[str, Any] | None = None
        self.closed = False
        self.gap: str | None = None

    async def __aenter__(self) -> LiveClient:
        self._socket = await connect(self._url, origin=self._origin)
        opened = await self._socket.recv()
        assert isinstance(opened, str)
        assert opened.startswith("0")
        await self._socket.send("40" + json.dumps({"token": self._token}))
        answer = await self._socket.recv()
        assert isinstance(answer, str)
        if answer.startswith("44"):
            await self._socket.close()
            raise Refused(json.loads(answer[2:])["message"])
        assert answer.startswith("40")
        self._task = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._socket is not None
        await self._socket.close()
        if self._task is not None:
            await self._task

    async def resync(self) -> dict[str, Any]:
        """Ask for a new snapshot and return it."""
        before = self.snapshots
        assert self._socket is not None
        await self._socket.send('42["resync"]')
        await self.until(lambda: self.snapshots > before)
        return self.copy()

    def copy(self) -> dict[str, Any]:
        """Return what the page shows now."""
        assert self.view is not None
        assert self.gap is None, self.gap
        return copy.deepcopy(self.view)

    async def until(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait until a condition on this client holds."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    def waiting(self, queue: str) -> list[dict[str, Any]]:
        """Return what waits in a queue."""
        return next(q["waiting"] for q in self.copy()["queues"] if q["name"] == queue)

    async def _read(self) -> None:
        assert self._socket is not None
        try:
            async for message in self._socket:
                assert isinstance(message, str)
                if message == "2":
                    await self._socket.send("3")
                elif message.startswith("42"):
                    name, data = json.loads(message[2:])
                    self._take(name, data)
                elif message.startswith("41"):
                    break
                async with self._changed:
                    self._changed.notify_all()
        except ConnectionClosed:
            pass
        finally:
            self.closed = True
            async with self._changed:
                self._changed.notify_all()

    def _take(self, name: str, data: dict[str, Any]) -> None:
        if name == "session_over":
            self.over = data
            return
        if self.view is not None and data["seq"] != self.view["seq"] + 1:
            self.gap = f"{data['seq']} came after {self.view['seq']}"
        if name == "snapshot":
            self.view = data
            self.snapshots += 1
        elif name == "event":
            assert self.view is not None, "an event before the first snapshot"
            self.events.append(data)
            apply(self.view, data)
        else:
            raise AssertionError(f"unknown message {name}")
