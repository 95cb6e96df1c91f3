"""Hashes and checks passwords with argon2id, off the event loop and a bounded number at once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from comms.problems import Unavailable

# OWASP's second recommended choice of argon2id: 19 MiB, two passes, one lane. It costs some 20 ms
# and lets a small machine log a whole shift in at eight o'clock.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


@lru_cache(maxsize=1)
def _nobody() -> str:
    """A hash to check against when the account is unknown or has no password."""
    return _hasher.hash("no account has this password")


def _matches(hash_: str | None, password: str) -> bool:
    try:
        return _hasher.verify(hash_ or _nobody(), password) and hash_ is not None
    except (VerificationError, InvalidHashError):
        return False


class Passwords:
    """A pool of threads for argon2, which would block the event loop.

    Args:
        threads: how many hashes are computed at once; each needs 19 MiB.
        waiting: how many more may wait; beyond it callers get `Unavailable`, so that a flood of
            log-ins cannot queue up without end.
    """

    def __init__(self, threads: int = 2, waiting: int = 64) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._limit = threads + waiting
        self._running = 0

    async def matches(self, hash_: str | None, password: str) -> bool:
        """Whether `password` is the one of `hash_`. Takes as long when there is no hash.

        Raises:
            Unavailable: too many checks are waiting.
        """
        if self._running >= self._limit:
            raise Unavailable("too many log-ins at once")
        self._running += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, _matches, hash_, password
            )
        finally:
            self._running -= 1

    async def hash(self, password: str) -> str:
        """Return the hash to store."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, _hasher.hash, password)

    async def hash_all(self, passwords: Iterable[str]) -> list[str]:
        """Return the hashes of many passwords, computed side by side."""
        return list(await asyncio.gather(*(self.hash(password) for password in passwords)))

    def close(self) -> None:
        """End the threads; running checks finish first."""
        self._pool.shutdown(wait=True)


@dataclass(frozen=True, slots=True)
class DigestHashes:
    """H(A1) of a SIP account (RFC 7616 section 3.4.2) in hex, for both algorithms."""

    md5: str
    sha256: str


def digest_hashes(user: str, realm: str, password: str) -> DigestHashes:
    """Return H(A1) of a SIP account for MD5 and SHA-256."""
    a1 = f"{user}:{realm}:{password}".encode()
    return DigestHashes(
        md5=hashlib.md5(a1, usedforsecurity=False).hexdigest(),
        sha256=hashlib.sha256(a1).hexdigest(),
    )
