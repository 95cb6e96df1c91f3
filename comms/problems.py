"""What can go wrong for somebody who uses the platform.

Each error has a stable `code`; the API makes RFC 9457 problems of it, the command line one line,
and the interfaces localise it by the code. `title` and `detail` are English. Errors for the
operator who starts the program are in `comms.errors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One field that was refused, e.g. `extension`, `emergency-number`, and why."""

    field: str
    code: str
    message: str


class CommsError(Exception):
    """Base of all errors that are a user's to know about."""

    code: ClassVar[str] = "failed"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Failed"

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or self.title)
        self.detail = detail


class FieldsError(CommsError):
    """Base of errors that name fields."""

    def __init__(self, *problems: FieldProblem) -> None:
        super().__init__("; ".join(f"{p.field}: {p.message}" for p in problems) or None)
        self.problems = problems


class Invalid(FieldsError):
    """The request is understood but breaks a rule."""

    code = "invalid"
    status = 422
    title = "Some values are not allowed"


class Conflict(FieldsError):
    """Something else already has that id, number or name, or still needs it."""

    code = "conflict"
    status = 409
    title = "Conflict with something that exists"


class NotAuthenticated(CommsError):
    """No valid session."""

    code = "not-authenticated"
    status = 401
    title = "Log in first"


class WrongCredentials(CommsError):
    """User name or password is wrong; which of them is not told."""

    code = "wrong-credentials"
    status = 401
    title = "User name or password is wrong"


class NotPermitted(CommsError):
    """The person may not do this."""

    code = "not-permitted"
    status = 403
    title = "Not permitted"


class NotFound(CommsError):
    """It does not exist, or the person may not know that it does."""

    code = "not-found"
    status = 404
    title = "Not found"


class KeyReused(CommsError):
    """The idempotency key was used for another request."""

    code = "idempotency-key-reused"
    status = 422
    title = "The idempotency key was used for another request"


class TooManyAttempts(CommsError):
    """Too many attempts of this account or from this address."""

    code = "too-many-attempts"
    status = 429
    title = "Too many attempts"

    def __init__(self, retry_after: float, detail: str | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Unavailable(CommsError):
    """Something the request needs is overloaded or out of reach for the moment."""

    code = "unavailable"
    status = 503
    title = "Not available at the moment"

    def __init__(self, detail: str, retry_after: float = 2.0) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
