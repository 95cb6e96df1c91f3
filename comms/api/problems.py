"""Tells errors as RFC 9457 problems. `type` is `urn:comms:problem:<code>` and stays as it is."""

from __future__ import annotations

import math
import traceback
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from comms.problems import CommsError, FieldsError, NotAuthenticated, TooManyAttempts, Unavailable
from comms.store.engine import is_temporary

log = structlog.get_logger(__name__)

TYPE_PREFIX = "urn:comms:problem:"
MEDIA_TYPE = "application/problem+json"

#: codes of errors that the web framework raises by itself
_CODES = {
    400: "bad-request",
    401: "not-authenticated",
    403: "not-permitted",
    404: "not-found",
    405: "method-not-allowed",
    413: "too-large",
    415: "unsupported-media-type",
}


class ProblemResponse(JSONResponse):
    """A problem as the answer."""

    media_type = MEDIA_TYPE


def problem(
    status: int,
    code: str,
    title: str,
    detail: str | None = None,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> ProblemResponse:
    """Return a problem; `members` are added to the standard ones."""
    body: dict[str, Any] = {"type": TYPE_PREFIX + code, "title": title, "status": status}
    if detail:
        body["detail"] = detail
    return ProblemResponse(body | members, status_code=status, headers=dict(headers or {}))


def problem_of(error: CommsError) -> ProblemResponse:
    """Return the problem that an error is to the client."""
    headers: dict[str, str] = {}
    members: dict[str, Any] = {}
    if isinstance(error, FieldsError):
        members["errors"] = [
            {"field": p.field, "code": p.code, "message": p.message} for p in error.problems
        ]
    if isinstance(error, TooManyAttempts | Unavailable):
        members["retry_after"] = error.retry_after
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return problem(error.status, error.code, error.title, error.detail, headers, **members)


def install(app: FastAPI) -> None:
    """Let the application answer every error with a problem."""
    app.add_exception_handler(CommsError, _comms_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(DBAPIError, _database_error)
    app.add_exception_handler(RedisError, _live_store_error)


async def _comms_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, CommsError)
    return problem_of(error)


async def _validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return problem(400, "bad-json", "The body is not valid JSON")
    errors = [
        {
            # The first part says where: body, query, path or header.
            "field": ".".join(str(part) for part in item["loc"]),
            "code": str(item["type"]).replace("_", "-"),
            "message": item["msg"],
        }
        for item in found[:20]
    ]
    detail = "; ".join(f"{e['field']}: {e['message']}" for e in errors[:3])
    return problem(422, "invalid", "Some values are not allowed", detail, errors=errors)


async def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, f"http-{error.status_code}")
    title = HTTPStatus(error.status_code).phrase
    detail = error.detail if error.detail != title else None
    return problem(error.status_code, code, title, detail, error.headers)


async def _database_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DBAPIError)
    if not is_temporary(error):
        raise error
    log.warning("database out of reach", error=type(error.orig).__name__)
    return problem_of(Unavailable("the database does not answer"))


async def _live_store_error(_request: Request, error: Exception) -> Response:
    log.warning("live store out of reach", error=type(error).__name__)
    return problem_of(Unavailable("the live store does not answer"))


def unexpected(error: Exception, route: str) -> ProblemResponse:
    """Note an error nobody foresaw and return the problem.

    The log gets its type and the places it came through but not its text, which may quote a
    name, a number or what somebody typed.
    """
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = [f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in frames]
    log.error(
        "request failed", route=route, error=type(error).__name__, at=" < ".join(places[::-1])
    )
    return problem(500, "internal", "Something went wrong here", "It is noted in the log.")
