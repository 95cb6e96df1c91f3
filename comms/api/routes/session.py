"""Log-in, log-out, and what a person may know of themselves."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from comms.api.deps import Asker, Deps, Session
from comms.api.schemas import LoginAnswer, LoginRequest, MeAnswer
from comms.live.views import agent_view, when
from comms.people.queries import me_of
from comms.problems import TooManyAttempts, Unavailable, WrongCredentials

router = APIRouter(tags=["session"])


@router.post("/login", response_model=LoginAnswer, summary="Log in")
async def log_in(request: Request, given: LoginRequest, deps: Deps) -> LoginAnswer:
    """Return a bearer token for the `Authorization` header.

    Unknown users and wrong passwords get the same answer. After some failures the account and the
    address have to wait; `Retry-After` says how long.
    """
    address = request.client.host if request.client else "unknown"
    try:
        done = await deps.login.do_log_in(given.user, given.password, address)
    except (WrongCredentials, TooManyAttempts, Unavailable) as error:
        deps.metrics.logins.labels(error.code).inc()
        raise
    deps.metrics.logins.labels("ok").inc()
    return LoginAnswer(token=done.token, expires_at=when(done.expires), person=me_of(done.viewer))


@router.post("/logout", status_code=204, summary="Log out")
async def log_out(session: Session, deps: Deps) -> Response:
    """End this session; its live connections close."""
    await deps.sessions.close(session.token_hash)
    return Response(status_code=204)


@router.get("/me", response_model=MeAnswer, summary="Who am I")
async def me(asker: Asker, session: Session, deps: Deps) -> MeAnswer:
    """Return the person that is logged in, with their state as an agent."""
    view = deps.hub.state.agents.get(asker.id) if asker.agent else None
    return MeAnswer(
        **dict(me_of(asker)),
        agent=agent_view(view) if view is not None else None,
        session_expires_at=when(session.expires),
    )
