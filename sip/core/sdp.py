"""Session descriptions (RFC 8866): parsed as far as asked for, unknown lines kept in order.

A description is a list of lines for the session and one for each medium. Accessors read and
rewrite single lines, so that whatever we do not know passes through untouched.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final, Literal, cast

import msgspec

from sip.core.errors import SdpError

Direction = Literal["sendrecv", "sendonly", "recvonly", "inactive"]
DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")

#: the most lines and media a description may have
MAX_LINES: Final = 4096
MAX_MEDIA: Final = 64

#: lines of a letter, an equals sign and a value
_USUAL: Final = re.compile(r"(?:[A-Za-z]=[^\r\n]*+(?:\n|\Z))++").fullmatch

#: Static payload types of RFC 3551 that are in use: name, clock rate, channels.
STATIC: Final[dict[int, tuple[str, int, int]]] = {
    0: ("PCMU", 8000, 1), 3: ("GSM", 8000, 1), 4: ("G723", 8000, 1), 8: ("PCMA", 8000, 1),
    9: ("G722", 8000, 1), 10: ("L16", 44100, 2), 11: ("L16", 44100, 1), 13: ("CN", 8000, 1),
    15: ("G728", 8000, 1), 18: ("G729", 8000, 1), 26: ("JPEG", 90000, 1), 31: ("H261", 90000, 1),
    34: ("H263", 90000, 1),
}  # fmt: skip


class Codec(msgspec.Struct, frozen=True):
    """A payload format with its number in one description."""

    payload: int
    name: str
    rate: int = 8000
    channels: int = 1
    #: format parameters as written after the payload number, None without an fmtp line
    fmtp: str | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        """What must be equal for two codecs to be the same format."""
        return (self.name.upper(), self.rate, self.channels)


class Media:
    """One medium: its m= line and the lines below it."""

    __slots__ = ("lines",)

    def __init__(self, lines: list[str]) -> None:
        #: whole lines without line ends; the first is the m= line
        self.lines = lines

    def _m(self) -> list[str]:
        return self.lines[0][2:].split()

    @property
    def kind(self) -> str:
        """audio, video, application, …, in lower case."""
        return self._m()[0].lower()

    @property
    def port(self) -> int:
        """The port; 0 when the medium is disabled."""
        return int(self._m()[1].partition("/")[0])

    @port.setter
    def port(self, port: int) -> None:
        parts = self._m()
        parts[1] = str(port)
        self.lines[0] = "m=" + " ".join(parts)

    @property
    def proto(self) -> str:
        """The transport, as RTP/AVP."""
        return self._m()[2]

    @proto.setter
    def proto(self, proto: str) -> None:
        parts = self._m()
        parts[2] = proto
        self.lines[0] = "m=" + " ".join(parts)

    @property
    def formats(self) -> list[str]:
        """The formats of the m= line: payload numbers for RTP."""
        return self._m()[3:]

    @formats.setter
    def formats(self, formats: Sequence[str]) -> None:
        self.lines[0] = "m=" + " ".join([*self._m()[:3], *formats])

    def attribute(self, name: str) -> str | None:
        """The value of the first a= line of that name; "" for a flag; None when absent."""
        return _attribute(self.lines, name)

    def attributes(self, name: str) -> list[str]:
        """The values of all a= lines of that name."""
        prefix = f"a={name}:"
        return [line[len(prefix) :] for line in self.lines if line.startswith(prefix)]

    def add_attribute(self, name: str, value: str | None = None) -> None:
        """Append an a= line."""
        self.lines.append(f"a={name}" if value is None else f"a={name}:{value}")

    @property
    def codecs(self) -> list[Codec]:
        """The payload formats in the order of preference, without those of unknown name."""
        maps: dict[str, str] = {}
        fmtps: dict[str, str] = {}
        for line in self.lines:
            if line.startswith("a=rtpmap:"):
                label, _, rest = line[9:].partition(" ")
                maps.setdefault(label.strip(), rest.strip())
            elif line.startswith("a=fmtp:"):
                label, _, rest = line[7:].partition(" ")
                fmtps.setdefault(label.strip(), rest.strip())
        codecs = []
        for text in self.formats:
            if not (text.isdecimal() and text.isascii() and len(text) < 4 and int(text) < 128):
                continue
            number = int(text)
            encoding = _encoding(maps[text]) if text in maps else STATIC.get(number)
            if encoding is not None:
                codecs.append(Codec(number, *encoding, fmtps.get(text)))
        return codecs


def _encoding(text: str) -> tuple[str, int, int] | None:
    name, _, rest = text.partition("/")
    rate, _, channels = rest.partition("/")
    channels = channels.strip() or "1"
    for number in (rate, channels):
        if not (number.isdecimal() and number.isascii() and len(number) < 8):
            return None
    return name, int(rate), int(channels)


def _attribute(lines: list[str], name: str) -> str | None:
    flag = "a=" + name
    prefix = flag + ":"
    for line in lines:
        if line.startswith(prefix):
            return line[len(prefix) :]
        if line == flag:
            return ""
    return None


def _direction(lines: list[str]) -> Direction | None:
    for line in lines:
        if line.startswith("a=") and line[2:] in DIRECTIONS:
            return cast(Direction, line[2:])
    return None


def _connection(lines: list[str]) -> str | None:
    for line in lines:
        if line.startswith("c="):
            parts = line[2:].split()
            # A multicast address carries a TTL or count behind a slash.
            return parts[2].partition("/")[0] if len(parts) == 3 else None
    return None


def _address_type(host: str) -> str:
    return "IP6" if ":" in host else "IP4"


class SessionDescription:
    """A whole description."""

    __slots__ = ("_codec", "lines", "media")

    def __init__(self, lines: list[str], media: list[Media]) -> None:
        self._codec = "utf-8"
        #: the session's lines, whole, without line ends
        self.lines = lines
        self.media = media

    @classmethod
    def parse(cls, data: bytes) -> SessionDescription:
        """Parse; raises SdpError. Line ends may be LF alone (RFC 8866 §5)."""
        codec = "utf-8"
        try:
            text = data.decode()
        except UnicodeDecodeError:
            codec = "latin-1"
            text = data.decode(codec)
        text = text.replace("\r\n", "\n").rstrip("\n")
        lines = text.split("\n")
        if len(lines) > MAX_LINES:
            raise SdpError("sip.sdp.too-large", "too many lines")
        if lines[0] != "v=0":
            raise SdpError("sip.sdp.version", "does not begin with v=0")
        if _USUAL(text) is None:
            raise SdpError("sip.sdp.line", "a line that is not type=value")
        session: list[str] = []
        media: list[Media] = []
        current = session
        origin = False
        for line in lines:
            kind = line[0]
            if kind == "m":
                _check_media(line)
                if len(media) >= MAX_MEDIA:
                    raise SdpError("sip.sdp.too-large", "too many media")
                current = [line]
                media.append(Media(current))
            else:
                if kind == "o" and current is session:
                    if len(line[2:].split()) != 6:
                        raise SdpError("sip.sdp.origin", "malformed o= line")
                    origin = True
                current.append(line)
        if not origin:
            raise SdpError("sip.sdp.origin", "no o= line")
        sdp = cls(session, media)
        sdp._codec = codec
        return sdp

    def serialize(self) -> bytes:
        """The description with CRLF line ends."""
        lines = list(self.lines)
        for media in self.media:
            lines += media.lines
        return ("\r\n".join(lines) + "\r\n").encode(self._codec, "replace")

    def of(self, lines: list[str], media: list[Media]) -> SessionDescription:
        """Another description in the same encoding."""
        other = SessionDescription(lines, media)
        other._codec = self._codec
        return other

    @staticmethod
    def without(lines: list[str], names: Collection[str]) -> list[str]:
        """Lines of a description or a medium without the a= lines of these names."""
        return [
            line
            for line in lines
            if line[0] != "a" or line[2:].partition(":")[0].strip() not in names
        ]

    @property
    def origin(self) -> tuple[str, str, str]:
        """User name, session id and version of the o= line."""
        for line in self.lines:
            if line.startswith("o="):
                user, session, version = line[2:].split()[:3]
                return user, session, version
        raise SdpError("sip.sdp.origin", "no o= line")

    def attribute(self, name: str) -> str | None:
        """The value of a session-level attribute; "" for a flag; None when absent."""
        return _attribute(self.lines, name)

    def connection_of(self, media: Media) -> str | None:
        """The address a medium is received at: its own c= line or the session's."""
        return _connection(media.lines) or _connection(self.lines)

    def direction_of(self, media: Media) -> Direction:
        """The medium's direction from the point of view of who wrote the description."""
        return _direction(media.lines) or _direction(self.lines) or "sendrecv"

    def set_direction(self, media: Media, direction: Direction) -> None:
        """Write the direction into the medium."""
        media.lines = [line for line in media.lines if line[2:] not in DIRECTIONS]
        media.lines.append("a=" + direction)

    def set_connection(self, media: Media, host: str, port: int) -> None:
        """Write address and port into the medium."""
        line = f"c=IN {_address_type(host)} {host}"
        media.port = port
        for at, old in enumerate(media.lines):
            if old.startswith("c="):
                media.lines[at] = line
                return
        # RFC 8866 §5: c= stands after i= and before b=, k= and a=.
        at = 1
        while at < len(media.lines) and media.lines[at].startswith("i="):
            at += 1
        media.lines.insert(at, line)

    @property
    def audio(self) -> Media | None:
        """The first audio medium that is not disabled."""
        for media in self.media:
            if media.kind == "audio" and media.port:
                return media
        return None


def _check_media(line: str) -> None:
    parts = line[2:].split()
    if len(parts) < 4:
        raise SdpError("sip.sdp.media", "malformed m= line")
    port, _, count = parts[1].partition("/")
    for number in (port, count or "1"):
        if not (number.isdecimal() and number.isascii() and len(number) < 6):
            raise SdpError("sip.sdp.media", "malformed port in an m= line")
    if int(port) > 65535:
        raise SdpError("sip.sdp.media", "port out of range in an m= line")
