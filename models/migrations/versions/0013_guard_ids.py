"""Keep ids that somebody writes himself from ending the numbering, and tell counting's own mark from one by hand.

SQLite issues no id once the largest was used, and a condition of the table sees an issued id as one that was written:
only a trigger before the insert tells them apart. It also notes a row that is written below the checkpoint, which
counting has passed. Rows that have such an id already get the next ones.
"""

from __future__ import annotations

# ruff: noqa: S608
import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

LARGEST_BY_HAND = 2**61
LARGEST_CHANGED = 2**61 + 2**60
"""More than the former, so that rows with ids out of bounds can be given the next ones."""
LARGEST_ISSUED = 2**62

SQLITE = (
    # NEW.id is -1 here where the table issues the id, so that nothing more is run for those.
    "CREATE TRIGGER selection_id_written BEFORE INSERT ON selection WHEN NEW.id > 0 BEGIN"
    " SELECT RAISE(ABORT, 'an id of selection that is written must be at most 2^61: leave it out')"
    f" WHERE NEW.id > {LARGEST_BY_HAND};"
    " INSERT INTO selection_change (at) SELECT NEW.timestamp"
    " WHERE NEW.id <= (SELECT coalesce(counted_id, last_id) FROM rollup_checkpoint); END",
    "CREATE TRIGGER selection_id_changed BEFORE UPDATE OF id ON selection"
    f" WHEN NEW.id > {LARGEST_CHANGED} AND NEW.id > OLD.id BEGIN"
    " SELECT RAISE(ABORT, 'an id of selection that is written must be at most 2^61: leave it out'); END",
)

# A router may be allowed no more than to insert. Temporary tables are its own, so they come last.
POSTGRESQL = (
    "CREATE FUNCTION note_selection_below() RETURNS trigger LANGUAGE plpgsql"
    " SECURITY DEFINER SET search_path = pg_catalog, {schema}, pg_temp AS $$"
    " BEGIN"
    " INSERT INTO selection_change (at)"
    " SELECT DISTINCT date_bin('15 minutes', added.timestamp, TIMESTAMPTZ '2000-01-01 00:00:00+00')"
    " FROM added WHERE added.id <= (SELECT coalesce(counted_id, last_id) FROM rollup_checkpoint);"
    " RETURN NULL; END $$",
    "CREATE TRIGGER selection_added AFTER INSERT ON selection REFERENCING NEW TABLE AS added"
    " FOR EACH STATEMENT EXECUTE FUNCTION note_selection_below()",
)


def upgrade() -> None:
    op.add_column("rollup_checkpoint", sa.Column("counted_id", sa.BigInteger(), nullable=True))
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        _renumber()
        for statement in SQLITE:
            connection.exec_driver_sql(statement)
    else:
        schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar()
        for statement in POSTGRESQL:
            connection.exec_driver_sql(statement.replace("{schema}", str(schema)))
    connection.exec_driver_sql("UPDATE rollup_checkpoint SET counted_id = last_id")


def _renumber() -> None:
    """Give rows beyond the ids that are issued the next ones; the trigger of changed rows notes their hours."""
    run = op.get_bind().exec_driver_sql
    issued = run("SELECT seq FROM sqlite_sequence WHERE name = 'selection'").scalar() or 0
    largest = run("SELECT max(id) FROM selection").scalar() or 0
    if max(int(issued), largest) <= LARGEST_ISSUED:
        return
    within = run(f"SELECT coalesce(max(id), 0) FROM selection WHERE id <= {LARGEST_ISSUED}").scalar()
    last_id = run("SELECT max(last_id) FROM rollup_checkpoint").scalar() or 0
    next_id = max(int(within or 0), last_id if last_id <= LARGEST_ISSUED else 0)
    for (far,) in run(f"SELECT id FROM selection WHERE id > {LARGEST_ISSUED} ORDER BY id").fetchall():
        next_id += 1
        run("UPDATE selection SET id = ? WHERE id = ?", (next_id, far))
    run("UPDATE sqlite_sequence SET seq = ? WHERE name = 'selection'", (next_id,))
    # What lay below the former mark was counted, and the hours of the others are rebuilt.
    run("UPDATE rollup_checkpoint SET last_id = ? WHERE last_id > ?", (next_id, next_id))
