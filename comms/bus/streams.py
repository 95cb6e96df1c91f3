"""Redis streams and keys that the roles share.

Every key carries the tenant as hash tag, so that a Redis Cluster keeps what belongs together on
one node. A stream entry has one field, `m`, a tagged msgspec message as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import msgspec

from comms import compat  # noqa: F401  (its users loop over Redis commands)

T = TypeVar("T")


class Keys:
    """Names of all shared keys of one tenant."""

    def __init__(self, tenant: str = "city") -> None:
        p = "{" + tenant + "}:"
        self.acd_journal = p + "acd:journal"
        self.acd_events = p + "acd:events"
        self.acd_lease = p + "acd:lease"
        self.acd_fence = p + "acd:fence"
        self.acd_snapshot = p + "acd:snapshot"
        #: id of the last journal entry whose events are published
        self.acd_applied = p + "acd:applied"
        #: hashes of the newest views as JSON, and the stream id of the newest event in them
        self.acd_works = p + "acd:view:works"
        self.acd_agents = p + "acd:view:agents"
        self.acd_queues = p + "acd:view:queues"
        #: journal entries that the engine failed at and every replay passes over (a set)
        self.acd_set_aside = p + "acd:set-aside"
        self.sip_commands = p + "sip:commands"
        self.sip_events = p + "sip:events"
        self.sip_calls_view = p + "sip:view:calls"
        self.sip_devices_view = p + "sip:view:devices"
        self.records = p + "records"
        self.directory = p + "directory"
        #: channel of the web role: a session's token hash, or `person:` and an id, is over
        self.sessions_over = p + "web:sessions-over"
        self._p = p

    def acd_order(self, queue: str) -> str:
        """Sorted set of a queue's waiting work in serving order (score is the index)."""
        return f"{self._p}acd:order:{queue}"

    def bindings(self, aor: str) -> str:
        """Hash of an address of record's registered contacts."""
        return f"{self._p}sip:aor:{aor}"

    def calls(self, worker: str) -> str:
        """Hash of the calls a SIP worker holds: call id -> state."""
        return f"{self._p}sip:calls:{worker}"

    def login_failures(self, kind: str, digest: str) -> str:
        """Hash of failed log-ins of an account or address, named by a digest."""
        return f"{self._p}web:failures:{kind}:{digest}"

    def dialled(self, call: str) -> str:
        """Set while a call that the API asked for must not be dialled a second time."""
        return f"{self._p}web:dialled:{call}"

    def metrics(self, role: str) -> str:
        """Hash of a role instance's counters, for the web role's /metrics."""
        return f"{self._p}metrics:{role}"


class Codec(Generic[T]):
    """Encodes and decodes the messages of one stream."""

    def __init__(self, type_: Any) -> None:
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(type_)
        self._encoder = msgspec.json.Encoder()

    def encode(self, message: T) -> bytes:
        """Return the JSON of a message."""
        return self._encoder.encode(message)

    def fields(self, message: T) -> dict[bytes, bytes]:
        """Return the fields of a stream entry, as XADD takes them."""
        return {b"m": self._encoder.encode(message)}

    def decode(self, raw: bytes) -> T:
        """Return the message in `raw`.

        Raises:
            msgspec.ValidationError: the bytes are no message of this stream.
        """
        return self._decoder.decode(raw)

    def entries(self, rows: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> list[tuple[bytes, T]]:
        """Return (entry id, message) of the rows XREAD or XRANGE gave."""
        return [(entry, self._decoder.decode(fields[b"m"])) for entry, fields in rows]
