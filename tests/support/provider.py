"""A provider of telephone lines: the registrar of the city's trunk, and its calls."""

from __future__ import annotations

import asyncio
import time

from sip.core.digest import Credentials, challenges, ha1, verify
from sip.core.events import Request as Requested
from sip.simphone.endpoint import Endpoint, SimCall

ADDRESS = "127.0.0.2"
USER, PASSWORD, REALM = "muster-line", "line-secret", "lines.example"


class Provider:
    """Accepts one line's registration with digest, takes its calls and calls it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        #: contact of the line, None before its registration
        self.contact: str | None = None
        self.registered = asyncio.Event()
        self.calls: asyncio.Queue[SimCall] = asyncio.Queue()
        #: refuse every call with this status
        self.refuses = 0
        endpoint.on_request = self._answer
        endpoint.on_other_call = self._take

    @classmethod
    async def open(cls, port: int, server: tuple[str, int]) -> Provider:
        """Serve on `ADDRESS` and this port for a city whose SIP server is at `server`."""
        return cls(await Endpoint.open(server, domain=REALM, host=ADDRESS, port=port))

    async def call(self, number: str, from_number: str) -> SimCall:
        """Call a number of the line from outside."""
        return await self._endpoint.call(number, from_number)

    async def close(self) -> None:
        """End."""
        await self._endpoint.close()

    def _answer(self, event: Requested) -> None:
        request = event.request
        respond = self._endpoint.ua.respond
        if request.method != "REGISTER":
            respond(event.txn, 200 if request.method == "OPTIONS" else 405, now=time.time())
            return
        credentials = Credentials.parse(request.get("Authorization") or "")
        secret = ha1(USER, REALM, PASSWORD, credentials.algorithm if credentials else "MD5")
        if credentials is None or not verify(credentials, "REGISTER", request.uri, secret):
            headers = [("WWW-Authenticate", value) for value in challenges(REALM, "nonce")]
            respond(event.txn, 401, now=time.time(), headers=headers)
            return
        contact = request.contacts[0]
        self.contact = contact.uri
        respond(event.txn, 200, now=time.time(), headers=[("Contact", f"{contact};expires=600")])
        self.registered.set()

    def _take(self, call: SimCall) -> None:
        if self.refuses:
            call.refuse(self.refuses)
        else:
            self.calls.put_nowait(call)
