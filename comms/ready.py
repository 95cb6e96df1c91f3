"""How a child process tells its supervisor that it serves, and waits as a standby.

The supervisor hands the child one end of a socket pair, `COMMS_READY_FD`. The child writes one
byte when it serves. A standby first waits for one byte from the other side: it has imported and
read everything by then, so that it takes over within milliseconds. Outside a supervisor both
functions do nothing.
"""

from __future__ import annotations

import os

READY_VARIABLE = "COMMS_READY_FD"
STANDBY_VARIABLE = "COMMS_STANDBY"


def tell_ready() -> None:
    """Tell the supervisor, if there is one, that this process serves. Later calls do nothing."""
    descriptor = os.environ.pop(READY_VARIABLE, None)
    if descriptor is None:
        return
    try:
        os.write(int(descriptor), b"R")
    except BrokenPipeError:
        return
    finally:
        os.close(int(descriptor))


def wait_for_turn() -> None:
    """Block until this process is needed. Returns at once unless it was started as a standby.

    Raises:
        SystemExit: the supervisor went away.
    """
    if os.environ.pop(STANDBY_VARIABLE, None) is None:
        return
    if not os.read(int(os.environ[READY_VARIABLE]), 1):
        raise SystemExit(0)
