"""What slows down people who guess passwords, and silences scanners. Pure: time is an argument.

Every failed authentication is counted for its account and for its address. After a few free
attempts the answer to a further one is delayed, twice as long each time. An address with too many
failures gets no answer any more, except for accounts that are registered from there already, so
that one broken phone behind a NAT does not cut off its neighbours.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comms.settings import Guard as GuardLimits


#: accounts and addresses remembered at most; the longest unused is forgotten first
MAX_REMEMBERED = 50_000


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last: float = 0.0
    silent_until: float = 0.0


@dataclass(slots=True)
class GuardStats:
    """Counters for the metrics."""

    failures: int = 0
    delayed: int = 0
    silenced: int = 0
    dropped: int = 0


@dataclass(slots=True)
class Guard:
    """Remembers failures. Addresses are IP addresses, accounts are user names as sent."""

    limits: GuardLimits
    stats: GuardStats = field(default_factory=GuardStats)
    _seen: OrderedDict[tuple[str, str], _Failures] = field(default_factory=OrderedDict)

    def silent(self, address: str, now: float) -> bool:
        """Whether requests from `address` get no answer now."""
        entry = self._seen.get(("address", address))
        if entry is None or entry.silent_until <= now:
            return False
        self.stats.dropped += 1
        return True

    def failed(self, address: str, account: str, now: float) -> float:
        """Count a failure and return for how many seconds its answer is to be held back."""
        self.stats.failures += 1
        of_address = self._count("address", address, now)
        of_account = self._count("account", account, now)
        if of_address.count >= self.limits.silence_after and of_address.silent_until <= now:
            of_address.silent_until = now + self.limits.silence_seconds
            of_address.count = 0
            self.stats.silenced += 1
        beyond = max(of_account.count, of_address.count // 3) - self.limits.free_attempts
        if beyond <= 0:
            return 0.0
        self.stats.delayed += 1
        return min(
            self.limits.delay_seconds * 2.0 ** min(beyond - 1, 20), self.limits.max_delay_seconds
        )

    def succeeded(self, address: str, account: str) -> None:
        """Forget the failures of an account that has shown its password, and one of its address."""
        self._seen.pop(("account", account), None)
        entry = self._seen.get(("address", address))
        if entry is not None and entry.count > 0:
            entry.count -= 1

    def _count(self, kind: str, name: str, now: float) -> _Failures:
        key = (kind, name)
        entry = self._seen.get(key)
        if entry is None:
            entry = self._seen[key] = _Failures()
            if len(self._seen) > MAX_REMEMBERED:
                self._seen.popitem(last=False)
        else:
            self._seen.move_to_end(key)
        if now - entry.last > self.limits.window_seconds:
            entry.count = 0
        entry.count += 1
        entry.last = now
        return entry
