"""Slows down those who guess passwords: by account and by address, for all web roles together."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass

from redis.asyncio import Redis

from comms.bus.streams import Keys
from comms.problems import TooManyAttempts

# An attempt is counted before the password is checked and taken back when it was right: many
# attempts at once would otherwise all pass before the first has failed.
_RESERVE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local wait = 0
for i = 1, 2 do
  local till = tonumber(redis.call('HGET', KEYS[i], 'till') or '0')
  if till - now > wait then wait = till - now end
end
if wait > 0 then return wait end
local free, delay, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local limit, silence, window = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local n = redis.call('HINCRBY', KEYS[1], 'n', 1)
if n > free then
  local pause = math.min(longest, delay * 2 ^ math.min(n - free - 1, 30))
  redis.call('HSET', KEYS[1], 'till', string.format('%.0f', now + pause))
end
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', window))
n = redis.call('HINCRBY', KEYS[2], 'n', 1)
if n > limit then
  redis.call('HSET', KEYS[2], 'till', string.format('%.0f', now + silence))
end
redis.call('PEXPIRE', KEYS[2], string.format('%.0f', math.max(window, silence)))
return 0
"""

_FORGIVE = """
redis.call('DEL', KEYS[1])
if redis.call('HINCRBY', KEYS[2], 'n', -1) <= 0 then
  redis.call('DEL', KEYS[2])
elseif tonumber(redis.call('HGET', KEYS[2], 'n')) <= tonumber(ARGV[1]) then
  redis.call('HDEL', KEYS[2], 'till')
end
return 0
"""


@dataclass(frozen=True, slots=True)
class ThrottleRules:
    """Seconds and counts; the fields mean what they do in the settings' section `guard`."""

    free_attempts: int = 3
    delay_seconds: float = 1.0
    max_delay_seconds: float = 32.0
    window_seconds: float = 600.0
    silence_after: int = 20
    silence_seconds: float = 600.0


class Throttle:
    """Counts failed log-ins in the live store, under digests of account and address."""

    def __init__(self, redis: Redis, keys: Keys, rules: ThrottleRules) -> None:
        self._keys = keys
        self._rules = rules
        self._reserve = redis.register_script(_RESERVE)
        self._forgive = redis.register_script(_FORGIVE)

    async def reserve(self, account: str, address: str) -> None:
        """Count an attempt, which `forgive` takes back when it succeeded.

        Raises:
            TooManyAttempts: the account or the address has to wait.
        """
        rules = self._rules
        wait = await self._reserve(
            keys=self._names(account, address),
            args=[
                rules.free_attempts,
                rules.delay_seconds * 1000,
                rules.max_delay_seconds * 1000,
                rules.silence_after,
                rules.silence_seconds * 1000,
                rules.window_seconds * 1000,
            ],
        )
        if wait:
            raise TooManyAttempts(int(wait) / 1000)

    async def forgive(self, account: str, address: str) -> None:
        """Forget an account's failures, and this attempt of the address, after a success."""
        await self._forgive(keys=self._names(account, address), args=[self._rules.silence_after])

    def _names(self, account: str, address: str) -> list[str]:
        return [
            self._keys.login_failures("account", _digest(account.casefold())),
            self._keys.login_failures("address", _digest(network_of(address))),
        ]


def network_of(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the /64 network of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]
