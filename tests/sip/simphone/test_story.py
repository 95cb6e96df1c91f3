"""The story and the API client say clearly what went wrong."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from sip.simphone.api import Api, ApiError
from sip.simphone.story import StoryConfig, story


class Web(BaseHTTPRequestHandler):
    """Answers a log-in, a history, and refuses the rest."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["password"] == "right":
            self._answer(200, {"token": "t"})
        else:
            self._answer(401, {"title": "Wrong name or password"})

    def do_GET(self) -> None:
        if self.headers["Authorization"] != "Bearer t":
            self._answer(401, {"title": "Log in"})
        elif self.path == "/api/v1/calls":
            self._answer(200, {"items": [{"id": "1"}], "next": None})
        else:
            self._raw(502, b"<html>", "text/html")

    def _answer(self, status: int, body: Any) -> None:
        self._raw(status, json.dumps(body).encode(), "application/json")

    def _raw(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def web() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Web)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_session_reads_the_history(web: str) -> None:
    api = Api(web)
    await api.log_in("anna.schmidt", "right")
    assert await api.calls() == [{"id": "1"}]


async def test_refusal_names_request_status_and_reason(web: str) -> None:
    with pytest.raises(ApiError, match=r"POST /api/v1/login: 401 Wrong name or password"):
        await Api(web).log_in("anna.schmidt", "wrong")
    with pytest.raises(ApiError, match=r"GET /api/v1/me: 502"):
        await Api(web, token="t").request("GET", "/api/v1/me")


async def test_address_that_is_none_and_closed_port_are_named() -> None:
    with pytest.raises(ApiError, match="no http"):
        Api("ftp://x")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(ApiError, match="no answer"):
            await Api(f"http://127.0.0.1:{closed.getsockname()[1]}").calls()


async def test_story_without_a_server_names_the_first_step(web: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        failures = await story(StoryConfig(silent.getsockname(), web, patience=0.3))
    assert len(failures) == 1
    assert failures[0].startswith("The registration of 201 failed: no answer within")
