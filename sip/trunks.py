"""Ways to the public network: addresses, registration, and who may come in."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from comms.directory import Directory, Trunk
from sip.call.model import Target
from sip.core.events import Txn
from sip.core.flow import Flow
from sip.core.message import Request, Response

_log = structlog.get_logger(__name__)

_REGISTER_SECONDS = 600
_RESOLVE_SECONDS = 60.0
#: addresses that are remembered with the trunk they are trusted as
_MAX_TRUSTED = 10_000
_RETRY_SECONDS = (2.0, 5.0, 15.0, 30.0, 60.0)


@dataclass(slots=True)
class _State:
    """What is known of one trunk."""

    trunk: Trunk
    #: resolved addresses, the first is used
    addresses: list[str] = field(default_factory=list)
    networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = field(default_factory=list)
    registered_until: float = 0.0
    next_register: float = 0.0
    failures: int = 0
    cseq: int = 1
    call_id: str = ""
    tag: str = ""
    transaction: Txn | None = None


class Trunks:
    """All trunks of the directory.

    Args:
        flow_to: makes the flow for a transport and an address.
        request: sends an out-of-dialog request with user and password for a challenge and returns
            its transaction.
        token: gives unguessable ids.
    """

    def __init__(
        self,
        flow_to: Callable[[str, str, int], Flow],
        request: Callable[[Request, Flow, tuple[str, str]], Txn],
        token: Callable[[], str],
    ) -> None:
        self._flow_to = flow_to
        self._request = request
        self._token = token
        self._states: dict[str, _State] = {}
        self._by_transaction: dict[Txn, _State] = {}
        self._domain = ""
        #: what `incoming` found; forgotten when a trunk or its addresses change
        self._trusted: dict[str, Trunk | None] = {}

    def update(self, directory: Directory) -> None:
        """Take over the trunks of a new directory; unchanged ones keep their registration."""
        states: dict[str, _State] = {}
        self._domain = directory.domain
        for trunk in directory.trunks:
            old = self._states.get(trunk.name)
            if old is not None and old.trunk == trunk:
                states[trunk.name] = old
                continue
            state = _State(trunk, call_id=self._token(), tag=self._token())
            state.networks = [ipaddress.ip_network(text, strict=False) for text in trunk.allowed]
            if _is_address(trunk.host):
                state.addresses = [trunk.host]
            states[trunk.name] = state
        self._states = states
        self._trusted.clear()

    async def resolve(self) -> None:
        """Look up the addresses of trunks that are given by name; keep the old ones on failure.

        Run it again every minute: providers move.
        """
        loop = asyncio.get_running_loop()
        for state in list(self._states.values()):
            if _is_address(state.trunk.host):
                continue
            try:
                found = await loop.getaddrinfo(
                    state.trunk.host, state.trunk.port, type=socket.SOCK_DGRAM
                )
            except OSError as error:
                _log.warning("trunk-unresolved", trunk=state.trunk.name, error=error.errno)
                continue
            state.addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
            self._trusted.clear()

    def incoming(self, address: str) -> Trunk | None:
        """Return the trunk as which an IP address is trusted, None if there is none."""
        if address not in self._trusted:
            if len(self._trusted) >= _MAX_TRUSTED:
                self._trusted.clear()
            self._trusted[address] = self._find(address)
        return self._trusted[address]

    def _find(self, address: str) -> Trunk | None:
        ip = ipaddress.ip_address(address.partition("%")[0])
        for state in self._states.values():
            if address in state.addresses and state.trunk.kind == "register":
                return state.trunk
            if any(ip.version == net.version and ip in net for net in state.networks):
                return state.trunk
        return None

    def target(self, name: str, number: str, now: float) -> Target | None:
        """Return where to send a call for `number`, None while the trunk cannot be used."""
        state = self._states.get(name)
        if state is None or not state.addresses:
            return None
        trunk = state.trunk
        if trunk.kind == "register" and state.registered_until <= now:
            return None
        host = trunk.domain or trunk.host
        port = "" if trunk.domain or trunk.port == 5060 else f":{trunk.port}"
        return Target(
            flow=self._flow_to(trunk.transport, state.addresses[0], trunk.port),
            uri=f"sip:{number}@{host}{port};user=phone",
            number=number,
            strict=True,
            trunk=trunk,
        )

    def next_timer(self) -> float | None:
        """Return when the next registration is due."""
        return min(
            (
                state.next_register
                for state in self._states.values()
                if state.trunk.kind == "register" and state.transaction is None
            ),
            default=None,
        )

    def handle_timers(self, now: float) -> None:
        """Send the registrations that are due (RFC 3261 section 10.2)."""
        for state in self._states.values():
            if (
                state.trunk.kind == "register"
                and state.transaction is None
                and state.next_register <= now
            ):
                if not state.addresses:
                    state.next_register = now + _RETRY_SECONDS[0]
                    continue
                self._send(state)

    def answered(self, transaction: Txn, response: Response, now: float) -> bool:
        """Take the answer to a registration; returns whether the transaction was one of ours."""
        if response.status < 200:
            return transaction in self._by_transaction
        state = self._by_transaction.pop(transaction, None)
        if state is None:
            return False
        state.transaction = None
        if response.status < 300:
            seconds = _granted(response)
            state.registered_until = now + seconds
            if state.failures or not state.next_register:
                _log.info("trunk-registered", trunk=state.trunk.name, seconds=seconds)
            state.next_register = now + max(seconds * 0.8, seconds - 60.0)
            state.failures = 0
        else:
            self._failed(state, now, response.status)
        return True

    def failed(self, transaction: Txn, now: float) -> bool:
        """Take note that a registration got no answer; returns whether it was one of ours."""
        state = self._by_transaction.pop(transaction, None)
        if state is None:
            return False
        state.transaction = None
        self._failed(state, now, 408)
        return True

    def registered(self) -> dict[str, float]:
        """Return for each registering trunk until when it is registered (epoch seconds)."""
        return {
            name: state.registered_until
            for name, state in self._states.items()
            if state.trunk.kind == "register"
        }

    def _failed(self, state: _State, now: float, status: int) -> None:
        delay = _RETRY_SECONDS[min(state.failures, len(_RETRY_SECONDS) - 1)]
        state.failures += 1
        state.next_register = now + delay
        _log.warning("trunk-not-registered", trunk=state.trunk.name, status=status, retry=delay)

    def _send(self, state: _State) -> None:
        trunk = state.trunk
        domain = trunk.domain or trunk.host
        flow = self._flow_to(trunk.transport, state.addresses[0], trunk.port)
        own = f"<sip:{trunk.user}@{domain}>"
        contact_host = f"[{flow.local[0]}]" if ":" in flow.local[0] else flow.local[0]
        headers = [
            ("From", f"{own};tag={state.tag}"),
            ("To", own),
            ("Call-ID", state.call_id),
            ("CSeq", f"{state.cseq} REGISTER"),
            ("Max-Forwards", "70"),
            ("Contact", f"<sip:{trunk.user}@{contact_host}:{flow.local[1]}>"),
            ("Expires", str(_REGISTER_SECONDS)),
        ]
        # a challenged REGISTER is repeated by the core with the next number
        state.cseq += 2
        request = Request("REGISTER", f"sip:{domain}", headers)
        state.transaction = self._request(request, flow, (trunk.user, trunk.password))
        self._by_transaction[state.transaction] = state


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _granted(response: Response) -> float:
    """Return the seconds a registrar granted: those of the contact, else of Expires."""
    for value in response.get_all("Contact"):
        at = value.lower().find(";expires=")
        if at >= 0:
            number = value[at + 9 :].partition(";")[0].strip()
            if number.isdecimal():
                return max(30.0, float(number))
    return max(30.0, float(response.get_int("Expires") or _REGISTER_SECONDS))
