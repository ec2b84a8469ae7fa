"""Update a database's rollups, and print the peak of memory in MB: `python -m benchmarks.fold_once ADDRESS`.

The peak is this process's plus that of the one that reads a SQLite file for it. It is /proc's VmHWM, because the
maximum of getrusage begins with that of the process that started this one.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

from benchmarks.scene import NOW, ROLLUP_SETTINGS
from models.database import open_database
from tasks.rollups.update import update_rollups

EVERY_S = 0.05


def main(address: str) -> None:
    over, children = Event(), dict[int, float]()
    watcher = Thread(target=_watch_children, args=(children, over))
    watcher.start()
    try:
        rows = update_rollups(open_database(address), ROLLUP_SETTINGS, now=NOW).rows
    finally:
        over.set()
        watcher.join()
    peak = _status(os.getpid(), "VmHWM") / 1024 + max(children.values(), default=0.0)
    json.dump({"rows": rows, "peak_mb": peak}, sys.stdout)


# ----------------------------------------------------------------------------------------------------------------------


def _watch_children(peaks: dict[int, float], over: Event) -> None:
    own = os.getpid()
    while not over.wait(EVERY_S):
        for folder in Path("/proc").glob("[0-9]*"):
            # The other process may end meanwhile.
            with suppress(OSError, StopIteration):
                if _status(pid := int(folder.name), "PPid") == own:
                    peaks[pid] = _status(pid, "VmHWM") / 1024


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


if __name__ == "__main__":
    main(sys.argv[1])
