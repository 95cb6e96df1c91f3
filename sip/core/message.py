"""SIP messages: lazy, linear, byte-exact where nothing was touched (RFC 3261 §7, §20).

`parse_message` decodes the head once and cuts it into lines; a header's value is looked at when
somebody asks for it. Header names are compared in their long, lower-case form, so `v` and `VIA`
are both `via`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from sip.core.errors import ParseError, TooLarge
from sip.core.names import KEYS, LIST_HEADERS, METHODS, PRETTY, REASONS, header_key
from sip.core.uri import TOKEN, NameAddr, Uri, parse_uri, split_commas
from sip.core.via import Via as Via

#: the most header fields a message may have
MAX_HEADERS: Final = 16_384
MAX_CSEQ: Final = 2**31 - 1

_COPIED: Final = frozenset({"via", "from", "to", "call-id", "cseq"})
#: the same in the order of a response
_USUAL_COPIED: Final = ("via", "from", "to", "call-id", "cseq")
#: copied into some responses
_SOMETIMES: Final = frozenset({"record-route", "timestamp"})
_key_of: Final = KEYS.get
_pretty_of: Final = PRETTY.get
_USUAL_BRANCH: Final = re.compile(
    r"Via: SIP/2\.0/[A-Z]++ [A-Za-z0-9.:\-\[\]]++(?:;rport(?:=[0-9]++)?|;received=[0-9a-f.:]++)*+"
    r";branch=([A-Za-z0-9]++)(?:;rport(?:=[0-9]++)?|;received=[0-9a-f.:]++)*+"
).fullmatch
_NO_CTL: Final = re.compile(r"[\r\n]").search


class Message:
    """What requests and responses have in common."""

    __slots__ = ("_body", "_cache", "_codec", "_keys", "_lines", "_raw")

    _keys: list[str]
    _lines: list[str]
    _body: bytes
    #: the bytes the message was parsed from, None once anything was changed
    _raw: bytes | None
    _cache: dict[str, Any]
    #: how the head is encoded: utf-8, or latin-1 when it came as what is not UTF-8
    _codec: str

    def _start_line(self) -> str:
        raise NotImplementedError

    # Reading

    def get(self, name: str) -> str | None:
        """The value of the first header field of that name, unfolded, None when absent."""
        key = _key_of(name) or header_key(name)
        keys = self._keys
        if key not in keys:
            return None
        return _value(self._lines[keys.index(key)])

    def has(self, name: str) -> bool:
        """Whether there is a header field of that name."""
        return (_key_of(name) or header_key(name)) in self._keys

    def get_all(self, name: str) -> list[str]:
        """All values of that name; comma lists are split where the header is a list.

        Raises ParseError when a quoted string or an angle bracket is left open.
        """
        key = _key_of(name) or header_key(name)
        keys = self._keys
        if key not in keys:
            return []
        if keys.count(key) == 1:
            value = _value(self._lines[keys.index(key)])
            if key not in LIST_HEADERS:
                return [value]
            if "," not in value:
                return [value] if value else []
            return [part for part in split_commas(value) if part]
        values = [_value(line) for k, line in zip(keys, self._lines, strict=True) if k == key]
        if key not in LIST_HEADERS:
            return values
        return [part for value in values for part in split_commas(value) if part]

    def options(self, name: str) -> set[str]:
        """The tokens of a list header (Supported, Require, Allow) as a set, in lower case."""
        return {value.lower() for value in self.get_all(name)}

    def get_int(self, name: str) -> int | None:
        """A non-negative number, None when absent; parameters and comments after it are ignored.

        Raises ParseError when it is no number or beyond 2**32 - 1.
        """
        value = self.get(name)
        if value is None:
            return None
        digits = value.partition(";")[0].partition("(")[0].strip()
        if not (digits.isdecimal() and digits.isascii() and len(digits) < 20):
            raise ParseError("sip.parse.number", f"malformed number in {header_key(name)}")
        number = int(digits)
        if number >= 2**32:
            raise ParseError("sip.parse.number", f"number too large in {header_key(name)}")
        return number

    def items(self) -> list[tuple[str, str]]:
        """All header fields in order: the name as written and the value."""
        return [(line.partition(":")[0].strip(), _value(line)) for line in self._lines]

    # Changing

    def set(self, name: str, value: str) -> None:
        """Replace all fields of that name by one, at the place of the first."""
        key = header_key(name)
        line = _line(name, key, value)
        keys = self._keys
        if key in keys:
            at = keys.index(key)
            if keys.count(key) > 1:
                self.remove(name)
            else:
                del keys[at], self._lines[at]
            keys.insert(at, key)
            self._lines.insert(at, line)
        else:
            keys.append(key)
            self._lines.append(line)
        self._touch()

    def add(self, name: str, value: str) -> None:
        """Append a field."""
        key = header_key(name)
        self._lines.append(_line(name, key, value))
        self._keys.append(key)
        self._touch()

    def prepend(self, name: str, value: str) -> None:
        """Put a field before all others, as a Via or Record-Route must be."""
        key = header_key(name)
        self._lines.insert(0, _line(name, key, value))
        self._keys.insert(0, key)
        self._touch()

    def remove(self, name: str) -> None:
        """Remove all fields of that name."""
        key = header_key(name)
        if key not in self._keys:
            return
        kept = [(k, line) for k, line in zip(self._keys, self._lines, strict=True) if k != key]
        self._keys = [k for k, _ in kept]
        self._lines = [line for _, line in kept]
        self._touch()

    def replace_top_via(self, via: Via) -> None:
        """Replace the topmost Via value, keeping others that stand in the same field."""
        at = self._keys.index("via")
        value = _value(self._lines[at])
        rest = split_commas(value)[1:] if "," in value else []
        self._lines[at] = "Via: " + ", ".join([str(via), *rest])
        self._raw = None
        self._cache["via"] = via

    def note_source(self, host: str, port: int) -> None:
        """Note the source of a request in its topmost Via: `received` always when it differs from
        what stands there, `rport` when asked for (RFC 3261 §18.2.1, RFC 3581 §4).

        Raises ParseError.
        """
        via = self.via
        params = via.params
        received = "received" in params
        if "rport" not in params:
            if via.host != host or received:
                params["received"] = host
                self.replace_top_via(via)
            return
        plain = params["rport"] is None and not received
        params["rport"] = str(port)
        params["received"] = host
        at = self._keys.index("via")
        line = self._lines[at]
        if plain and "," not in line:
            # The usual case, without taking the line apart.
            place = line.find(";rport") + 6
            if place > 5 and line[place : place + 1] in (";", ""):
                self._lines[at] = f"{line[:place]}={port};received={host}{line[place:]}"
                self._raw = None
                return
        self.replace_top_via(via)

    def _touch(self) -> None:
        self._raw = None
        if self._cache:
            self._cache.clear()

    @property
    def body(self) -> bytes:
        """The body; setting it sets Content-Length."""
        return self._body

    @body.setter
    def body(self, value: bytes) -> None:
        self._body = value
        self.set("Content-Length", str(len(value)))

    # Typed values

    @property
    def call_id(self) -> str:
        """Call-ID; raises ParseError when absent or empty."""
        value = self._first("call-id")
        if not value:
            raise ParseError("sip.parse.call-id", "no Call-ID")
        return value

    @property
    def cseq(self) -> tuple[int, str]:
        """CSeq number and method; raises ParseError."""
        cached: tuple[int, str] | None = self._cache.get("cseq")
        if cached is not None:
            return cached
        value = self._first("cseq") or ""
        digits, _, method = value.partition(" ")
        if method in METHODS and len(digits) < 10 and digits.isdecimal() and digits.isascii():
            self._cache["cseq"] = cached = (int(digits), method)
            return cached
        parts = value.split()
        if len(parts) == 2:
            digits, method = parts
            if digits.isdecimal() and digits.isascii() and len(digits) < 20 and TOKEN(method):
                number = int(digits)
                # RFC 3261 §8.1.1.5
                if number <= MAX_CSEQ:
                    self._cache["cseq"] = cached = (number, method)
                    return cached
        raise ParseError("sip.parse.cseq", "malformed CSeq")

    @property
    def from_(self) -> NameAddr:
        """From; raises ParseError."""
        return self._address("from")

    @property
    def to(self) -> NameAddr:
        """To; raises ParseError."""
        return self._address("to")

    def _address(self, key: str) -> NameAddr:
        cached: NameAddr | None = self._cache.get(key)
        if cached is None:
            value = self._first(key)
            if not value:
                raise ParseError(f"sip.parse.{key}", f"no {key}")
            self._cache[key] = cached = NameAddr.parse(value)
        return cached

    @property
    def from_tag(self) -> str | None:
        """The tag of From, None when it has none; raises ParseError."""
        return self._tag("from", "from-tag")

    @property
    def to_tag(self) -> str | None:
        """The tag of To, None when it has none; raises ParseError."""
        return self._tag("to", "to-tag")

    def _tag(self, key: str, name: str) -> str | None:
        cached = self._cache
        if name in cached:
            known: str | None = cached[name]
            return known
        tag = _quick_tag(self._first(key) or "")
        if tag == "":
            tag = self._address(key).params.get("tag")
        cached[name] = tag
        return tag

    def _first(self, key: str) -> str | None:
        """`get` for a key."""
        keys = self._keys
        if key in keys:
            return _value(self._lines[keys.index(key)])
        return None

    @property
    def via(self) -> Via:
        """The topmost Via; raises ParseError."""
        cached: Via | None = self._cache.get("via")
        if cached is None:
            value = self._first("via")
            if not value:
                raise ParseError("sip.parse.via", "no Via")
            if "," in value:
                value = split_commas(value)[0]
            self._cache["via"] = cached = Via.parse(value)
        return cached

    @property
    def contacts(self) -> list[NameAddr]:
        """All contacts; raises ParseError."""
        cached: list[NameAddr] | None = self._cache.get("contact")
        if cached is None:
            cached = [NameAddr.parse(value) for value in self.get_all("Contact")]
            self._cache["contact"] = cached
        return cached

    @property
    def content_type(self) -> str | None:
        """The media type in lower case without parameters, None when absent."""
        value = self.get("Content-Type")
        if value is None:
            return None
        return value.partition(";")[0].strip().lower()

    def serialize(self) -> bytes:
        """The message as bytes; exactly the bytes parsed when nothing was changed."""
        raw = self._raw
        if raw is None:
            head = "\r\n".join([self._start_line(), *self._lines]) + "\r\n\r\n"
            try:
                raw = head.encode(self._codec) + self._body
            except UnicodeEncodeError:
                # Something was added that the sender's encoding does not have.
                raw = head.encode("utf-8", "replace") + self._body
            self._raw = raw
        return raw

    def _fill(self, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        self._keys = []
        self._lines = []
        _append(self._keys, self._lines, headers)
        if "content-length" not in self._keys:
            self._keys.append("content-length")
            self._lines.append(f"Content-Length: {len(body)}")
        self._body = body
        self._raw = None
        self._cache = {}
        self._codec = "utf-8"


class Request(Message):
    """A request. `uri` is text; `ruri` is it parsed."""

    __slots__ = ("_method", "_uri")

    def __init__(
        self, method: str, uri: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        self._method = method
        self._uri = uri
        self._fill(headers, body)

    def _start_line(self) -> str:
        return f"{self._method} {self._uri} SIP/2.0"

    @property
    def method(self) -> str:
        """The method, case-sensitive."""
        return self._method

    @property
    def uri(self) -> str:
        """The Request-URI as written."""
        return self._uri

    @uri.setter
    def uri(self, value: str) -> None:
        if _NO_CTL(value) or " " in value:
            raise ValueError("a Request-URI must not contain line ends or spaces")
        self._uri = value
        self._touch()

    @property
    def ruri(self) -> Uri:
        """The Request-URI parsed; raises ParseError."""
        cached: Uri | None = self._cache.get("ruri")
        if cached is None:
            self._cache["ruri"] = cached = parse_uri(self._uri)
        return cached

    def copy(self) -> Request:
        """A copy that can be changed by itself."""
        other = Request.__new__(Request)
        other._method = self._method
        other._uri = self._uri
        other._keys = list(self._keys)
        other._lines = list(self._lines)
        other._body = self._body
        other._raw = self._raw
        other._cache = {}
        other._codec = self._codec
        return other

    def __repr__(self) -> str:
        return f"<Request {self._method}>"


class Response(Message):
    """A response."""

    __slots__ = ("reason", "status")

    @property
    def branch(self) -> str | None:
        """The branch of the topmost Via; raises ParseError.

        The Via of a response is our own, so it is hardly ever necessary to take it apart.
        """
        line = self._lines[self._keys.index("via")] if "via" in self._keys else ""
        usual = _USUAL_BRANCH(line)
        return self.via.branch if usual is None else usual.group(1)

    def __init__(
        self,
        status: int,
        reason: str | None = None,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
    ) -> None:
        #: 100 to 699
        self.status = status
        #: the reason phrase
        self.reason = REASONS.get(status, "Unknown") if reason is None else reason
        self._fill(headers, body)

    def _start_line(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason}"

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def _value(line: str) -> str:
    value = line.partition(":")[2].strip()
    if "\n" in value:
        # RFC 3261 §7.3.1: a folded line end and the white space around it are one space.
        return " ".join(part.strip() for part in value.split("\n"))
    return value


def _line(name: str, key: str, value: str) -> str:
    if "\n" in value or "\r" in value:
        raise ValueError("a header value must not contain line ends")
    return f"{PRETTY.get(key, name)}: {value}"


def _append(keys: list[str], lines: list[str], headers: Iterable[tuple[str, str]]) -> None:
    for name, value in headers:
        key = _key_of(name)
        if key is None:
            key = header_key(name)
        if "\n" in value or "\r" in value:
            raise ValueError("a header value must not contain line ends")
        keys.append(key)
        lines.append(f"{_pretty_of(key, name)}: {value}")


def _quick_tag(value: str) -> str | None:
    """The tag of a From or To value without parsing it; "" when it must be parsed."""
    if value[:1] == '"':
        end = value.find('"', 1)
        if end < 0 or "\\" in value:
            return ""
        start = value.find("<", end)
        if start < 0:
            return ""
    else:
        start = 0
    start = value.find(">", start)
    if start < 0:
        return ""
    rest = value[start + 1 :]
    if not rest:
        return None
    if rest.startswith(";tag="):
        tag = rest[5:]
        return tag if tag.isalnum() or TOKEN(tag) else ""
    return ""


def parse_message(data: bytes, *, stream: bool = False) -> Request | Response:
    """Parse one message.

    `data` is a datagram, or one message cut from a stream (`stream`: Content-Length is then
    mandatory, RFC 3261 §18.3). Bytes of a datagram beyond Content-Length are dropped.

    Raises ParseError, with the answer's status and, when the header fields could be read, with
    the partial message (see `error_response`).
    """
    if data[:1] in (b"\r", b"\n"):
        data = data.lstrip(b"\r\n")
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if not data.endswith(b"\r\n"):
            raise ParseError("sip.parse.head", "no empty line after the header fields")
        end = len(data) - 2
    codec = "utf-8"
    try:
        head = data[:end].decode()
    except UnicodeDecodeError:
        # Old phones write ISO 8859-1. It gives valid text for any bytes, and the bytes back.
        codec = "latin-1"
        head = data[:end].decode(codec)
    lines = head.split("\r\n")
    count = len(lines) - 1
    if head.count("\n") != count or head.count("\r") != count:
        raise ParseError("sip.parse.line-end", "a line end that is not CR LF")
    start = lines[0]
    del lines[0]
    if len(lines) > MAX_HEADERS:
        raise TooLarge("sip.parse.too-many-headers", "too many header fields", status=413)
    keys: list[Any] = [_key_of(line.partition(":")[0]) for line in lines]

    message: Request | Response
    error: ParseError | None = None
    if None in keys:
        lines = _join_folds(lines)
        keys = [_key_of(line.partition(":")[0]) for line in lines]
        error = _name_unknown(keys, lines)
    if start.startswith("SIP/"):
        message = Response.__new__(Response)
        error = _response_line(message, start) or error
    else:
        message = Request.__new__(Request)
        parts = start.split(" ")
        if (
            len(parts) == 3
            and parts[2] == "SIP/2.0"
            and parts[1]
            and (parts[0] in METHODS or TOKEN(parts[0]))
            and "<" not in parts[1]
            and "\t" not in parts[1]
        ):
            message._method = parts[0]
            message._uri = parts[1]
        else:
            error = _request_line(message, start) or error
    message._keys = keys
    message._lines = lines
    message._cache = {}
    message._codec = codec
    body = data[end + 4 :]
    if error is None:
        if "content-length" in keys:
            text = lines[keys.index("content-length")].partition(":")[2].strip()
            if text == "0" and len(data) == end + 4:
                pass
            elif text.isdecimal() and text.isascii() and len(text) < 10:
                length = int(text)
                if length < len(body):
                    if not stream:
                        data = data[: end + 4 + length]
                    body = body[:length]
                elif length > len(body):
                    error = ParseError("sip.parse.truncated", "shorter than its Content-Length")
            else:
                error = ParseError("sip.parse.content-length", "malformed Content-Length")
            if keys.count("content-length") > 1:
                # RFC 4475 §3.3.9: nobody can tell where the body ends.
                error = ParseError("sip.parse.content-length", "more than one Content-Length")
        elif stream:
            error = ParseError("sip.parse.content-length", "no Content-Length on a stream")
    message._body = body
    message._raw = data
    if error is not None:
        error.message = message
        raise error
    return message


def _join_folds(lines: list[str]) -> list[str]:
    """Put folded lines together, keeping their line ends for a byte-exact copy."""
    if not any(line[:1] in (" ", "\t") for line in lines):
        return lines
    joined: list[list[str]] = []
    for line in lines:
        if line[:1] in (" ", "\t") and joined:
            joined[-1].append(line)
        else:
            joined.append([line])
    return ["\r\n".join(pieces) for pieces in joined]


def _name_unknown(keys: list[Any], lines: list[str]) -> ParseError | None:
    """Fill in the keys of header names that are not in the table."""
    error = None
    for at, key in enumerate(keys):
        if key is not None:
            continue
        name, colon, _ = lines[at].partition(":")
        name = name.rstrip(" \t")
        if not colon or not TOKEN(name):
            error = ParseError("sip.parse.header", "a line that is no header field")
            keys[at] = ""
        else:
            keys[at] = header_key(name)
    return error


def _response_line(message: Response, start: str) -> ParseError | None:
    version, _, rest = start.partition(" ")
    code, _, reason = rest.partition(" ")
    message.status = 0
    message.reason = reason
    if version != "SIP/2.0":
        return ParseError("sip.parse.version", "not SIP/2.0", status=505)
    if not (len(code) == 3 and code.isdecimal() and code.isascii() and "100" <= code < "700"):
        return ParseError("sip.parse.status-line", "malformed status line")
    message.status = int(code)
    return None


def _request_line(message: Request, start: str) -> ParseError | None:
    """Read an unusual request line: another version, or an error to answer."""
    parts = start.split()
    message._method = parts[0] if parts and TOKEN(parts[0]) else "UNKNOWN"
    message._uri = parts[1] if len(parts) > 1 else ""
    version = parts[-1] if parts else ""
    if len(parts) == 3 and start.split(" ") == parts and "<" not in message._uri:
        if version.upper() == "SIP/2.0" and message._method == parts[0]:
            return None
        if version.upper().startswith("SIP/") and version.upper() != "SIP/2.0":
            return ParseError("sip.parse.version", "not SIP/2.0", status=505)
    return ParseError("sip.parse.request-line", "malformed request line")


def response_for(
    request: Request,
    status: int,
    reason: str | None = None,
    *,
    to_tag: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    content_type: str | None = None,
) -> Response:
    """The response to a request (RFC 3261 §8.2.6).

    Via, From, To, Call-ID and CSeq are copied as they are, Record-Route where a dialog may come of
    it (§12.1.1), Timestamp into a 100. `to_tag` is added to To when it has none.
    """
    response = Response.__new__(Response)
    response.status = status
    response.reason = REASONS.get(status, "Unknown") if reason is None else reason
    keys, lines = _copied(request, status)
    if to_tag is not None and status > 100 and request.to_tag is None:
        for at, key in enumerate(keys):
            if key == "to":
                lines[at] = f"To: {_value(lines[at])};tag={to_tag}"
    if headers:
        _append(keys, lines, headers)
    if content_type is not None:
        keys.append("content-type")
        lines.append(f"Content-Type: {content_type}")
    keys.append("content-length")
    lines.append(f"Content-Length: {len(body)}")
    response._keys = keys
    response._lines = lines
    response._body = body
    response._raw = None
    response._cache = {}
    response._codec = request._codec
    return response


def _copied(request: Request, status: int) -> tuple[list[str], list[str]]:
    """The header fields that a response takes over from its request."""
    theirs, values = request._keys, request._lines
    present = set(theirs)
    if len(present) == len(theirs) and present >= _COPIED and present.isdisjoint(_SOMETIMES):
        return list(_USUAL_COPIED), [values[theirs.index(key)] for key in _USUAL_COPIED]
    keys: list[str] = []
    lines: list[str] = []
    routed = 100 < status < 300
    for key, line in zip(theirs, values, strict=True):
        if (
            key in _COPIED
            or (key == "record-route" and routed)
            or (key == "timestamp" and status == 100)
        ):
            keys.append(key)
            lines.append(line)
    return keys, lines


def error_response(error: ParseError) -> Response | None:
    """The answer to a request that could not be parsed, None when it deserves or allows none.

    An answer needs readable Via, From, To, Call-ID and CSeq; an ACK and a response get none.
    """
    request = error.message
    if not isinstance(request, Request) or request.method == "ACK":
        return None
    for key in ("from", "to", "call-id", "cseq"):
        if key not in request._keys:
            return None
    try:
        _ = request.via
    except ParseError:
        # The Via of another version may well look different.
        if error.status != 505:
            return None
    return response_for(request, error.status)
