"""SIP, SIPS, TEL and URN addresses, and the name-addr form around them (RFC 3261 §19, §25.1).

Everything is parsed in one pass over the text, by `find` and character classes that cannot
back-track.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import unquote_to_bytes

from sip.core.errors import ParseError

_HEX: Final = frozenset("0123456789abcdefABCDEF")
_USER_OK: Final = re.compile(
    r"[A-Za-z0-9\-_.!~*'()%&=+$,;?/#\[\]:^`{|}\u0080-\U0010ffff]*"
).fullmatch
_HOST_OK: Final = re.compile(r"[A-Za-z0-9\-_.]+").fullmatch
_V6_OK: Final = re.compile(r"\[[0-9A-Fa-f:.]+\]").fullmatch
_PARAMS_OK: Final = re.compile(r"[A-Za-z0-9\-_.!~*'()%\[\]/:&+$;=\u0080-\U0010ffff]*").fullmatch
_HEADERS_OK: Final = re.compile(r"[A-Za-z0-9\-_.!~*'()%\[\]/?:+$=&@;,\u0080-\U0010ffff]*").fullmatch
_SCHEME_OK: Final = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*").fullmatch
_OPAQUE_OK: Final = re.compile(r"[!#-;=?-~\u0080-\U0010ffff]+").fullmatch
_TEL_OK: Final = re.compile(r"\+?[0-9A-Fa-f*#\-.()]+").fullmatch
TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+").fullmatch
_SPECIAL: Final = re.compile(r'[",<>\\]').finditer
_NEEDS_CARE: Final = re.compile(r'["\\\r\n]').search
_ESCAPE_USER: Final = re.compile(r"[^A-Za-z0-9\-_.!~*'()&=+$,;?/]").sub
_ESCAPE_HEADER: Final = re.compile(r"[^A-Za-z0-9\-_.!~*'()\[\]/?:+$]").sub

#: What stands behind the scheme of most SIP URIs; others are taken apart step by step.
_USUAL_URI: Final = re.compile(
    r"(?:([A-Za-z0-9\-_.!~*'()&=+$,]++)@)?([A-Za-z0-9.\-]++)(?::([0-9]{1,5}+))?(?:;([^?@]++))?"
).fullmatch
#: A name-addr without anything unusual: quoted name or none, URI, parameters.
_USUAL_NAME_ADDR: Final = re.compile(
    r'(?:("[^"\\]*+") ?)?<([^<> \t"]++)>(?:;([^"<>]++))?'
).fullmatch

#: the most parameters one address or header field may have
MAX_PARAMS: Final = 16_384

Params = dict[str, str | None]


def _bad(what: str, status: int = 400) -> ParseError:
    return ParseError(f"sip.parse.{what}", f"malformed {what}", status=status)


def unescape(text: str) -> str:
    """Undo %XX escapes; what is not UTF-8 afterwards is read as ISO 8859-1."""
    if "%" not in text:
        return text
    raw = unquote_to_bytes(text)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def escape_user(text: str) -> str:
    """Escape text so that it may stand as the user part of a SIP URI."""
    return _ESCAPE_USER(_percent, text)


def escape_header(text: str) -> str:
    """Escape text so that it may stand as a header value in a SIP URI, as in `?Replaces=…`."""
    return _ESCAPE_HEADER(_percent, text)


def _percent(match: re.Match[str]) -> str:
    data = match[0].encode("utf-8", "replace")
    return "".join(f"%{byte:02X}" for byte in data)


def _check_escapes(text: str, what: str) -> None:
    """Every per cent sign must be followed by two hexadecimal digits."""
    at = text.find("%")
    while at >= 0:
        if not (text[at + 1 : at + 2] in _HEX and text[at + 2 : at + 3] in _HEX):
            raise _bad(what)
        at = text.find("%", at + 1)


def parse_port(text: str, what: str = "port") -> int:
    """A port from 0 to 65535; raises ParseError."""
    if 0 < len(text) < 6 and text.isdecimal() and text.isascii():
        port = int(text)
        if port < 65536:
            return port
    raise _bad(what)


def split_host_port(text: str, what: str = "host") -> tuple[str, int | None]:
    """`host`, `host:port`, `[v6]:port` into host (IPv6 keeps its brackets) and port or None."""
    if text[:1] == "[":
        host, bracket, rest = text.partition("]")
        host += bracket
        if not _V6_OK(host):
            raise _bad(what)
        if not rest:
            return host, None
        if rest[0] != ":":
            raise _bad(what)
        return host, parse_port(rest[1:])
    host, colon, port = text.partition(":")
    if not _HOST_OK(host):
        raise _bad(what)
    return host, parse_port(port) if colon else None


def split_commas(text: str) -> list[str]:
    """Split a comma list, leaving commas in quoted strings and angle brackets alone.

    Raises ParseError when a quote or bracket is left open.
    """
    if "," not in text:
        return [text.strip()]
    if text.count(",") > MAX_PARAMS:
        raise _bad("list")
    if '"' not in text and "<" not in text:
        return [part.strip() for part in text.split(",")]
    return _split_outside(text, ",")


def _split_outside(text: str, separator: str) -> list[str]:
    parts: list[str] = []
    start = 0
    quoted = False
    angle = False
    skip = -1
    pattern = _SPECIAL if separator == "," else _SPECIAL_SEMICOLON
    for match in pattern(text):
        at = match.start()
        if at == skip:
            continue
        char = text[at]
        if quoted:
            if char == "\\":
                skip = at + 1
            elif char == '"':
                quoted = False
        elif char == '"':
            quoted = not angle
        elif char == "<":
            angle = True
        elif char == ">":
            angle = False
        elif char == separator and not angle:
            parts.append(text[start:at].strip())
            start = at + 1
    if quoted or angle:
        raise _bad("quote")
    parts.append(text[start:].strip())
    return parts


_SPECIAL_SEMICOLON: Final = re.compile(r'[";<>\\]').finditer


def parse_params(text: str, what: str = "parameter") -> Params:
    """Header parameters from `a=b;c`, without the leading semicolon.

    Names are lower-case; a quoted value keeps its quotes (see `unquote`); a parameter without
    value has None; the first of equal names counts.
    """
    params: Params = {}
    if not text:
        return params
    if '"' not in text and " " not in text and "\t" not in text and len(text) < 1024:
        # The usual case; whatever is odd goes the long way below.
        for part in text.split(";"):
            name, equals, value = part.partition("=")
            if not name or (equals and not value):
                break
            name = name.lower()
            if name not in params:
                params[name] = value if equals else None
        else:
            return params
        params.clear()
    parts = _split_outside(text, ";") if '"' in text else text.split(";")
    if len(parts) > MAX_PARAMS:
        raise _bad(what)
    if len(parts) > 1 and not parts[-1].strip():
        # A semicolon at the end is a common slip; one elsewhere is not forgiven.
        parts.pop()
    for part in parts:
        name, equals, value = part.partition("=")
        name = name.strip().lower()
        if not name:
            raise _bad(what)
        if name not in params:
            if equals:
                value = value.strip()
                if not value:
                    raise _bad(what)
                params[name] = value
            else:
                params[name] = None
    return params


def format_params(params: Params) -> str:
    """The opposite of `parse_params`, with the leading semicolon."""
    return "".join(
        f";{name}" if value is None else f";{name}={value}" for name, value in params.items()
    )


def unquote(text: str) -> str:
    """The content of a quoted string; other text is returned as it is."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    inner = text[1:-1]
    if "\\" not in inner:
        return inner
    out: list[str] = []
    at = 0
    while (slash := inner.find("\\", at)) >= 0:
        out.append(inner[at:slash])
        out.append(inner[slash + 1 : slash + 2])
        at = slash + 2
    out.append(inner[at:])
    return "".join(out)


