"""Phones' descriptions as call control reads and rewrites them."""

from __future__ import annotations

import msgspec
import pytest

from sip.call import session
from sip.core.offer_answer import Origin

_LINES = (
    "v=0", "o=- 1 1 IN IP4 192.0.2.1", "s={name}", "c=IN IP4 192.0.2.1", "t=0 0",
    "m=audio 4000 RTP/AVP 8", "a=candidate:1 1 UDP 1 192.0.2.1 4000 typ host", "a=x-kept:{name}",
)  # fmt: skip


def _raw(codec: str) -> bytes:
    return ("\r\n".join(_LINES) + "\r\n").format(name="Grün").encode(codec)


@pytest.mark.parametrize("codec", ["utf-8", "latin-1"])
def test_a_name_in_either_encoding_passes_and_can_be_stored(codec: str) -> None:
    text = session.text_of(_raw(codec))
    assert msgspec.json.decode(msgspec.json.encode(text)) == text
    assert session.describe(text).encodings == ((8, "PCMA"),)
    moved = session.relay(text, ("198.51.100.7", 30000), Origin("7", 1))
    assert "a=x-kept:Grün" in moved
    assert "candidate" not in moved
    assert "192.0.2.1" not in moved


def test_what_was_read_once_is_not_changed_by_its_users() -> None:
    text = session.text_of(_raw("utf-8"))
    first = session.relay(text, ("198.51.100.7", 30000), Origin("7", 1), active=True)
    session.relay(text, ("203.0.113.9", 40000), Origin("8", 2), previous=first)
    assert session.relay(text, ("198.51.100.7", 30000), Origin("7", 1), active=True) == first
    assert session.describe(text).host == "192.0.2.1"
