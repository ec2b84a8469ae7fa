"""Note when selections are changed after they were written, and from when minutes and raw rows are kept.

An update of selections leaves the time of what it changed: the fold rebuilds those hours. Inserts cost nothing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from routewatch.selection import UtcDateTime

revision = "0002"
down_revision = "0001"

SQLITE = """
CREATE TRIGGER selection_changed AFTER UPDATE ON selection
BEGIN
  INSERT INTO selection_change (at) SELECT OLD.timestamp UNION SELECT NEW.timestamp;
END
"""

# Once a statement, and by the quarter of an hour, which never straddles an hour of any zone.
POSTGRESQL_FUNCTION = """
CREATE FUNCTION note_selection_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO selection_change (at)
  SELECT DISTINCT date_bin('15 minutes', changed.timestamp, TIMESTAMPTZ '2000-01-01 00:00:00+00')
  FROM (
    (SELECT * FROM before_it EXCEPT ALL SELECT * FROM after_it)
    UNION ALL
    (SELECT * FROM after_it EXCEPT ALL SELECT * FROM before_it)
  ) AS changed;
  RETURN NULL;
END $$
"""
POSTGRESQL_TRIGGER = """
CREATE TRIGGER selection_changed AFTER UPDATE ON selection
REFERENCING OLD TABLE AS before_it NEW TABLE AS after_it
FOR EACH STATEMENT EXECUTE FUNCTION note_selection_change()
"""


def upgrade() -> None:
    op.create_table(
        "selection_change",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_selection_change")),
    )
    op.add_column("fold_state", sa.Column("minutes_from", UtcDateTime(timezone=True), nullable=True))
    op.add_column("fold_state", sa.Column("raw_from", UtcDateTime(timezone=True), nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        op.execute(SQLITE)
    else:
        op.execute(POSTGRESQL_FUNCTION)
        op.execute(POSTGRESQL_TRIGGER)
