"""The application: all routes under `/api/v1`, errors as problems, and the OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from comms import __doc__ as _about
from comms.api import problems
from comms.api.deps import Services
from comms.api.middleware import Guard
from comms.api.routes import admin, calls, queues, session, system
from comms.api.schemas import Problem

PREFIX = "/api/v1"
VERSION = "1.0.0"

_DESCRIPTION = f"""{_about}

Log in with `POST {PREFIX}/login` and send the token as `Authorization: Bearer …`. Errors are
problems (RFC 9457): a program decides by their `type`. Times are UTC with zone, durations are
seconds, outside numbers are E.164. Live views come over Socket.IO at `/socket.io/`.
"""
_PROBLEMS = {
    401: "No valid session",
    403: "Not permitted",
    404: "Not found",
    409: "Conflict",
    413: "Body too large",
    422: "Some values are not allowed",
    429: "Too many attempts",
    503: "Not available at the moment",
}


def create_app(services: Services) -> FastAPI:
    """Return the application with what it needs.

    The caller starts and stops the services; see `comms.web`.
    """
    app = _routes()
    app.state.services = services
    app.add_middleware(Guard, metrics=services.metrics)
    problems.install(app)
    return app


def _routes() -> FastAPI:
    app = FastAPI(
        title="Comms",
        version=VERSION,
        # The pages of the documentation would load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url=f"{PREFIX}/openapi.json",
        generate_unique_id_function=lambda route: route.name,
    )
    for module in (session, queues, calls, admin):
        app.include_router(module.router, prefix=PREFIX)
    app.include_router(system.api, prefix=PREFIX)
    app.include_router(system.root)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def openapi_document() -> dict[str, Any]:
    """Return the OpenAPI document without a running system."""
    return _routes().openapi()


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes
    )
    schemas = document["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(problem.pop("$defs"))
    schemas["Problem"] = problem
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            responses.pop("422", None)
            for status in _problems_of(path, operation):
                responses[str(status)] = _problem_response(status)
    return document


def _problems_of(path: str, operation: dict[str, Any]) -> list[int]:
    """Return the statuses of problems an operation may answer with."""
    statuses = []
    if operation.get("security"):
        statuses += [401, 403]
    if "{" in path:
        statuses.append(404)
    if "requestBody" in operation:
        statuses += [409, 413, 422]
    elif operation.get("parameters"):
        statuses.append(422)
    if path.endswith("/login"):
        statuses += [401, 429]
    if not path.endswith("/health") and "503" not in operation["responses"]:
        statuses.append(503)
    return sorted(statuses)


def _problem_response(status: int) -> dict[str, Any]:
    return {
        "description": _PROBLEMS[status],
        "content": {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
