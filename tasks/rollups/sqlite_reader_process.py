"""Read a SQLite file as Arrow to stdout, for tasks.rollups.selection_reader.

Called as `python -m tasks.rollups.sqlite_reader_process FILE AFTER UNTIL COLUMN...`.

A separate process, because ADBC brings its own SQLite, and two of them in one process break each other's locks.
"""

from __future__ import annotations

import sys
from urllib.parse import quote

from adbc_driver_sqlite.dbapi import connect
from pyarrow import ipc

BATCH_ROWS = 65_536

# The driver infers a column's type from its first rows, which may all be NULL: this row is put before them.
_TEXTS = dict.fromkeys(("timestamp", "model_id", "complexity", "team"), "''")
_FLOATS = dict.fromkeys(("response_time_ms", "cost_usd", "accuracy", "user_satisfaction"), "0.5")
_FIRST = {"id": "-1", **_TEXTS, **_FLOATS}


def main(path: str, after: int, until: int, columns: list[str]) -> None:
    """Write the rows with after < id <= until, by ascending id, as one Arrow stream; readers skip the first row."""
    first = ", ".join(f"{_FIRST.get(name, '0')} AS {name}" for name in columns)
    query = (
        f"SELECT {first} UNION ALL SELECT * FROM (SELECT {', '.join(columns)} FROM selection "  # noqa: S608
        f"WHERE id > {after} AND id <= {until} ORDER BY id)"
    )
    with connect(f"file:{quote(path)}?mode=ro") as connection, connection.cursor() as cursor:
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(BATCH_ROWS)})
        cursor.execute(query)
        batches = cursor.fetch_record_batch()
        with ipc.new_stream(sys.stdout.buffer, batches.schema) as out:
            for batch in batches:
                # SQLite stores any bytes as text.
                batch.validate(full=True)
                out.write_batch(batch)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
