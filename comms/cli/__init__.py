"""The command line: `comms`."""

from comms.cli.main import app

__all__ = ["app"]
