"""The few calls of the HTTP API that simulated people make, with nothing but the library."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

TIMEOUT = 10.0


class ApiError(Exception):
    """The API refused or did not answer; the text says which request."""


class Api:
    """A session of one person."""

    def __init__(self, base: str, token: str | None = None) -> None:
        """`base` is the web role's address, such as http://127.0.0.1:8000."""
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise ApiError(f"{base} is no http:// or https:// address")
        self._https = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._prefix = parts.path.rstrip("/")
        self._token = token

    async def log_in(self, user: str, password: str) -> dict[str, Any]:
        """Log in; later requests are this person's. Returns the API's answer.

        Raises:
            ApiError: wrong name or password, or no answer.
        """
        answer = await self.request("POST", "/api/v1/login", {"user": user, "password": password})
        self._token = answer["token"]
        return answer

    async def set_state(self, state: str, reason: str | None = None) -> dict[str, Any]:
        """Choose the agent's own state."""
        body: dict[str, Any] = {"state": state}
        if reason is not None:
            body["reason"] = reason
        return await self.request("PUT", "/api/v1/agents/me/state", body)

    async def calls(self) -> list[dict[str, Any]]:
        """Return the newest calls of the history that this person may see."""
        items: list[dict[str, Any]] = (await self.request("GET", "/api/v1/calls"))["items"]
        return items

    async def request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """Send a request and return the JSON object of the answer.

        Raises:
            ApiError: no connection, or a status of 400 and above.
        """
        return await asyncio.to_thread(self._request, method, path, body)

    def _request(self, method: str, path: str, body: Any) -> dict[str, Any]:
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=TIMEOUT)
        headers = {"Accept": "application/json"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        try:
            connection.request(method, self._prefix + path, data, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ApiError(f"{method} {path}: no answer ({error})") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise ApiError(f"{method} {path}: {response.status} {_detail(content)}")
        try:
            answer = json.loads(content) if content else {}
        except ValueError as error:
            raise ApiError(f"{method} {path}: the answer is no JSON") from error
        if not isinstance(answer, dict):
            raise ApiError(f"{method} {path}: the answer is no JSON object")
        return answer


def _detail(content: bytes) -> str:
    try:
        problem = json.loads(content)
    except ValueError:
        return ""
    if not isinstance(problem, dict):
        return ""
    return str(problem.get("detail") or problem.get("title") or "")
