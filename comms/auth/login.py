"""Logs people in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from comms.auth.passwords import Passwords
from comms.auth.sessions import Sessions
from comms.auth.throttle import Throttle
from comms.people.access import Viewer
from comms.people.queries import load_viewer
from comms.problems import WrongCredentials
from comms.store import models as m
from comms.store.engine import reading


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A new session. `token` is told to the person once."""

    token: str
    expires: float
    viewer: Viewer


class Login:
    """Checks user name and password and opens a session."""

    def __init__(
        self, engine: AsyncEngine, passwords: Passwords, throttle: Throttle, sessions: Sessions
    ) -> None:
        self._engine = engine
        self._passwords = passwords
        self._throttle = throttle
        self._sessions = sessions

    async def do_log_in(self, user: str, password: str, address: str) -> LoggedIn:
        """Return a new session.

        Unknown accounts, accounts without password and wrong passwords look the same and take the
        same work.

        Raises:
            WrongCredentials: user name or password is wrong.
            TooManyAttempts: the account or the address has to wait.
            Unavailable: too many log-ins at once.
        """
        account = user.strip().lower()
        await self._throttle.reserve(account, address)
        async with reading(self._engine) as session:
            hash_ = await session.scalar(
                select(m.Person.password_hash).where(m.Person.id == account)
            )
        if not await self._passwords.matches(hash_, password):
            raise WrongCredentials
        async with reading(self._engine) as session:
            viewer = await load_viewer(session, account)
        if viewer is None:
            raise WrongCredentials
        (token, expires), _ = await asyncio.gather(
            self._sessions.open(viewer.id), self._throttle.forgive(account, address)
        )
        return LoggedIn(token, expires, viewer)
