"""What the routes lean on, and who asks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from comms.api.metrics import Metrics
from comms.auth.login import Login
from comms.auth.passwords import Passwords
from comms.auth.sessions import ActiveSession, Sessions
from comms.bus.streams import Keys
from comms.calls.originate import Originator
from comms.live.hub import LiveHub
from comms.people.access import Viewer
from comms.problems import NotAuthenticated
from comms.records import RecordWriter


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the API needs; `comms.web` assembles it."""

    engine: AsyncEngine
    redis: Redis
    keys: Keys
    hub: LiveHub
    sessions: Sessions
    login: Login
    passwords: Passwords
    originator: Originator
    metrics: Metrics
    #: None where another process writes the call records
    records: RecordWriter | None = None
    #: folder of the built browser application
    static: Path | None = None


def services(request: Request) -> Services:
    """Return what `create_app` was given."""
    found: Services = request.app.state.services
    return found


Deps = Annotated[Services, Depends(services)]

_bearer = HTTPBearer(
    auto_error=False, scheme_name="session", description="The token that `POST /login` returned."
)
# Refused before hashing: a token has 43 characters.
_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,200}")


async def active_session(
    request: Request, deps: Deps, _documented: Annotated[object, Security(_bearer)]
) -> ActiveSession:
    """Return the session of the bearer token.

    Raises:
        NotAuthenticated: there is no token, or no session for it.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not _TOKEN.fullmatch(token):
        raise NotAuthenticated
    return await deps.sessions.find(token)


Session = Annotated[ActiveSession, Depends(active_session)]


def viewer(session: Session) -> Viewer:
    """Return the person who asks."""
    return session.viewer


Asker = Annotated[Viewer, Depends(viewer)]
