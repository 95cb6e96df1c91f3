"""Cutting messages out of a stream."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sip.core.errors import ParseError, TooLarge
from sip.core.framing import PING, StreamFramer

ONE = b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 3\r\nVia: SIP/2.0/TCP h\r\n\r\nabc"
TWO = b"SIP/2.0 200 OK\r\nX: l: 9\r\nl : 0\r\n\r\n"


def test_whole_messages_and_keep_alive() -> None:
    framer = StreamFramer()
    assert framer.feed(ONE + TWO + PING + ONE) == [ONE, TWO, PING, ONE]
    assert framer.feed(b"\r\n") == []
    assert framer.feed(PING) == [PING]
    assert framer.pending == 0


@settings(deadline=None)
@given(st.lists(st.sampled_from([ONE, TWO, PING]), max_size=6), st.data())
def test_pieces_of_any_size(messages: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(messages)
    framer = StreamFramer()
    got: list[bytes] = []
    at = 0
    while at < len(stream):
        size = data.draw(st.integers(1, 40))
        got += framer.feed(stream[at : at + size])
        at += size
    # A ping whose halves come apart looks like two pongs.
    assert [m for m in got if m != PING] == [m for m in messages if m != PING]
    assert got.count(PING) <= messages.count(PING)


def test_one_byte_at_a_time_is_linear() -> None:
    framer = StreamFramer()
    head = b"OPTIONS sip:a SIP/2.0\r\nSubject: " + b"a" * 50_000 + b"\r\nContent-Length: 0\r\n\r\n"
    got = [m for byte in head for m in framer.feed(bytes([byte]))]
    assert got == [head]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nContent-Length: -1\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 1x\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nContent-Length:\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 9999999999\r\n\r\n",
        b"\rX",
    ],
)
def test_garbage(data: bytes) -> None:
    with pytest.raises(ParseError):
        StreamFramer().feed(data)


def test_limits() -> None:
    with pytest.raises(TooLarge):
        StreamFramer(max_head=1000).feed(b"a" * 1001)
    with pytest.raises(TooLarge):
        StreamFramer(max_head=100).feed(b"a" * 200 + b"\r\n\r\n")
    with pytest.raises(TooLarge):
        StreamFramer(max_body=10).feed(b"X sip:a SIP/2.0\r\nContent-Length: 11\r\n\r\n")
