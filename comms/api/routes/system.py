"""Health, metrics and the browser application."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastapi import APIRouter, Response
from fastapi.responses import FileResponse, RedirectResponse
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from comms.api.deps import Deps
from comms.api.metrics import other_roles
from comms.api.schemas import Check, Health, Ready
from comms.problems import NotFound
from comms.store.engine import reading

api = APIRouter(tags=["system"])
root = APIRouter(include_in_schema=False)

_CHECK_SECONDS = 2.0
_IMMUTABLE = "public, max-age=31536000, immutable"


@api.get("/health", response_model=Health, summary="Is this process alive")
async def health() -> Health:
    """Answer as long as the process serves requests."""
    return Health()


@api.get(
    "/ready",
    response_model=Ready,
    responses={503: {"model": Ready, "description": "Something is out of reach"}},
    summary="Can this process serve",
)
async def ready(deps: Deps, response: Response) -> Ready:
    """Say what works: database, live store, live views, and the writing of call records."""
    checks = [await _database(deps), await _live_store(deps)]
    checks.append(Check(name="live_views", ok=deps.hub.following))
    checks.append(Check(name="queue_role", ok=deps.hub.state.current))
    if deps.records is not None:
        problem = deps.records.health.problem
        checks.append(Check(name="call_records", ok=problem is None, detail=problem))
    # The queue role and the records recover by themselves and nothing here depends on them.
    needed = {"database", "live_store", "live_views"}
    ok = all(check.ok for check in checks if check.name in needed)
    if not ok:
        response.status_code = 503
    return Ready(ok=ok, checks=tuple(checks))


async def _database(deps: Deps) -> Check:
    try:
        async with asyncio.timeout(_CHECK_SECONDS), reading(deps.engine) as session:
            await session.execute(text("SELECT 1"))
    except (DBAPIError, OSError, TimeoutError) as error:
        return Check(name="database", ok=False, detail=type(error).__name__)
    return Check(name="database", ok=True)


async def _live_store(deps: Deps) -> Check:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await deps.redis.ping()
    except (RedisError, OSError, TimeoutError) as error:
        return Check(name="live_store", ok=False, detail=type(error).__name__)
    return Check(name="live_store", ok=True)


@root.get("/metrics")
async def metrics(deps: Deps) -> Response:
    """Return all roles' counters in Prometheus' text format."""
    body = deps.metrics.exposition() + await other_roles(deps.redis, deps.keys)
    return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")


@root.get("/")
async def start() -> RedirectResponse:
    """Lead to the console."""
    return RedirectResponse("/console/", status_code=307)


@root.get("/console")
async def console_start() -> RedirectResponse:
    """Lead to the console, whose files are named relative to its folder."""
    return RedirectResponse("/console/", status_code=307)


@root.get("/console/{path:path}")
async def console(path: str, deps: Deps) -> Response:
    """Return a file of the browser application; any other path is one of its pages."""
    if deps.static is None:
        raise NotFound("the browser application is not installed")
    file = _file(deps.static, path)
    if file is None and Path(path).suffix:
        # A missing script must not be answered with a page.
        raise NotFound("there is no such file")
    if file is None or file.name == "index.html":
        index = deps.static / "index.html"
        if not index.is_file():
            raise NotFound("the browser application is not installed")
        return FileResponse(index, headers={"Cache-Control": "no-cache"})
    # The names of built assets contain a hash of their content.
    hashed = file.parent.name == "assets"
    return FileResponse(file, headers={"Cache-Control": _IMMUTABLE if hashed else "no-cache"})


def _file(folder: Path, path: str) -> Path | None:
    """Return the file below `folder`, None if there is none or the path leads out of it."""
    if not path or "\x00" in path:
        return None
    base = folder.resolve()
    found = (base / path).resolve()
    return found if found.is_relative_to(base) and found.is_file() else None
