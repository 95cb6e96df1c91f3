"""Which addresses a system listens on, and whether they can be had."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from comms.errors import OperatorError

if TYPE_CHECKING:
    from comms.settings import Settings


class PortError(OperatorError):
    """An address cannot be had."""


@dataclass(frozen=True, slots=True)
class Listener:
    """An address that a role will listen on."""

    role: Literal["web", "sip", "media"]
    kind: Literal["UDP", "TCP"]
    host: str
    port: int
    #: the setting the port comes from, e.g. "sip.udp_port"
    setting: str

    def problem(self) -> str | None:
        """Return one line on why this address cannot be had, None if it can."""
        from comms.settings import variable_name

        section, _, key = self.setting.partition(".")
        variable = variable_name(section, key)
        where = f"{self.kind} port {self.port} on {self.host}"
        try:
            self._bind()
        except socket.gaierror:
            return f"{section}.host is {self.host}, which is no address of this machine"
        except OSError as error:
            match error.errno:
                case errno.EADDRINUSE:
                    return (
                        f"{where} is in use by another program; end that program or set "
                        f"{self.setting} ({variable}) to another port"
                    )
                case errno.EACCES:
                    return (
                        f"{where} needs more rights than this user has; set {self.setting} "
                        f"({variable}) to a port from 1024"
                    )
                case errno.EADDRNOTAVAIL:
                    return f"{section}.host is {self.host}, which is no address of this machine"
                case _:
                    return f"{where} cannot be opened: {error.strerror} (set by {self.setting})"
        return None

    def _bind(self) -> None:
        type_ = socket.SOCK_DGRAM if self.kind == "UDP" else socket.SOCK_STREAM
        family, _, _, _, address = socket.getaddrinfo(self.host, self.port, type=type_)[0]
        with socket.socket(family, type_) as trial:
            if self.kind == "TCP":
                # as servers do: connections of an earlier run that linger are no obstacle
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)


def listeners(settings: Settings) -> Iterator[Listener]:
    """Yield every address the web and SIP roles of one system listen on."""
    yield Listener("web", "TCP", settings.web.host, settings.web.port, "web.port")
    sip = settings.sip
    for number in range(1, sip.workers + 1):
        shift = sip.port_shift(f"sip-{number}")
        yield Listener("sip", "UDP", sip.host, sip.udp_port + shift, "sip.udp_port")
        yield Listener("sip", "TCP", sip.host, sip.tcp_port + shift, "sip.tcp_port")
        if sip.tls_cert is not None:
            yield Listener("sip", "TCP", sip.host, sip.tls_port + shift, "sip.tls_port")


def media_ports_in_use(settings: Settings) -> int:
    """Return how many of the even media ports another program holds."""
    media = settings.media
    first = media.port_min + media.port_min % 2
    return sum(
        Listener("media", "UDP", media.address, port, "media.port_min").problem() is not None
        for port in range(first, media.port_max, 2)
    )


def require_listeners(settings: Settings) -> None:
    """Check every address before anything starts.

    Raises:
        PortError: the first that cannot be had.
    """
    for listener in listeners(settings):
        if problem := listener.problem():
            raise PortError(problem)
