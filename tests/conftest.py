"""Fixtures that all tests share are in `tests/support`."""

from __future__ import annotations

import sys
from pathlib import Path

# `support` is a folder of helpers, not a package that gets installed.
sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["support.servers"]
