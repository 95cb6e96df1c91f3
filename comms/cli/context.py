"""What all commands share: the settings and the way results are printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from comms.settings import Settings


def settings_of(ctx: typer.Context) -> Settings:
    """Return the settings of the file the command line names, and of the environment.

    Raises:
        SettingsError: a setting is wrong.
    """
    from comms.settings import load_settings

    return load_settings(ctx.obj)
