"""Structured logs without personal data.

`configure` sends structlog's and the standard library's events to standard error, as text for
people or one JSON object a line. Code logs ids, counts and reasons only; `withhold` is the net
below that: it blanks fields that hold personal data by their name, and SIP addresses and
international numbers wherever they occur.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from comms.settings import Logging, Settings

_COLOURS = "FORCE_COLOR"

WITHHELD = "[withheld]"

#: names of fields whose values are never written
PERSONAL = frozenset(
    {"aor", "body", "caller", "callee", "contact", "display_name", "e164", "email"}
    | {"from_number", "from_uri", "login", "name", "number", "password", "person_name"}
    | {"text", "to", "to_number", "to_uri", "uri", "user", "username"}
)
#: a SIP address or a number in international form; no part of it can back-track
_ADDRESS = re.compile(r"\b(?:sips?|tel):[^\s<>\"',;]+|\+[0-9]{6,20}")


def withhold(_logger: Any, _method: str, event: structlog.typing.EventDict) -> Any:
    """Blank what is personal in an event. A structlog processor."""
    for key, value in event.items():
        if key in PERSONAL:
            event[key] = WITHHELD
        elif isinstance(value, str) and (":" in value or "+" in value):
            event[key] = _ADDRESS.sub(WITHHELD, value)
    return event


def child_environment(settings: Settings) -> dict[str, str]:
    """Return the environment that gives a child these settings, with its log made for our terminal.

    The child writes into a pipe and could not tell what stands at the other end.
    """
    environment = settings.as_environment()
    if settings.logging.format == "auto":
        environment["COMMS_LOGGING__FORMAT"] = "console" if sys.stderr.isatty() else "json"
    if sys.stderr.isatty():
        environment[_COLOURS] = "1"
    return environment


def configure(settings: Logging, role: str) -> None:
    """Set up logging for this process; every event carries `role`, e.g. "sip-1"."""
    as_json = settings.format == "json" or (settings.format == "auto" and not sys.stderr.isatty())
    colours = sys.stderr.isatty() or _COLOURS in os.environ
    level = getattr(logging, settings.level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=colours)
    )
    tail: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info] if as_json else []
    )
    structlog.configure(
        processors=[*shared, *tail, withhold, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(role=role)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *tail,
                withhold,
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.INFO), force=True)
    # one line a request and a query says nothing that metrics do not, and shows paths and values
    for chatty in ("uvicorn", "sqlalchemy", "alembic", "httpx", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
