"""Ends this process once the command that it serves has ended, however that ended."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time

GRACE_S = 10.0
"""Seconds that a regular end may take."""
POLL_S = 1.0
"""Seconds between two looks where the system cannot wait for another process."""


def watch_command(pid: int) -> None:
    """End this process as soon as the process `pid` has ended."""
    threading.Thread(target=_end_after, args=(pid,), name="command watch", daemon=True).start()


# ----------------------------------------------------------------------------------------------------------------------


def _end_after(pid: int) -> None:
    _wait_for(pid)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)


def _wait_for(pid: int) -> None:
    if sys.platform == "linux":
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        except OSError:
            # A kernel or a container that does not know or allow it.
            pass
        else:
            select.select([descriptor], [], [])
            return
    while os.getppid() == pid:
        time.sleep(POLL_S)
