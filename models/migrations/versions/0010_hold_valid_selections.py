"""Set aside what no table should have held, hold what selections may be by conditions, and count what the gate does.

Values that a condition refuses become unknown, and their hours are rebuilt. A row whose instant cannot be told goes to
the quarantine. PostgreSQL's conditions are not validated here, which would keep writers out for as long as it takes to
read the table: models.database does it afterwards.
"""

# The conditions are written out as they were when this migration was made.
# ruff: noqa: E501, PLR2004, S608

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from routewatch.selection import UtcDateTime

revision = "0010"
down_revision = "0009"

_NULL_OR = "{name} IS NULL OR ({it})"
_SQLITE_TEXT = (
    "typeof({name}) = 'text' AND length({name}) BETWEEN {least} AND 200 AND instr({name}, char(0)) = 0"
    " AND {name} NOT GLOB '*[' || char(1, 45, 31, 127) || ']*'"
)
_POSTGRESQL_TEXT = (
    "length({name}) BETWEEN {least} AND 200 AND {name} !~ ('[' || chr(1) || '-' || chr(31) || chr(127) || ']')"
)
_LENGTHS = {"request_id": 1, "model_id": 1, "complexity": 0, "error_type": 0, "team": 0}


def _texts(form: str) -> dict[str, str]:
    found = {name: form.format(name=name, least=least) for name, least in _LENGTHS.items()}
    return {name: it if name == "model_id" else _NULL_OR.format(name=name, it=it) for name, it in found.items()}


SQLITE = _texts(_SQLITE_TEXT) | {
    "timestamp": "typeof(timestamp) = 'text' AND timestamp GLOB '20[0-9][0-9]-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]' AND datetime(strftime('%s', substr(timestamp, 1, 19)), 'unixepoch') IS substr(timestamp, 1, 19)",
    "response_time_ms": "response_time_ms IS NULL OR (typeof(response_time_ms) IN ('real', 'integer') AND response_time_ms BETWEEN 0 AND 1000000000000)",
    "cost_usd": "cost_usd IS NULL OR (typeof(cost_usd) IN ('real', 'integer') AND cost_usd BETWEEN 0 AND 1000000000000)",
    "cache_hit": "cache_hit IS NULL OR (cache_hit IN (0, 1) AND typeof(cache_hit) = 'integer')",
    "accuracy": "accuracy IS NULL OR (typeof(accuracy) IN ('real', 'integer') AND accuracy BETWEEN 0 AND 1)",
    "user_satisfaction": "user_satisfaction IS NULL OR (typeof(user_satisfaction) IN ('real', 'integer') AND user_satisfaction BETWEEN 0 AND 1)",
    "error": "error IN (0, 1) AND typeof(error) = 'integer'",
    "prompt_tokens": "prompt_tokens IS NULL OR (typeof(prompt_tokens) = 'integer' AND prompt_tokens BETWEEN 0 AND 1000000000)",
    "completion_tokens": "completion_tokens IS NULL OR (typeof(completion_tokens) = 'integer' AND completion_tokens BETWEEN 0 AND 1000000000)",
    "cost_priced_on": "cost_priced_on IS NULL OR (cost_priced_on GLOB '20[0-9][0-9]-[01][0-9]-[0-3][0-9]' AND date(cost_priced_on) IS cost_priced_on)",
    "complexity_derived": "complexity_derived IS NULL OR (complexity_derived IN (0, 1) AND typeof(complexity_derived) = 'integer')",
}
POSTGRESQL = _texts(_POSTGRESQL_TEXT) | {
    "timestamp": "timestamp >= TIMESTAMPTZ '2000-01-01 00:00:00+00' AND timestamp < TIMESTAMPTZ '2100-01-01 00:00:00+00'",
    "response_time_ms": "response_time_ms IS NULL OR (response_time_ms BETWEEN 0 AND 1000000000000)",
    "cost_usd": "cost_usd IS NULL OR (cost_usd BETWEEN 0 AND 1000000000000)",
    "accuracy": "accuracy IS NULL OR (accuracy BETWEEN 0 AND 1)",
    "user_satisfaction": "user_satisfaction IS NULL OR (user_satisfaction BETWEEN 0 AND 1)",
    "prompt_tokens": "prompt_tokens IS NULL OR (prompt_tokens BETWEEN 0 AND 1000000000)",
    "completion_tokens": "completion_tokens IS NULL OR (completion_tokens BETWEEN 0 AND 1000000000)",
}

