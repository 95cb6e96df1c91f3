"""Who sent a request (RFC 7616, RFC 8760, RFC 3261 section 22). Pure: time is an argument.

An account that does not exist is treated like one with a wrong password, down to the work done, so
that accounts cannot be found out.
"""

from __future__ import annotations

from dataclasses import dataclass

from comms.directory import Device, Directory
from sip.core.digest import Credentials, NonceIssuer, ReplayTracker, challenges, ha1, verify
from sip.core.flow import Flow
from sip.core.message import Request
from sip.guard import Guard

_NONCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Known:
    """The request comes from this device."""

    device: Device


@dataclass(frozen=True, slots=True)
class Unknown:
    """The sender has to show the password (again); the answer is held back for `delay` seconds."""

    status: int
    headers: tuple[tuple[str, str], ...]
    delay: float = 0.0


class Authenticator:
    """Challenges and verifies.

    Args:
        directory: the accounts.
        guard: counts failures.
        algorithms: of digests, in the order they are offered.
        key: secret of this installation for nonces, at least 16 bytes.
    """

    def __init__(
        self,
        directory: Directory,
        guard: Guard,
        key: bytes,
        algorithms: tuple[str, ...] = ("SHA-256", "MD5"),
    ) -> None:
        self.directory = directory
        self.guard = guard
        self._algorithms = algorithms
        self._nonces = NonceIssuer(key, lifetime=_NONCE_SECONDS)
        self._replays = ReplayTracker()
        self._dummy = ha1("nobody", directory.domain, key.hex())

    def authenticate(self, request: Request, flow: Flow, now: float) -> Known | Unknown:
        """Return the device that a request proves to come from, or the challenge to send.

        REGISTER is challenged with 401, everything else with 407.

        Raises:
            ParseError: the credentials are malformed (400).
        """
        registering = request.method == "REGISTER"
        header = "Authorization" if registering else "Proxy-Authorization"
        credentials = self._own_credentials(request, header)
        if credentials is None:
            return self._challenge(registering, now)
        freshness = self._nonces.check(credentials.nonce, now)
        if freshness != "fresh":
            return self._challenge(registering, now, stale=freshness == "stale")
        device = self.directory.devices.get(credentials.username)
        secret = self._dummy
        if device is not None and credentials.algorithm.upper() in self._algorithms:
            sha256 = credentials.algorithm.upper().startswith("SHA-256")
            secret = device.ha1_sha256 if sha256 else device.ha1_md5
        proven = verify(credentials, request.method, request.uri, secret, request.body)
        if device is None or not proven:
            delay = self.guard.failed(flow.remote[0], credentials.username[:64], now)
            return self._challenge(registering, now, delay=delay)
        accepted = self._replays.accept(credentials.nonce, credentials.count)
        if accepted != "fresh":
            return self._challenge(registering, now, stale=True)
        self.guard.succeeded(flow.remote[0], credentials.username)
        return Known(device)

    def challenge(self, request: Request, now: float) -> Unknown:
        """Return the challenge for a request that brings no credentials."""
        return self._challenge(request.method == "REGISTER", now)

    def expire(self, now: float) -> None:
        """Forget nonces that are too old to be used; call it now and then."""
        self._replays.expire(now - _NONCE_SECONDS)

    def _own_credentials(self, request: Request, header: str) -> Credentials | None:
        """Return the credentials for our realm among those a request may carry for others."""
        for value in request.get_all(header):
            credentials = Credentials.parse(value)
            if credentials is not None and credentials.realm == self.directory.domain:
                return credentials
        return None

    def _challenge(
        self, registering: bool, now: float, *, stale: bool = False, delay: float = 0.0
    ) -> Unknown:
        name = "WWW-Authenticate" if registering else "Proxy-Authenticate"
        values = challenges(self.directory.domain, self._nonces.issue(now), stale, self._algorithms)
        headers = tuple((name, value) for value in values)
        return Unknown(401 if registering else 407, headers, delay)


def account_of(request: Request, directory: Directory) -> str | None:
    """Return the device account that a request claims to come from, None if it claims none.

    Raises:
        ParseError: From is malformed.
    """
    uri = request.from_.parsed
    user: str | None = getattr(uri, "username", None)
    if user is None or user not in directory.devices:
        return None
    return user
