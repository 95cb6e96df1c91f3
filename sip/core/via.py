"""Via: the way a request took, and the way back (RFC 3261 §20.42)."""

from __future__ import annotations

import re
from typing import Final

from sip.core.errors import ParseError
from sip.core.uri import TOKEN, Params, format_params, parse_params, parse_port, split_host_port

_TRANSPORTS: Final = frozenset({"UDP", "TCP", "TLS", "WS", "WSS"})
#: A Via without optional white space; others are taken apart step by step.
_USUAL_VIA: Final = re.compile(
    r"SIP/2\.0/(UDP|TCP|TLS|WSS?) (([A-Za-z0-9.\-]++)(?::([0-9]{1,5}+))?)(?:;([^,\"]++))?"
).fullmatch


class Via:
    """One Via value (RFC 3261 §20.42)."""

    __slots__ = ("host", "params", "port", "sent_by", "transport")

    def __init__(
        self,
        transport: str,
        host: str,
        port: int | None = None,
        params: Params | None = None,
        sent_by: str | None = None,
    ) -> None:
        #: in upper case: UDP, TCP, TLS, WS, WSS or what else the peer wrote
        self.transport = transport
        self.host = host
        self.port = port
        self.params: Params = params if params is not None else {}
        #: host and port as written
        if sent_by is None:
            sent_by = host if port is None else f"{host}:{port}"
        self.sent_by = sent_by

    @classmethod
    def parse(cls, text: str) -> Via:
        """Parse one value; raises ParseError."""
        usual = _USUAL_VIA(text)
        if usual is not None:
            transport, sent_by, host, port_text, params = usual.groups()
            if port_text is None:
                port = None
            else:
                port = int(port_text)
                if port > 65535:
                    raise ParseError("sip.parse.via", "malformed Via")
            return cls(transport, host, port, parse_params(params) if params else {}, sent_by)
        if text.startswith("SIP/2.0/"):
            transport, _, rest = text[8:].partition(" ")
        else:
            name, _, rest = text.partition("/")
            version, slash2, rest = rest.partition("/")
            if not slash2 or name.strip().upper() != "SIP" or version.strip() != "2.0":
                raise ParseError("sip.parse.via", "malformed Via")
            rest = rest.strip()
            transport, _, rest = rest.partition(" ") if " " in rest else rest.partition("\t")
        sent_by, semicolon, params = rest.partition(";")
        sent_by = sent_by.strip()
        if ":" in sent_by and (" " in sent_by or "\t" in sent_by):
            sent_by = "".join(sent_by.split())
        if transport not in _TRANSPORTS:
            if not TOKEN(transport):
                raise ParseError("sip.parse.via", "malformed Via")
            transport = transport.upper()
        host, port = split_host_port(sent_by, "via")
        return cls(transport, host, port, parse_params(params) if semicolon else {}, sent_by)

    @property
    def branch(self) -> str | None:
        """The branch parameter."""
        return self.params.get("branch")

    @property
    def received(self) -> str | None:
        """The source address the next hop saw."""
        return self.params.get("received")

    @property
    def rport(self) -> int | None:
        """The source port the next hop saw; None when absent or only asked for."""
        value = self.params.get("rport")
        return parse_port(value, "via") if value else None

    @property
    def wants_rport(self) -> bool:
        """Whether the sender asked for its source port (RFC 3581)."""
        return "rport" in self.params

    @property
    def maddr(self) -> str | None:
        """The maddr parameter."""
        return self.params.get("maddr")

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/2.0/{self.transport} {self.host}{port}{format_params(self.params)}"

    def __repr__(self) -> str:
        return f"Via({str(self)!r})"
