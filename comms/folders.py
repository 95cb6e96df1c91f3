"""The data folder: made, checked and kept for one user alone."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from comms.errors import OperatorError

if TYPE_CHECKING:
    from comms.settings import Settings


class FolderError(OperatorError):
    """The data folder cannot be used."""


def prepare_folders(settings: Settings) -> None:
    """Make the data folder and what belongs in it.

    Raises:
        FolderError: it cannot be made or written, or the run folder belongs to somebody else.
    """
    for folder in (
        settings.data_dir,
        settings.run_dir,
        settings.prompts_dir,
        settings.data_dir / "valkey",
    ):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise FolderError(
                f"general.data_dir is {settings.data_dir}: {folder} cannot be written "
                f"({error.strerror}); allowed: a folder that the user who runs comms may write"
            ) from None
    _check_private(settings.run_dir)


def _check_private(folder: Path) -> None:
    """Refuse a run folder that others may enter: who reaches its sockets controls the calls."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise FolderError(f"{folder} does not belong to the user who runs comms; remove it")
    if found.st_mode & 0o077:
        folder.chmod(0o700)
