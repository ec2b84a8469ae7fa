"""Insert row after row until stdin ends, and print the longest pause: `python -m benchmarks.write_on ADDRESS`.

It prints a first line when it begins. A pause is the time from one commit to the next.
"""

from __future__ import annotations

import json
import sys
import time
from threading import Event, Thread

import psycopg
from sqlalchemy import make_url

INSERT = (
    "INSERT INTO selection (timestamp, request_id, model_id, complexity, response_time_ms, cost_usd, error) "
    "VALUES (now(), %s, 'swift-mini', 'simple', 400.0, 0.001, false)"
)


def main(address: str) -> None:
    over = Event()
    Thread(target=_wait_for_end, args=(over,), daemon=True).start()
    url = make_url(address).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        # The first ones prepare the statement and warm the connection up.
        for number in range(20):
            connection.execute(INSERT, (f"w{time.time_ns()}-{number}",))
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        json.dump(_insert_until(over, connection), sys.stdout)


def _wait_for_end(over: Event) -> None:
    sys.stdin.read()
    over.set()


def _insert_until(over: Event, connection: psycopg.Connection) -> dict[str, float]:
    longest_s, rows, last = 0.0, 0, time.perf_counter()
    while not over.is_set():
        connection.execute(INSERT, (f"w{time.time_ns()}",))
        now = time.perf_counter()
        longest_s, last, rows = max(longest_s, now - last), now, rows + 1
    return {"longest_ms": longest_s * 1000, "rows": rows}


if __name__ == "__main__":
    main(sys.argv[1])