COLUMNS = (
    "id", "request_id", "timestamp", "model_id", "response_time_ms", "complexity", "cost_usd", "cache_hit", "accuracy",
    "user_satisfaction", "error", "error_type", "prompt_tokens", "completion_tokens", "team", "cost_priced_on",
    "complexity_derived",
)  # fmt: skip

NOT_AN_INSTANT = "timestamp is not an instant within the years 2000 to 2099"


def upgrade() -> None:
    op.create_table(
        "quarantine",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(always=False), nullable=False
        ),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("set_aside_at", UtcDateTime(), nullable=False),
        sa.Column("entrance", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        sa.UniqueConstraint("request_id", name=op.f("uq_quarantine_request_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_quarantine_set_aside_at"), "quarantine", ["set_aside_at"])
    op.create_table(
        "intake_count",
        sa.Column("hour", UtcDateTime(), nullable=False),
        sa.Column("entrance", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "entrance", "outcome", "reason", name=op.f("pk_intake_count")),
    )
    if op.get_bind().dialect.name == "sqlite":
        _upgrade_sqlite()
    else:
        _upgrade_postgresql()


# --- SQLite -----------------------------------------------------------------------------------------------------------


def _upgrade_sqlite() -> None:
    driver: Any = op.get_bind().connection.driver_connection
    driver.create_function("instant_of", 1, _instant_of, deterministic=True)
    driver.create_function("id_of", 1, _id_of, deterministic=True)
    text_factory, driver.text_factory = driver.text_factory, lambda raw: raw.decode("utf-8", "replace")
    try:
        _quarantine_sqlite()
    finally:
        driver.text_factory = text_factory
    is_whole = " AND ".join(f"({condition})" for condition in SQLITE.values())
    at = f"CASE WHEN {SQLITE['timestamp']} THEN timestamp ELSE instant_of(timestamp) END"
    _run(f"DELETE FROM selection_change WHERE NOT ({SQLITE['timestamp'].replace('timestamp', 'at')})")
    # By the quarter of an hour, which never crosses an hour of any zone.
    quarter = "substr(at, 1, 14) || printf('%02d', CAST(substr(at, 15, 2) AS INTEGER) / 15 * 15) || ':00.000000'"
    _run(
        f"INSERT INTO selection_change (at) SELECT DISTINCT {quarter} FROM"
        f" (SELECT {at} AS at FROM selection WHERE NOT ({is_whole}))"
    )
    last = op.get_bind().exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = 'selection'").scalar()
    checks = ", ".join(f"CONSTRAINT ck_selection_{name} CHECK ({condition})" for name, condition in SQLITE.items())
    _run(
        "CREATE TABLE selection_checked (id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, request_id TEXT,"
        " timestamp DATETIME NOT NULL, model_id TEXT NOT NULL, response_time_ms FLOAT, complexity TEXT,"
        " cost_usd FLOAT, cache_hit BOOLEAN, accuracy FLOAT, user_satisfaction FLOAT,"
        " error BOOLEAN DEFAULT (false) NOT NULL, error_type TEXT, prompt_tokens BIGINT, completion_tokens BIGINT,"
        f" team TEXT, cost_priced_on DATE, complexity_derived BOOLEAN, {checks},"
        " CONSTRAINT uq_selection_request_id UNIQUE (request_id))"
    )
    repaired = {name: f"CASE WHEN {condition} THEN {name} END" for name, condition in SQLITE.items()}
    repaired["timestamp"] = at
    repaired["model_id"] = f"CASE WHEN {SQLITE['model_id']} THEN model_id ELSE 'unknown' END"
    repaired["request_id"] = f"CASE WHEN {SQLITE['request_id']} THEN request_id ELSE id_of(request_id) END"
    # Whatever else was written there says that the call failed.
    no = "lower(CAST(error AS TEXT)) IN ('false', 'f', 'no', 'n', 'off', '', '0.0')"
    repaired["error"] = f"CASE WHEN {SQLITE['error']} THEN error WHEN {no} THEN 0 ELSE 1 END"
    values = ", ".join(repaired.get(name, name) for name in COLUMNS)
    _run(f"INSERT INTO selection_checked ({', '.join(COLUMNS)}) SELECT {values} FROM selection ORDER BY id")
    _run("DROP TABLE selection")
    _run("ALTER TABLE selection_checked RENAME TO selection")
    if last is not None:
        # Ids are never used again: the checkpoint is the last one that was aggregated.
        _run("DELETE FROM sqlite_sequence WHERE name IN ('selection', 'selection_checked')")
        _run(f"INSERT INTO sqlite_sequence (name, seq) VALUES ('selection', {int(last)})")
    _run("CREATE INDEX ix_selection_timestamp ON selection (timestamp)")
    _run("CREATE INDEX ix_selection_priced ON selection (timestamp) WHERE cost_priced_on IS NOT NULL")
    _run(
        "CREATE TRIGGER selection_changed AFTER UPDATE ON selection BEGIN"
        " INSERT INTO selection_change (at) SELECT OLD.timestamp UNION SELECT NEW.timestamp; END"
    )


def _run(statement: str) -> None:
    # Not by op.execute, which reads a colon before a letter or digit as a parameter.
    op.get_bind().exec_driver_sql(statement)


def _quarantine_sqlite() -> None:
    """Move the rows without an instant into the quarantine."""
    connection = op.get_bind()
    lost = f"NOT ({SQLITE['timestamp']}) AND instant_of(timestamp) IS NULL"
    rows = connection.exec_driver_sql(f"SELECT {', '.join(COLUMNS)} FROM selection WHERE {lost}").fetchall()
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
    for row in rows:
        content = {name: _plain(value) for name, value in zip(COLUMNS, row, strict=True) if name != "id"}
        known = {name: value for name, value in content.items() if value is not None}
        request_id = known.get("request_id")
        connection.exec_driver_sql(
            "INSERT OR IGNORE INTO quarantine (request_id, set_aside_at, entrance, reason, content)"
            " VALUES (?, ?, 'table', ?, ?)",
            (None if request_id is None else str(request_id)[:200], now, NOT_AN_INSTANT, json.dumps(known)),
        )
    connection.exec_driver_sql(f"DELETE FROM selection WHERE {lost}")


def _instant_of(value: Any) -> str | None:
    """The instant in the one form; text without an offset is UTC, as it was read so far."""
    try:
        at = datetime.fromisoformat(value.strip())
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None
    return f"{at:%Y-%m-%d %H:%M:%S.%f}" if 2000 <= at.year < 2100 else None


def _id_of(value: Any) -> str | None:
    """An id that the table holds in place of one that it does not."""
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return f"sha256:{hashlib.sha256(raw).hexdigest()}" if raw else None


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value[:200].hex()
    return value[:400] if isinstance(value, str) else value


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


def _upgrade_postgresql() -> None:
    connection = op.get_bind()
    outside = f"NOT ({POSTGRESQL['timestamp']})"
    connection.exec_driver_sql(
        "INSERT INTO quarantine (request_id, set_aside_at, entrance, reason, content)"
        f" SELECT left(request_id, 200), now(), 'table', '{NOT_AN_INSTANT}',"
        f" (jsonb_strip_nulls(to_jsonb(selection) - 'id'))::json FROM selection WHERE {outside} ON CONFLICT DO NOTHING"
    )
    connection.exec_driver_sql(f"DELETE FROM selection WHERE {outside}")
    first, last = POSTGRESQL["timestamp"].replace("timestamp", "at").split(" AND ")
    connection.exec_driver_sql(f"DELETE FROM selection_change WHERE NOT ({first} AND {last})")
    optional = {name: condition for name, condition in POSTGRESQL.items() if name != "timestamp"}
    repaired = {name: f"CASE WHEN {condition} THEN {name} END" for name, condition in optional.items()}
    repaired["model_id"] = f"CASE WHEN {POSTGRESQL['model_id']} THEN model_id ELSE 'unknown' END"
    hashed = "'sha256:' || encode(sha256(convert_to(request_id, 'UTF8')), 'hex')"
    repaired["request_id"] = (
        f"CASE WHEN {POSTGRESQL['request_id']} THEN request_id WHEN request_id <> '' THEN {hashed} END"
    )
    values = ", ".join(f"{name} = {value}" for name, value in repaired.items())
    is_whole = " AND ".join(f"({condition})" for condition in optional.values())
    connection.exec_driver_sql(f"UPDATE selection SET {values} WHERE NOT ({is_whole})")
    dropped = ", ".join(f"DROP CONSTRAINT IF EXISTS ck_selection_{name}" for name in POSTGRESQL)
    added = ", ".join(
        f"ADD CONSTRAINT ck_selection_{name} CHECK ({condition}) NOT VALID" for name, condition in POSTGRESQL.items()
    )
    connection.exec_driver_sql(f"ALTER TABLE selection {dropped}, {added}")
