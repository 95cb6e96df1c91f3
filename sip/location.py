"""Where devices are registered: bindings in Valkey, with a copy in memory for look-ups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import redis.asyncio
import structlog

from comms.bus.streams import Keys
from sip.core.flow import Flow
from sip.core.timers import Timer, TimerWheel
from sip.registrar import Binding, Registration
from sip.state import Committer

_log = structlog.get_logger(__name__)
_decode = msgspec.json.Decoder(Binding).decode


class Location:
    """All bindings of this worker's tenant.

    Args:
        changed: called with an address of record whose number of bindings changed.
    """

    def __init__(self, committer: Committer, keys: Keys, changed: Callable[[str], None]) -> None:
        self._committer = committer
        self._keys = keys
        self._changed = changed
        self._bindings: dict[str, dict[str, Binding]] = {}
        self._timer_of: dict[tuple[str, str], Timer] = {}
        self._flows: dict[Flow, set[tuple[str, str]]] = {}
        #: when bindings expire; `handle_timers` must be called then
        self.timers = TimerWheel()

    async def load(self, client: redis.asyncio.Redis, now: float) -> None:
        """Read what is stored. Bindings over connections died with the former worker."""
        prefix = self._keys.bindings("")
        rows: Any = client.scan_iter(match=prefix + "*", count=1000)
        async for raw_key in rows:
            key: str = raw_key.decode()
            aor = key[len(prefix) :]
            stored: Any = await client.hgetall(key)
            for name, raw in stored.items():
                binding = _decode(raw)
                if binding.expires <= now or binding.flow.reliable:
                    self._committer.put(key, name.decode(), None)
                else:
                    self._add(aor, binding)
        _log.info("bindings-loaded", accounts=len(self._bindings))

    def __len__(self) -> int:
        return sum(map(len, self._bindings.values()))

    def has_flow(self, flow: Flow) -> bool:
        """Whether a device is registered along exactly this flow."""
        return flow in self._flows

    def of(self, aor: str) -> dict[str, Binding]:
        """Return the bindings of an account by key."""
        return self._bindings.get(aor, {})

    def accounts(self) -> list[str]:
        """Return the accounts that have a binding."""
        return list(self._bindings)

    def apply(self, aor: str, registration: Registration) -> None:
        """Store what a REGISTER led to."""
        before = len(self.of(aor))
        key = self._keys.bindings(aor)
        for name in registration.remove:
            self._remove(aor, name)
        longest = 0.0
        for binding in registration.store:
            self._remove(aor, binding.key, stored=False)
            self._add(aor, binding)
            self._committer.put(key, binding.key, msgspec.json.encode(binding))
            longest = max(longest, binding.expires)
        if longest:
            latest = max(longest, *(b.expires for b in self.of(aor).values()))
            self._committer.write("PEXPIREAT", key, int(latest * 1000) + 1000)
        if len(self.of(aor)) != before:
            self._changed(aor)

    def forget(self, aor: str) -> None:
        """Remove all bindings of an account that no longer exists."""
        for name in list(self.of(aor)):
            self._remove(aor, name)

    def flow_failed(self, flow: Flow) -> None:
        """Forget what was registered over a connection that is gone (RFC 5626 section 4.2.2)."""
        for aor, name in list(self._flows.get(flow, ())):
            self._remove(aor, name)
            self._changed(aor)

    def handle_timers(self, now: float) -> None:
        """Forget expired bindings."""
        for aor, name in self.timers.pop_due(now):
            self._remove(aor, name)
            self._changed(aor)

    def _add(self, aor: str, binding: Binding) -> None:
        place = (aor, binding.key)
        self._bindings.setdefault(aor, {})[binding.key] = binding
        self._timer_of[place] = self.timers.start(binding.expires, place)
        self._flows.setdefault(binding.flow, set()).add(place)

    def _remove(self, aor: str, name: str, stored: bool = True) -> None:
        binding = self._bindings.get(aor, {}).pop(name, None)
        if binding is None:
            return
        if not self._bindings[aor]:
            del self._bindings[aor]
        self.timers.cancel(self._timer_of.pop((aor, name), None))
        places = self._flows.get(binding.flow)
        if places is not None:
            places.discard((aor, name))
            if not places:
                del self._flows[binding.flow]
        if stored:
            self._committer.put(self._keys.bindings(aor), name, None)
