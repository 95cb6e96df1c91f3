"""Dialogs (RFC 3261 §12)."""

from __future__ import annotations

import msgspec


class LegState(msgspec.Struct):
    """A leg as another process can take it over."""
