"""Time reading a database to Arrow, and print the seconds: `python -m benchmarks.only_read ADDRESS`.

A process of its own, because ADBC brings a SQLite of its own, and two of them in one process crash it.
"""

from __future__ import annotations

import json
import sys
import time

from models.database import connect


def main(address: str) -> None:
    from benchmarks.peers import read_to_arrow  # noqa: PLC0415 - its imports are not what is timed

    engine = connect(address)
    started = time.perf_counter()
    rows = read_to_arrow(engine)
    json.dump({"rows": rows, "seconds": time.perf_counter() - started}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
