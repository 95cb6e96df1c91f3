"""Sessions: a random bearer token for the person, its hash for the database."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass

from redis.asyncio import Redis
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from comms.bus.streams import Keys
from comms.people.access import Viewer
from comms.people.queries import load_viewer
from comms.problems import NotAuthenticated
from comms.store import models as m
from comms.store.engine import reading, writing

_TOKEN_BYTES = 32


def hash_token(token: str) -> str:
    """Return what is stored of a token. A plain hash does: 256 random bits cannot be guessed."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class ActiveSession:
    """A valid session and whose it is."""

    token_hash: str
    expires: float
    viewer: Viewer


class Sessions:
    """Opens, finds and ends sessions.

    A session ends `lifetime` seconds after its last use; use is noted when a tenth of it has
    passed, so that reading does not write. Endings are published on `Keys.sessions_over`, so that
    live connections of all web roles close.
    """

    def __init__(self, engine: AsyncEngine, redis: Redis, keys: Keys, lifetime: float) -> None:
        self._engine = engine
        self._redis = redis
        self._keys = keys
        self._lifetime = lifetime

    async def open(self, person: str) -> tuple[str, float]:
        """Return a new token and when it expires."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        now = time.time()
        async with writing(self._engine) as session:
            await session.execute(delete(m.Session).where(m.Session.expires < now))
            session.add(
                m.Session(
                    token_hash=hash_token(token),
                    person=person,
                    created=now,
                    expires=now + self._lifetime,
                )
            )
        return token, now + self._lifetime

    async def find(self, token: str) -> ActiveSession:
        """Return the session of a token and prolong it.

        Raises:
            NotAuthenticated: there is none, or it expired.
        """
        return await self._find(hash_token(token), prolong=True)

    async def check(self, token_hash: str) -> ActiveSession:
        """Return a session by its hash without prolonging it.

        Raises:
            NotAuthenticated: there is none any more, or it expired.
        """
        return await self._find(token_hash, prolong=False)

    async def _find(self, token_hash: str, *, prolong: bool) -> ActiveSession:
        now = time.time()
        async with reading(self._engine) as session:
            row = await session.get(m.Session, token_hash)
            if row is None or row.expires <= now:
                raise NotAuthenticated
            viewer = await load_viewer(session, row.person)
            expires = row.expires
        if viewer is None:
            raise NotAuthenticated
        if prolong and expires - now < 0.9 * self._lifetime:
            expires = now + self._lifetime
            async with writing(self._engine) as session:
                await session.execute(
                    update(m.Session)
                    .where(m.Session.token_hash == token_hash)
                    .values(expires=expires)
                )
        return ActiveSession(token_hash, expires, viewer)

    async def close(self, token_hash: str) -> None:
        """End one session."""
        async with writing(self._engine) as session:
            await session.execute(delete(m.Session).where(m.Session.token_hash == token_hash))
        await self._redis.publish(self._keys.sessions_over, token_hash)

    async def close_all(self, person: str) -> None:
        """End all sessions of a person."""
        async with writing(self._engine) as session:
            await session.execute(delete(m.Session).where(m.Session.person == person))
        await self.announce_closed(person)

    async def announce_closed(self, person: str) -> None:
        """Tell live connections to check a person's sessions, which somebody may have deleted."""
        await self._redis.publish(self._keys.sessions_over, f"person:{person}")

    async def valid(self, token_hashes: list[str]) -> set[str]:
        """Return which of these sessions are still valid."""
        async with reading(self._engine) as session:
            rows = await session.scalars(
                select(m.Session.token_hash).where(
                    m.Session.token_hash.in_(token_hashes), m.Session.expires > time.time()
                )
            )
            return set(rows)
