"""A stand-in for the platform that does what a test tells it to: send, leave out, refuse, vanish.

It speaks the real contract (`comms.live.schemas`, `comms.api.schemas`) and serves the built
console. The tests on the real application prove that both speak the same; this one is for what a
healthy platform does not do.
"""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import socketio
import socketio.exceptions
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from comms.api.schemas import CallItem, CallPage
from comms.live.schemas import (
    LiveAgent,
    LiveCall,
    LiveModel,
    LiveQueue,
    LiveWork,
    Me,
    PersonBrief,
    Snapshot,
)

STATIC = Path(__file__).resolve().parents[2] / "comms" / "static"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def ago(seconds: float) -> datetime:
    """Return the time `seconds` ago."""
    return datetime.now(UTC) - timedelta(seconds=seconds)


def queue(name: str, de: str, en: str, **facts: Any) -> LiveQueue:
    """Return a queue with quiet figures unless `facts` say otherwise."""
    return LiveQueue(
        **{
            "name": name,
            "title": {"de": de, "en": en},
            "number": None,
            "open": True,
            "offered": 0,
            "answered": 0,
            "abandoned": 0,
            "answered_in_time": 0,
            "service_level_seconds": 30.0,
            "member": False,
            "supervised": False,
            "numbers_visible": True,
            **facts,
        }
    )


def agent(id_: str, name: str, extension: str, activity: str, **facts: Any) -> LiveAgent:
    """Return an agent whose phone is registered unless `facts` say otherwise."""
    chosen = activity if activity in ("available", "break", "offline") else "available"
    return LiveAgent(
        **{
            "id": id_,
            "name": name,
            "extension": extension,
            "activity": activity,
            "chosen": chosen,
            "since": ago(60),
            "reachable": activity != "offline",
            **facts,
        }
    )


def work(id_: str, name: str, waited: float, **facts: Any) -> LiveWork:
    """Return work that has waited for so many seconds."""
    since = ago(waited)
    return LiveWork(
        **{
            "id": id_,
            "queue": name,
            "media": "voice",
            "state": "waiting",
            "since": since,
            "rank": (0.0, since.timestamp()),
            "number": "+4922147199999",
            **facts,
        }
    )


class Musterstadt:
    """What the stand-in shows: a busy hour of the demonstration city, seen by one person."""

    def __init__(self, *, supervisor: bool = False) -> None:
        own = ("buergertelefon", "zentrale")
        every = (*own, "kfz", "migration")
        self.me = (
            Me(
                id="sabine.koch",
                name="Sabine Koch",
                extension="221",
                language="de",
                roles=("staff", "supervisor"),
                supervises=every,
            )
            if supervisor
            else Me(
                id="anna.schmidt",
                name="Anna Schmidt",
                extension="201",
                language="de",
                roles=("staff", "agent"),
                queues=own,
            )
        )
        self.queues = [
            queue(
                "buergertelefon",
                "Bürgertelefon",
                "Citizens' line",
                number="150",
                offered=148,
                answered=131,
                abandoned=9,
                answered_in_time=104,
                member=not supervisor,
                supervised=supervisor,
                waiting=(
                    work("w1", "buergertelefon", 74, state="offered", agents=("mehmet.yilmaz",)),
                    work("w2", "buergertelefon", 41, number="+4917655512345"),
                    work("w3", "buergertelefon", 12, number=None),
                    work("w4", "buergertelefon", 4, number="+49221998877"),
                ),
            ),
            queue(
                "zentrale",
                "Telefonzentrale",
                "Switchboard",
                number="160",
                offered=212,
                answered=201,
                abandoned=4,
                answered_in_time=188,
                member=not supervisor,
                supervised=supervisor,
                waiting=(work("w5", "zentrale", 9, number="+4922155501"),),
            ),
        ]
        if not supervisor:
            self.queues.append(
                queue(
                    "kfz",
                    "Kfz-Zulassung",
                    "Vehicle registration",
                    number="170",
                    offered=88,
                    answered=61,
                    abandoned=17,
                    answered_in_time=29,
                    numbers_visible=False,
                )
            )
        else:
            self.queues += [
                queue(
                    "kfz",
                    "Kfz-Zulassung",
                    "Vehicle registration",
                    number="170",
                    offered=88,
                    answered=61,
                    abandoned=17,
                    answered_in_time=29,
                    supervised=True,
                ),
                queue(
                    "migration",
                    "Ausländerbehörde",
                    "Immigration office",
                    number="180",
                    open=False,
                    supervised=True,
                ),
            ]
        self.agents = [
            agent(
                "anna.schmidt",
                "Anna Schmidt",
                "201",
                "busy",
                queues=own,
                since=ago(133),
                work="w0",
            ),
            agent(
                "mehmet.yilmaz",
                "Mehmet Yilmaz",
                "202",
                "offered",
                queues=own,
                since=ago(3),
                work="w1",
            ),
        ]
        if supervisor:
            self.agents += [
                agent(
                    "julia.weber",
                    "Julia Weber",
                    "211",
                    "wrap-up",
                    queues=("kfz",),
                    until=ago(-24),
                    since=ago(6),
                ),
                agent(
                    "olena.kovalenko",
                    "Olena Kovalenko",
                    "212",
                    "break",
                    queues=("kfz", "migration"),
                    reason="lunch",
                    since=ago(1260),
                ),
                agent("tom.brandt", "Tom Brandt", "213", "offline", queues=("kfz",)),
            ]
        anna = PersonBrief(id="anna.schmidt", name="Anna Schmidt", extension="201")
        self.calls = (
            []
            if supervisor
            else [
                LiveCall(
                    id="c0",
                    direction="inbound",
                    state="talking",
                    since=ago(133),
                    from_number="+4922147110023",
                    to_number="150",
                    queue="buergertelefon",
                    to_person=anna,
                )
            ]
        )
        self.history = [_past_call(index, anna) for index in range(120)]


