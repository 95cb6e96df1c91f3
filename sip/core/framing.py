"""Cutting messages out of a stream (RFC 3261 §18.3, keep-alive of RFC 5626 §4.4.1)."""

from __future__ import annotations

from typing import Final

from sip.core.errors import ParseError, TooLarge

#: What `feed` returns for a double CRLF: answer it with `PONG` (RFC 5626 §4.4.1).
PING: Final = b"\r\n\r\n"
#: The answer to a ping; a peer's pong is swallowed.
PONG: Final = b"\r\n"


class StreamFramer:
    """Collects bytes and returns whole messages.

    After an exception the stream cannot be trusted any more: close the connection.
    """

    __slots__ = ("_buffer", "_need", "_scanned", "max_body", "max_head")

    def __init__(self, max_head: int = 64 * 1024, max_body: int = 256 * 1024) -> None:
        self.max_head = max_head
        self.max_body = max_body
        self._buffer = bytearray()
        #: where the search for the end of the head goes on
        self._scanned = 0
        #: length of the whole message once its head is known, else 0
        self._need = 0

    @property
    def pending(self) -> int:
        """How many bytes wait for the rest of their message."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes; return the messages that are complete, and `PING` for each keep-alive.

        Raises TooLarge beyond the limits and ParseError when a head has no usable Content-Length.
        """
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        while buffer:
            if not self._need:
                if not self._skip_line_ends(messages):
                    break
                end = buffer.find(b"\r\n\r\n", self._scanned)
                if end < 0:
                    if len(buffer) > self.max_head:
                        raise TooLarge("sip.frame.head", "head beyond the limit", status=413)
                    self._scanned = max(0, len(buffer) - 3)
                    break
                if end > self.max_head:
                    raise TooLarge("sip.frame.head", "head beyond the limit", status=413)
                length = content_length(bytes(buffer[: end + 2]))
                if length > self.max_body:
                    raise TooLarge("sip.frame.body", "body beyond the limit", status=413)
                self._need = end + 4 + length
            if len(buffer) < self._need:
                break
            messages.append(bytes(buffer[: self._need]))
            del buffer[: self._need]
            self._need = 0
            self._scanned = 0
        return messages

    def _skip_line_ends(self, messages: list[bytes]) -> bool:
        """Take CRLFs before a message; False when more bytes must come first."""
        buffer = self._buffer
        while buffer[:1] == b"\r":
            if buffer.startswith(PING):
                messages.append(PING)
                del buffer[:4]
            elif len(buffer) < 4 and PING.startswith(buffer):
                if len(buffer) == 2:
                    # A single CRLF is a pong; it may also be the first half of a ping, whose
                    # other half then is taken for a pong. Either way nothing is lost.
                    del buffer[:]
                return False
            elif buffer.startswith(PONG):
                del buffer[:2]
            else:
                raise ParseError("sip.frame.garbage", "no message at the start of the stream")
            self._scanned = 0
        return bool(buffer)


def content_length(head: bytes) -> int:
    """Content-Length of a head (start line and header fields); raises ParseError."""
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length")
    if at < 0:
        at = _compact_length(lower)
    if at < 0:
        raise ParseError("sip.frame.content-length", "no Content-Length on a stream")
    colon = lower.find(b":", at)
    end = lower.find(b"\r\n", colon)
    text = lower[colon + 1 : end].strip()
    if not text.isdigit() or len(text) > 9:
        raise ParseError("sip.frame.content-length", "malformed Content-Length")
    return int(text)


def _compact_length(lower: bytes) -> int:
    """Where the line of the compact form `l` begins, -1 when there is none."""
    at = lower.find(b"\r\nl")
    while at >= 0:
        name = lower[at + 2 : lower.find(b":", at)]
        if name.strip() == b"l":
            return at
        at = lower.find(b"\r\nl", at + 1)
    return -1
