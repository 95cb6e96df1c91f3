"""A running web role for tests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx

from comms import seed
from comms.web import WebConfig, serve


@dataclass
class Web:
    """A web role that serves Musterstadt on a port of its own."""

    base: str
    config: WebConfig
    client: httpx.AsyncClient

    async def token(self, user: str) -> str:
        """Log a person of Musterstadt in."""
        extension = next(p.extension for p in seed.PEOPLE if p.id == user)
        answer = await self.client.post(
            "/api/v1/login", json={"user": user, "password": f"demo-{extension}"}
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])

    async def as_(self, user: str) -> httpx.AsyncClient:
        """Return a client that is logged in; closed with the role."""
        return httpx.AsyncClient(
            base_url=self.base, headers={"Authorization": f"Bearer {await self.token(user)}"}
        )


@contextlib.asynccontextmanager
async def running(config: WebConfig) -> AsyncIterator[Web]:
    """Serve until the end of the block."""
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(config, ready))
    await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    base = f"http://127.0.0.1:{ready.result()}"
    try:
        async with httpx.AsyncClient(base_url=base) as client:
            yield Web(base, config, client)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