def quote(text: str) -> str:
    """Text as a quoted string; line ends become spaces, as they must not stand in a header."""
    if _NEEDS_CARE(text):
        text = text.replace("\\", "\\\\").replace('"', '\\"')
        text = text.replace("\r", " ").replace("\n", " ")
    return f'"{text}"'


class SipUri:
    """A SIP or SIPS URI. Treat it as immutable; `with_` makes a changed copy."""

    __slots__ = ("headers", "host", "params", "password", "port", "scheme", "user")

    def __init__(
        self,
        host: str,
        user: str | None = None,
        port: int | None = None,
        *,
        scheme: str = "sip",
        password: str | None = None,
        params: Params | None = None,
        headers: str | None = None,
    ) -> None:
        #: "sip" or "sips"
        self.scheme = scheme
        #: as written, with escapes; see `username`
        self.user = user
        self.password = password
        #: host name or address; IPv6 stands in brackets
        self.host = host
        self.port = port
        #: names in lower case, values as written
        self.params: Params = params if params is not None else {}
        #: what stands after the question mark, as written; see `header_list`
        self.headers = headers

    @classmethod
    def parse(cls, text: str) -> SipUri:
        """Parse; raises ParseError (400, 416 when the scheme is neither sip nor sips)."""
        scheme, colon, rest = text.partition(":")
        lower = scheme.lower()
        if not colon or lower not in ("sip", "sips"):
            raise _bad("uri-scheme", 416)
        return cls._parse(lower, rest)

    @classmethod
    def _parse(cls, scheme: str, rest: str) -> SipUri:
        usual = _USUAL_URI(rest)
        if usual is not None:
            name, domain, digits, tail = usual.groups()
            if digits is None or len(digits) < 5 or int(digits) < 65536:
                return cls(
                    domain,
                    name,
                    int(digits) if digits is not None else None,
                    scheme=scheme,
                    params=_uri_params(tail) if tail is not None else None,
                )
        user: str | None = None
        password: str | None = None
        at = rest.find("@")
        if at >= 0:
            user = rest[:at]
            rest = rest[at + 1 :]
            if not (user.isalnum() and user.isascii()):
                if not user or not _USER_OK(user):
                    raise _bad("uri-user")
                if "%" in user:
                    _check_escapes(user, "uri-user")
                user, colon, secret = user.partition(":")
                if colon:
                    password = secret
                if not user:
                    raise _bad("uri-user")
        headers: str | None = None
        mark = rest.find("?")
        if mark >= 0:
            headers = rest[mark + 1 :]
            rest = rest[:mark]
            if not _HEADERS_OK(headers):
                raise _bad("uri-headers")
            _check_escapes(headers, "uri-headers")
        params: Params = {}
        semicolon = rest.find(";")
        if semicolon >= 0:
            params = _uri_params(rest[semicolon + 1 :])
            rest = rest[:semicolon]
        if rest.isalnum() and rest.isascii():
            return cls(
                rest, user, None, scheme=scheme, password=password, params=params, headers=headers
            )
        host, port = split_host_port(rest, "uri-host")
        return cls(
            host, user, port, scheme=scheme, password=password, params=params, headers=headers
        )

    @property
    def username(self) -> str:
        """The user part without escapes, empty when there is none."""
        return unescape(self.user) if self.user else ""

    @property
    def transport(self) -> str | None:
        """The transport parameter in lower case, None when it is absent."""
        value = self.params.get("transport")
        return value.lower() if value else None

    @property
    def loose(self) -> bool:
        """Whether a route with this URI is a loose one (RFC 3261 §19.1.1)."""
        return "lr" in self.params

    def header_list(self) -> list[tuple[str, str]]:
        """The headers of the URI, unescaped, in order."""
        if not self.headers:
            return []
        pairs = []
        for part in self.headers.split("&"):
            name, _, value = part.partition("=")
            pairs.append((unescape(name), unescape(value)))
        return pairs

    def with_(
        self, *, params: Params | None = None, headers: str | None = None, user: str | None = None
    ) -> SipUri:
        """A copy with other params, headers (None: no headers) and, if given, another user."""
        return SipUri(
            self.host,
            self.user if user is None else user,
            self.port,
            scheme=self.scheme,
            password=self.password,
            params=dict(self.params if params is None else params),
            headers=headers,
        )

    def __str__(self) -> str:
        text = self.scheme + ":"
        if self.user is not None:
            text += self.user
            if self.password is not None:
                text += ":" + self.password
            text += "@"
        text += self.host
        if self.port is not None:
            text += f":{self.port}"
        if self.params:
            text += format_params(self.params)
        if self.headers is not None:
            text += "?" + self.headers
        return text

    def __repr__(self) -> str:
        return f"SipUri({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        """RFC 3261 §19.1.4. Not transitive: a parameter unknown to one side is ignored."""
        if not isinstance(other, SipUri):
            return NotImplemented
        if (
            self.scheme != other.scheme
            or self.host.lower() != other.host.lower()
            or self.port != other.port
            or self.username != other.username
            or (self.user is None) != (other.user is None)
            or unescape(self.password or "") != unescape(other.password or "")
        ):
            return False
        mine, theirs = self.params, other.params
        for name in ("transport", "user", "ttl", "method", "maddr"):
            if _folded(mine, name) != _folded(theirs, name):
                return False
        for name in mine:
            if name in theirs and _folded(mine, name) != _folded(theirs, name):
                return False
        if self.headers == other.headers:
            return True
        return _header_set(self) == _header_set(other)

    def __hash__(self) -> int:
        return hash((self.scheme, self.username, self.host.lower(), self.port))


def _folded(params: Params, name: str) -> str | None:
    if name not in params:
        return None
    return unescape(params[name] or "").lower()


def _header_set(uri: SipUri) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in uri.header_list())


def _uri_params(text: str) -> Params:
    params: Params = {}
    if not _PARAMS_OK(text):
        raise _bad("uri-parameter")
    if "%" in text:
        _check_escapes(text, "uri-parameter")
    parts = text.split(";")
    if len(parts) > MAX_PARAMS:
        raise _bad("uri-parameter")
    for part in parts:
        name, equals, value = part.partition("=")
        if not name or (equals and not value) or "=" in value:
            raise _bad("uri-parameter")
        name = name.lower()
        if name not in params:
            params[name] = value if equals else None
    return params


class TelUri:
    """A telephone number as URI (RFC 3966)."""

    __slots__ = ("number", "params")

    scheme = "tel"

    def __init__(self, number: str, params: Params | None = None) -> None:
        #: as written, with visual separators; see `digits`
        self.number = number
        self.params: Params = params if params is not None else {}

    @classmethod
    def parse(cls, text: str) -> TelUri:
        """Parse; raises ParseError."""
        scheme, _, rest = text.partition(":")
        if scheme.lower() != "tel":
            raise _bad("uri-scheme", 416)
        number, semicolon, params = rest.partition(";")
        if not _TEL_OK(number):
            raise _bad("tel-uri")
        return cls(number, _uri_params(params) if semicolon else {})

    @property
    def digits(self) -> str:
        """The number without visual separators, with its leading plus."""
        return self.number.translate(_SEPARATORS)

    def __str__(self) -> str:
        return f"tel:{self.number}{format_params(self.params)}"

    def __repr__(self) -> str:
        return f"TelUri({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        """RFC 3966 §4: separators do not count, the parameters do."""
        if not isinstance(other, TelUri):
            return NotImplemented
        if self.digits.lower() != other.digits.lower() or self.params.keys() != other.params.keys():
            return False
        return all(_folded(self.params, n) == _folded(other.params, n) for n in self.params)

    def __hash__(self) -> int:
        return hash(self.digits.lower())


_SEPARATORS: Final = str.maketrans("", "", "-.()")


class OtherUri:
    """A URI of another scheme, as `urn:service:sos`; kept as text."""

    __slots__ = ("rest", "scheme")

    def __init__(self, scheme: str, rest: str) -> None:
        self.scheme = scheme
        self.rest = rest

    def __str__(self) -> str:
        return f"{self.scheme}:{self.rest}"

    def __repr__(self) -> str:
        return f"OtherUri({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OtherUri):
            return NotImplemented
        return self.scheme == other.scheme and self.rest.lower() == other.rest.lower()

    def __hash__(self) -> int:
        return hash((self.scheme, self.rest.lower()))


Uri = SipUri | TelUri | OtherUri


def parse_uri(text: str) -> Uri:
    """Parse a URI of any scheme; raises ParseError (400)."""
    # The messages of one call name the same few addresses again and again.
    return _known_uri(text) if len(text) < 128 else _parse_uri(text)


def _parse_uri(text: str) -> Uri:
    scheme, colon, rest = text.partition(":")
    if not colon:
        raise _bad("uri")
    lower = scheme.lower()
    if lower in ("sip", "sips"):
        return SipUri._parse(lower, rest)
    if lower == "tel":
        return TelUri.parse(text)
    if not _SCHEME_OK(scheme) or not _OPAQUE_OK(rest):
        raise _bad("uri")
    return OtherUri(lower, rest)


_known_uri: Final = lru_cache(maxsize=4096)(_parse_uri)


class NameAddr:
    """An address of From, To, Contact, Route and the like: display name, URI, parameters."""

    __slots__ = ("_parsed", "_raw_display", "params", "uri")

    def __init__(self, uri: str | Uri, display: str | None = None, params: Params | None = None):
        self._parsed: Uri | None = None if isinstance(uri, str) else uri
        #: the URI as written
        self.uri = uri if isinstance(uri, str) else str(uri)
        self._raw_display = None if display is None else quote(display)
        #: header parameters; a quoted value keeps its quotes
        self.params: Params = params if params is not None else {}

    @classmethod
    def parse(cls, text: str) -> NameAddr:
        """Parse one address, not a list; raises ParseError.

        Without angle brackets all parameters belong to the header (RFC 3261 §20.10).
        """
        self = cls.__new__(cls)
        self._parsed = None
        usual = _USUAL_NAME_ADDR(text)
        if usual is not None:
            self._raw_display, self.uri, params = usual.groups()
            self.params = parse_params(params) if params else {}
            return self
        text = text.strip()
        self._raw_display = None
        if text[:1] == '"':
            end = _closing_quote(text)
            opening = text.find("<", end)
            if opening < 0 or text[end + 1 : opening].strip():
                raise _bad("name-addr")
            self._raw_display = text[: end + 1]
        else:
            opening = text.find("<")
            if opening > 0:
                name = text[:opening].strip()
                if '"' in name or ":" in name or ";" in name:
                    raise _bad("display-name")
                self._raw_display = name or None
        if opening >= 0:
            closing = text.find(">", opening)
            if closing < 0:
                raise _bad("name-addr")
            self.uri = text[opening + 1 : closing].strip()
            rest = text[closing + 1 :]
            if rest:
                rest = rest.lstrip()
                if rest[:1] != ";":
                    raise _bad("name-addr")
                self.params = parse_params(rest[1:])
            else:
                self.params = {}
        else:
            uri, semicolon, rest = text.partition(";")
            self.uri = uri.rstrip()
            # RFC 3261 §20.10: a URI with a comma, question mark or semicolon needs the brackets.
            if "?" in self.uri or "," in self.uri:
                raise _bad("name-addr")
            self.params = parse_params(rest) if semicolon else {}
        if not self.uri or " " in self.uri or "\t" in self.uri:
            raise _bad("name-addr")
        return self

    @property
    def display(self) -> str | None:
        """The display name without quotes, None when there is none."""
        raw = self._raw_display
        return None if raw is None else unquote(raw)

    @property
    def parsed(self) -> Uri:
        """The URI, parsed on first use; raises ParseError."""
        if self._parsed is None:
            self._parsed = parse_uri(self.uri)
        return self._parsed

    @property
    def tag(self) -> str | None:
        """The tag parameter."""
        return self.params.get("tag")

    @property
    def star(self) -> bool:
        """Whether this is the `*` of a Contact that removes all bindings."""
        return self.uri == "*"

    def text(self, params: Params) -> str:
        """The address as header value, with other parameters than its own."""
        if self.uri == "*":
            return "*"
        name = f"{self._raw_display} " if self._raw_display else ""
        return f"{name}<{self.uri}>{format_params(params)}"

    def __str__(self) -> str:
        return self.text(self.params)

    def __repr__(self) -> str:
        return f"NameAddr({str(self)!r})"


def _closing_quote(text: str) -> int:
    """Index of the quote that closes the one at the beginning; raises ParseError."""
    at = 1
    while True:
        end = text.find('"', at)
        if end < 0:
            raise _bad("quote")
        slash = text.find("\\", at, end)
        if slash < 0:
            return end
        at = slash + 2