def _past_call(index: int, anna: PersonBrief) -> CallItem:
    started = ago(600 + 1100 * index)
    missed, internal = index % 6 == 4, index % 5 == 2
    mehmet = PersonBrief(id="mehmet.yilmaz", name="Mehmet Yilmaz", extension="202")
    answered = None if missed else started + timedelta(seconds=18 + index % 40)
    talked = None if missed else 35.0 + 17 * (index % 23)
    return CallItem(
        id=f"h{index}",
        direction="internal" if internal else "outbound" if index % 7 == 3 else "inbound",
        from_number="202" if internal else f"+4922155500{index:03}",
        to_number="201" if internal else "150",
        from_person=mehmet if internal else None,
        to_person=anna if internal else None,
        started=started,
        answered=answered,
        ended=(answered or started) + timedelta(seconds=talked or 25),
        ended_by="caller",
        cause=("abandoned" if index % 4 else "no-answer") if missed else "completed",
        queue=None if internal else "buergertelefon" if index % 2 else "zentrale",
        agent=None if missed or internal else anna if index % 3 else mehmet,
        waiting=None if internal else 6.0 + index % 50,
        talking=talked,
    )


class FakePlatform:
    """Runs in a thread of its own; tests call its methods from theirs."""

    def __init__(self, city: Musterstadt) -> None:
        self.city = city
        self.seq = 100
        #: bodies of what the page asked for: (method, path, body, idempotency key)
        self.requests: list[tuple[str, str, Any, str | None]] = []
        #: path -> problem to answer with
        self.refuse: dict[str, tuple[int, str]] = {}
        #: why live connections are refused, if they are
        self.refuse_live: str | None = None
        #: how many snapshots were sent, and how many of them were asked for
        self.snapshots = 0
        self.resyncs = 0
        self._sio = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins=[])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._started = threading.Event()
        self._port = 0
        self._server: uvicorn.Server | None = None

    @property
    def url(self) -> str:
        """Where the console is."""
        return f"http://127.0.0.1:{self._port}/console/"

    def start(self) -> None:
        """Listen on a free port, or on the one it had before."""
        self._started.clear()
        self._thread.start()
        if not self._started.wait(10):
            raise RuntimeError("the stand-in did not start")

    def stop(self) -> None:
        """End, with all connections."""
        if self._server is not None:
            self._server.should_exit = True
            self._server.force_exit = True
        self._thread.join(10)

    def restarted(self) -> FakePlatform:
        """Return a new one on the same port with the same city, as after a restart."""
        new = FakePlatform(self.city)
        new._port = self._port
        new.start()
        return new

    def event(self, type_: str, data: LiveModel, *, skip: int = 0, repeat: bool = False) -> None:
        """Send an event; `skip` numbers are left out before it, `repeat` uses the last again."""
        self.seq += 0 if repeat else 1 + skip
        message = {"seq": self.seq, "type": type_, "data": data.model_dump(mode="json")}
        self._call(self._sio.emit("event", message))

    def drop(self) -> None:
        """Close all live connections from this side."""
        self._call(self._drop())

    def _call(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(5)

    async def _drop(self) -> None:
        for sid in list(self._sio.manager.rooms.get("/", {}).get(None, {})):
            await self._sio.disconnect(sid)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        config = uvicorn.Config(
            socketio.ASGIApp(self._sio, self._app()),
            host="127.0.0.1",
            port=self._port,
            log_level="error",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._loop.run_until_complete(self._serve(self._server, config))

    async def _serve(self, server: uvicorn.Server, config: uvicorn.Config) -> None:
        socket = config.bind_socket()
        self._port = socket.getsockname()[1]
        self._started.set()
        await server.serve(sockets=[socket])

    def _snapshot(self) -> dict[str, Any]:
        self.snapshots += 1
        city = self.city
        return Snapshot(
            seq=self.seq,
            now=ago(0),
            me=city.me,
            queues=tuple(city.queues),
            agents=tuple(city.agents),
            calls=tuple(city.calls),
        ).model_dump(mode="json")

    def _app(self) -> FastAPI:
        app = FastAPI()

        @app.middleware("http")
        async def policy(request: Request, call_next: Any) -> Any:
            path = request.url.path
            if path.startswith("/api/"):
                body = await request.json() if await request.body() else None
                key = request.headers.get("Idempotency-Key")
                self.requests.append((request.method, path.removeprefix("/api/v1"), body, key))
                if refusal := self.refuse.get(path.removeprefix("/api/v1")):
                    status, id_ = refusal
                    problem = {"type": f"urn:comms:problem:{id_}", "title": id_, "status": status}
                    return JSONResponse(problem, status, media_type="application/problem+json")
            response = await call_next(request)
            response.headers["Content-Security-Policy"] = POLICY
            return response

        @app.post("/api/v1/login")
        async def login() -> Any:
            me = self.city.me.model_dump(mode="json")
            return {"token": "t", "expires_at": ago(-36000).isoformat(), "person": me}

        @app.post("/api/v1/logout", status_code=204)
        async def logout() -> None:
            return None

        @app.delete("/api/v1/agents/me/wrap-up", status_code=204)
        async def end_wrap_up() -> None:
            return None

        @app.put("/api/v1/agents/{agent}/state", status_code=202)
        async def set_state(agent: str) -> Any:
            return {"agent": agent, "state": "break", "reason": None, "applied": False}

        @app.get("/api/v1/calls")
        async def calls(limit: int = 50, cursor: int = 0, direction: str | None = None) -> Any:
            found = [c for c in self.city.history if direction in (None, c.direction)]
            following = cursor + limit
            page = CallPage(
                items=tuple(found[cursor:following]),
                next=str(following) if following < len(found) else None,
            )
            return page.model_dump(mode="json")

        @app.post("/api/v1/calls", status_code=202)
        async def call() -> Any:
            return {"call": "c9", "to": ""}

        @self._sio.event
        async def connect(sid: str, environ: Any, auth: Any) -> None:
            if self.refuse_live is not None:
                raise socketio.exceptions.ConnectionRefusedError(self.refuse_live)
            if not isinstance(auth, dict) or auth.get("token") != "t":
                raise socketio.exceptions.ConnectionRefusedError("not-authenticated")
            await self._sio.emit("snapshot", self._snapshot(), to=sid)

        @self._sio.event
        async def resync(sid: str) -> None:
            self.resyncs += 1
            await self._sio.emit("snapshot", self._snapshot(), to=sid)

        app.mount("/console", StaticFiles(directory=STATIC, html=True))
        return app
