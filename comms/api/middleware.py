"""What every request passes: a limit on its body, counters, and headers for the browser."""

from __future__ import annotations

import asyncio
import time
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from comms.api.metrics import Metrics
from comms.api.problems import problem, unexpected

#: a queue with 10,000 members fits
MAX_BODY_BYTES = 1_048_576
_DISCARD_BYTES = 16 * 1_048_576
_DISCARD_SECONDS = 5.0

# No inline scripts: a text that slips into a page cannot run. Styles are let in inline, because
# accessible component libraries set them while they run.
_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self), "
    "geolocation=(), payment=(), usb=()",
}


class Guard:
    """Refuses bodies that are too large, counts, and adds the headers."""

    def __init__(self, app: ASGIApp, metrics: Metrics, max_body: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._metrics = metrics
        self._max_body = max_body
        self._limit = f"at most {max_body} bytes are taken"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        began = False

        async def sending(message: Message) -> None:
            nonlocal status, began
            if message["type"] == "http.response.start":
                status, began = message["status"], True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        read = 0

        async def receiving() -> Message:
            nonlocal read
            message = await receive()
            if message["type"] == "http.request":
                read += len(message.get("body", b""))
                if read > self._max_body:
                    await _discard(receive, message)
                    # Of this kind, because the framework makes any other a broken body.
                    raise HTTPException(413, self._limit)
            return message

        try:
            if self._declared(scope) > self._max_body:
                await self._refuse(scope, receive, sending)
            else:
                await self._app(scope, receiving, sending)
        except Exception as error:
            # The outermost place that sees a request: whatever comes up here becomes a problem,
            # and the server does not print it with all its values.
            answer = unexpected(error, _route(scope))
            if not began:
                await answer(scope, receive, sending)
        finally:
            seconds = time.perf_counter() - started
            self._metrics.observe(scope["method"], _route(scope), status, seconds)

    def _declared(self, scope: Scope) -> int:
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                return int(value)
        return 0

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _discard(receive, {"type": "http.request", "more_body": True})
        answer = problem(413, "too-large", HTTPStatus(413).phrase, self._limit)
        await answer(scope, receive, send)


async def _discard(receive: Receive, message: Message) -> None:
    """Read the rest of a body without keeping it, within bounds.

    An answer to somebody who is still sending is lost with the connection.
    """
    read = 0
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            while message["type"] == "http.request" and message.get("more_body", False):
                read += len(message.get("body", b""))
                if read > _DISCARD_BYTES:
                    return
                message = await receive()
    except TimeoutError:
        return


def _route(scope: Scope) -> str:
    """Return the pattern of the route that answered: paths themselves hold names of people."""
    path = str(getattr(scope.get("route"), "path", "other"))
    if path.startswith("/") and scope["path"].startswith("/api/") and path[:5] != "/api/":
        return "/api/v1" + path
    return path
