"""The registrar's decisions (RFC 3261 section 10.3, RFC 5626, RFC 3327). Pure: time is an argument.

`process` takes an authenticated REGISTER and the account's bindings and returns the answer with
the bindings to store and to remove. Authentication, storage and timers are the worker's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from sip.core.errors import ParseError
from sip.core.flow import Flow, Transport
from sip.core.message import Request
from sip.core.uri import NameAddr, SipUri

if TYPE_CHECKING:
    from comms.settings import Sip as RegistrarLimits


class Binding(msgspec.Struct, frozen=True, omit_defaults=True):
    """A registered contact of an account."""

    contact: str
    #: where the REGISTER came from; requests to the contact go back along it
    transport: Transport
    local: tuple[str, int]
    remote: tuple[str, int]
    connection: int
    call_id: str
    cseq: int
    #: epoch seconds
    expires: float
    registered: float
    path: tuple[str, ...] = ()
    instance: str | None = None
    reg_id: int | None = None
    user_agent: str = ""
    #: the contact names another host than the packet came from
    nat: bool = False

    @property
    def flow(self) -> Flow:
        """The flow the phone registered over."""
        return Flow(self.transport, self.local, self.remote, self.connection)

    @property
    def key(self) -> str:
        """What makes a binding the same: instance and reg-id (RFC 5626), else the contact."""
        return f"{self.instance};{self.reg_id}" if self.instance and self.reg_id else self.contact


@dataclass(frozen=True, slots=True)
class Registration:
    """What a REGISTER leads to."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    store: tuple[Binding, ...] = ()
    remove: tuple[str, ...] = ()


def _contact_of(value: str) -> tuple[NameAddr, SipUri]:
    address = NameAddr.parse(value)
    uri = address.parsed
    if not isinstance(uri, SipUri):
        raise ParseError("sip.register.contact", "a contact must be a sip or sips URI")
    return address, uri


def _seconds(text: str | None, default: int) -> int:
    """Return an expiry; a malformed one counts as the default (RFC 3261 section 20.19)."""
    if text is None or not (text.isdecimal() and text.isascii() and len(text) < 12):
        return default
    return min(int(text), 2**31)


def process(
    request: Request,
    flow: Flow,
    bindings: Mapping[str, Binding],
    limits: RegistrarLimits,
    now: float,
) -> Registration:
    """Return the answer to an authenticated REGISTER.

    Args:
        request: the REGISTER.
        flow: where it came from.
        bindings: the account's present bindings by key; expired ones are passed over.
        limits: lengths and counts that are allowed.
        now: epoch seconds.

    Raises:
        ParseError: a header field is malformed (400).
    """
    present = {key: b for key, b in bindings.items() if b.expires > now}
    values = request.get_all("Contact")
    default = _seconds(request.get("Expires"), limits.register_default_expires)
    call_id, (cseq, _) = request.call_id, request.cseq
    if not values:
        return Registration(200, _contacts(present.values(), now))
    if any(value.strip() == "*" for value in values):
        if len(values) != 1 or _seconds(request.get("Expires"), -1) != 0:
            raise ParseError(
                "sip.register.star", "Contact: * needs Expires: 0 and no other contact"
            )
        stale = [b for b in present.values() if b.call_id == call_id and b.cseq >= cseq]
        if stale:
            return Registration(500)
        return Registration(200, (), (), tuple(present))
    path = tuple(request.get_all("Path"))
    supported = request.options("Supported")
    if path and "path" not in supported:
        return Registration(420, (("Unsupported", "path"),))
    store: list[Binding] = []
    remove: list[str] = []
    for value in values:
        address, uri = _contact_of(value)
        expires = _seconds(address.params.get("expires"), default)
        if 0 < expires < limits.register_min_expires:
            return Registration(423, (("Min-Expires", str(limits.register_min_expires)),))
        expires = min(expires, limits.register_max_expires)
        instance = address.params.get("+sip.instance")
        reg_id_text = address.params.get("reg-id")
        reg_id = (
            int(reg_id_text)
            if reg_id_text and reg_id_text.isdecimal() and len(reg_id_text) < 10
            else None
        )
        contact = str(address.uri)
        binding = Binding(
            contact=contact,
            transport=flow.transport,
            local=flow.local,
            remote=flow.remote,
            connection=flow.connection,
            call_id=call_id,
            cseq=cseq,
            expires=now + expires,
            registered=now,
            path=path,
            instance=instance.strip('"') if instance else None,
            reg_id=reg_id,
            user_agent=(request.get("User-Agent") or "")[:120],
            nat=uri.host.strip("[]") != flow.remote[0],
        )
        old = present.get(binding.key)
        if old is not None and old.call_id == call_id and old.cseq >= cseq:
            # RFC 3261 section 10.3, step 7: an old or repeated request changes nothing
            return Registration(500)
        if expires == 0:
            if old is not None:
                remove.append(binding.key)
                del present[binding.key]
            continue
        store.append(binding)
        present[binding.key] = binding
    # a phone that restarts on another port leaves its old contact behind (same instance, or
    # the oldest when there are more than allowed)
    for key, other in list(present.items()):
        if any(
            b.instance
            and b.instance == other.instance
            and b.reg_id == other.reg_id
            and b.key != key
            for b in store
        ):
            remove.append(key)
            del present[key]
    while len(present) > limits.max_contacts:
        oldest = min(present.values(), key=lambda b: b.registered)
        if oldest in store:
            return Registration(403)
        remove.append(oldest.key)
        del present[oldest.key]
    headers = _contacts(present.values(), now)
    if path:
        headers += tuple(("Path", value) for value in path)
    if any(b.reg_id for b in store) and "outbound" in supported:
        headers += (("Require", "outbound"), ("Flow-Timer", "60"))
    return Registration(200, headers, tuple(store), tuple(remove))


def _contacts(bindings: Iterable[Binding], now: float) -> tuple[tuple[str, str], ...]:
    return tuple(
        ("Contact", f"<{b.contact}>;expires={max(1, round(b.expires - now))}") for b in bindings
    )
