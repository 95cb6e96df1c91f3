"""Errors that end a command with one line for the operator."""

from __future__ import annotations


class OperatorError(Exception):
    """Something the operator can mend. The text is one line that says what and how."""

    exit_code = 1
